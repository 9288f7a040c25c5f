import numpy as np
import pytest
from PIL import Image

from striate.data.decoding import decode_image
from striate.data.readers.sources import open_source
from striate.errors import DataError


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("STRIATE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def images(tmp_path):
    """Two classes in folders called images and photos, and a list of some of them."""
    root = tmp_path / "set"
    for path in ("images/1.png", "images/2.png", "photos/3.png"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (3, 2)).save(root / path)
    return root


def test_digits():
    dataset = open_source("digits")
    assert dataset.kind == "digits"
    assert len(dataset) == 1797
    assert dataset.class_names == tuple("0123456789")
    assert set(dataset.given_splits) == {-1}
    first = dataset.images.read(0)
    assert first.shape == (8, 8, 1)
    assert first[0].ravel().tolist() == [0, 0, 80, 207, 143, 16, 0, 0]  # 0 0 5 13 9 1 0 0 sixteenths of 255
    assert dataset.images.name(3) == "digits[3]"


def test_folders(images):
    assert open_source(images).class_names == ("images", "photos")
    assert open_source(str(images)).kind == "folder"


def test_a_list_inside_a_folder(images):
    """It counts where the folder has no folders of classes; one folder beside it is where the images lie."""
    (images / "labels.csv").write_text("file,label\nimages/1.png,cat\nimages/2.png,dog\n")
    dataset = open_source(images)
    assert dataset.class_names == ("images", "photos")
    assert dataset.notices == ("passed over, not images by their ending: 1 (labels.csv)",)
    (images / "photos" / "3.png").rename(images / "3.png")
    dataset = open_source(images)
    assert dataset.class_names == ("cat", "dog")
    assert dataset.source == str(images)
    assert open_source(images / "labels.csv").class_names == ("cat", "dog")


def test_npz(tmp_path):
    np.savez(tmp_path / "set.npz", x_train=np.zeros((2, 3, 3), np.uint8), y_train=[0, 1])
    assert open_source(tmp_path / "set.npz").kind == "npz"


def test_a_path_comes_before_a_name(images, monkeypatch):
    monkeypatch.chdir(images.parent)
    images.rename(images.parent / "mnist")
    assert open_source("mnist").kind == "folder"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("mnits", r"^there is no file or folder mnits; did you mean mnist\?$"),
        ("Cifar10", r"^there is no file or folder Cifar10; did you mean cifar10, cifar100\?$"),
        ("./pictures", r"^there is no file or folder ./pictures; the data sets known by name are digits, mnist, "),
        ("", r"^no source of images is named; give a file, a folder or the name of a data set$"),
        ("x" * 5000, r"^there is no file or folder x+; the data sets"),
        ("a\0b", r"^there is no file or folder"),
        ("cifar10", r"^cifar10 is not in .*cache/cifar10; .*, or fetch it \(170 MB\) with --download$"),
    ],
)
def test_sources_that_do_not_exist(source, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=message):
        open_source(source)


def test_files_that_are_no_source(images, tmp_path):
    message = r"1.png is no source of images; name a folder with a subfolder for each class, a CSV file, an .npz file"
    with pytest.raises(DataError, match=message):
        open_source(images / "images" / "1.png")
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(DataError, match=r"empty is no source of images"):
        open_source(tmp_path / "empty")
    (tmp_path / "idx").mkdir()
    (tmp_path / "idx" / "train-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03")
    message = r"train-images-idx3-ubyte is one file of several that belong together; name their folder, .*idx$"
    with pytest.raises(DataError, match=message):
        open_source(tmp_path / "idx" / "train-images-idx3-ubyte")


def test_cifar100_is_not_taken_for_cifar10(tmp_path):
    (tmp_path / "train.bin").write_bytes(bytes(3074))
    (tmp_path / "fine_label_names.txt").write_text("apple\n")
    assert open_source("cifar100", data_dir=tmp_path).class_names == ("apple",)
    assert open_source(tmp_path).kind == "cifar-binary"
    with pytest.raises(DataError, match=r"^cifar10 is not in "):
        open_source("cifar10", data_dir=str(tmp_path))


@pytest.mark.parametrize(
    ("name", "kind", "num_images", "num_classes"),
    [
        ("mnist", "idx", 70_000, 10),
        ("fashion-mnist-mini", "idx", 720, 10),
        ("cifar10-jpeg.npz", "npz", 60_000, 10),
        ("flowers", "folder", 800, 5),
        ("hymenoptera", "folder", 321, 2),
        ("imagenet-samples", "csv", 500, 1000),
    ],
)
def test_real_sources(shared_data, name, kind, num_images, num_classes):
    dataset = open_source(shared_data / name)
    assert (dataset.kind, len(dataset), len(dataset.class_names)) == (kind, num_images, num_classes)
    for index in (0, len(dataset) - 1):
        assert decode_image(dataset.images.read(index), 3).ndim == 3


def test_real_sets_by_name(shared_data):
    told = []
    dataset = open_source("mnist", data_dir=shared_data, log=told.append)
    assert dataset.class_names == tuple("0123456789")
    assert not dataset.has_index_labels
    assert told == [f"reading mnist from {shared_data / 'mnist'}"]
    clothes = open_source("fashion-mnist", data_dir=shared_data / "fashion-mnist-mini")
    assert clothes.class_names[0] == "T-shirt/top"
    assert np.bincount(clothes.labels[clothes.given_splits == 0]).tolist() == [60] * 10


def test_a_list_by_another_ending(images):
    (images / "list.dat").write_text("file,label\nimages/1.png,cat\nphotos/3.png,dog\n")
    assert open_source(images / "list.dat").class_names == ("cat", "dog")


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        ("photso", r"; did you mean photos\? it holds 3 class folders$"),
        ("animals", r"; did you mean photos/animals\? it holds 2 class folders$"),
        ("splti", r"; did you mean split\? it holds test, train$"),
        ("notes", r"; the data sets known by name are"),
    ],
)
def test_a_hint_says_what_the_folder_meant_holds(source, hint, tmp_path, monkeypatch):
    for path in ("animals/cat/1.png", "animals/dog/1.png", "plants/1.png", "notes/1.txt", "cars/1.png"):
        (tmp_path / "photos" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / path).touch()
    for path in ("train/a", "test/a"):
        (tmp_path / "split" / path).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=hint):
        open_source(source)


def test_a_url_is_called_one():
    with pytest.raises(DataError, match=r"^https://example.org/set.zip is a URL, and striate fetches none"):
        open_source("https://example.org/set.zip")
