import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from striate.data.decoding import decode_image
from striate.data.readers.npz import read_npz
from striate.errors import DataError

PIXELS = np.arange(3 * 4 * 5 * 3, dtype=np.uint8).reshape(3, 4, 5, 3)


def write(path, **arrays):
    np.savez(path / "set.npz", **arrays)
    return path / "set.npz"


def test_pixels_with_all_parts_and_names(tmp_path):
    path = write(
        tmp_path,
        x_train=PIXELS,
        y_train=np.array([2, 0, 1], dtype=np.uint8),
        x_val=PIXELS[:1],
        y_val=np.array([[1]]),
        x_test=PIXELS[1:],
        y_test=np.array([0, 2]),
        classes=np.array(["cat", "dog", "bird"]),
        something_else=np.zeros(3),
    )
    dataset = read_npz(path)
    assert dataset.class_names == ("cat", "dog", "bird")
    assert dataset.labels.tolist() == [2, 0, 1, 1, 0, 2]
    assert dataset.given_splits.tolist() == [0, 0, 0, 1, 2, 2]
    assert not dataset.has_index_labels
    assert [dataset.images.name(i) for i in (0, 3, 5)] == ["train[0]", "validation[0]", "test[1]"]
    np.testing.assert_array_equal(dataset.images.read(5), PIXELS[2])


def test_grey_pixels_and_numbers_for_names(tmp_path):
    dataset = read_npz(write(tmp_path, x_train=PIXELS[..., 0], y_train=np.array([3, 0, 1])))
    assert dataset.class_names == ("0", "1", "2", "3")
    assert dataset.has_index_labels
    assert dataset.images.read(1).shape == (4, 5, 1)


def test_labels_that_are_names(tmp_path):
    dataset = read_npz(write(tmp_path, x_train=PIXELS, y_train=np.array(["10", "9", "10"])))
    assert dataset.class_names == ("9", "10")
    assert dataset.labels.tolist() == [1, 0, 1]
    listed = write(tmp_path, x_train=PIXELS, y_train=np.array([b"b", b"b", b"a"]), classes=np.array([b"b", b"a"]))
    assert read_npz(listed).class_names == ("b", "a")


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floating_point_is_scaled(tmp_path, dtype):
    pixels = (PIXELS / 255).astype(dtype)
    dataset = read_npz(write(tmp_path, x_train=pixels, y_train=np.arange(3)))
    assert np.abs(dataset.images.read(2).astype(int) - PIXELS[2]).max() <= (dtype is np.float16)


def test_wider_integers(tmp_path):
    dataset = read_npz(write(tmp_path, x_train=PIXELS.astype(np.int64), y_train=np.arange(3)))
    np.testing.assert_array_equal(dataset.images.read(0), PIXELS[0])


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "BMP", "TIFF", "GIF"])
def test_encoded_images_survive_numpys_dropping_of_zeros(tmp_path, file_format):
    """A black bottom row ends a BMP in zeros; the longer test array must not make equal images differ."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, file_format)
    data = buffer.getvalue()
    arrays = {
        "x_train": np.array([data, data]),
        "y_train": np.array([0, 1]),
        "x_test": np.array([data, data + b"\xff" * 50]),
        "y_test": np.array([0, 1]),
    }
    dataset = read_npz(write(tmp_path, **arrays))
    assert decode_image(dataset.images.read(0), 3).shape == (8, 8, 3)
    assert dataset.images.read(0) == dataset.images.read(2)
    assert type(dataset.images.read(0)) is bytes


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": PIXELS}, r"must hold x_train and y_train but holds a$"),
        ({}, r"must hold x_train and y_train but holds nothing$"),
        ({"x_train": PIXELS}, r"has no y_train; images x_train and labels y_train belong together$"),
        ({"x_train": PIXELS, "y_train": [0, 1], }, r"has 3 images in x_train but 2 labels in y_train$"),
        ({"x_train": PIXELS[:0], "y_train": np.zeros(0, int)}, r"x_train holds no images$"),
        ({"x_train": PIXELS.reshape(3, -1), "y_train": [0, 1, 2]}, r"x_train must be pixels .* but has shape \(3, "
            r"60\)$"),
        ({"x_train": np.zeros((2, 3, 8, 9), np.uint8), "y_train": [0, 1]}, r"channels before height; store it as \(n, "
            r"H, W, C\)$"),
        ({"x_train": PIXELS * 2.0, "y_train": [0, 1, 2]}, r"x_train is float64 from 0 to 358; store pixels as "
            r"integers 0..255"),
        ({"x_train": PIXELS * np.nan, "y_train": [0, 1, 2]}, r"x_train is float64 from nan to nan; store pixels"),
        ({"x_train": PIXELS.astype(int) - 1, "y_train": [0, 1, 2]}, r"x_train is int64 from -1 to 178; store pixels"),
        ({"x_train": PIXELS > 3, "y_train": [0, 1, 2]}, r"x_train has type bool; store pixels as uint8"),
        ({"x_train": PIXELS, "y_train": np.eye(3)}, r"y_train must be one label an image, \(n,\), but has shape \(3, "
            r"3\)"),
        ({"x_train": PIXELS, "y_train": [0.0, 1.0, 2.0]}, r"y_train must be whole numbers or names but has type "
            r"float64$"),
        ({"x_train": PIXELS, "y_train": [0, -1, 2]}, r"y_train must be class numbers from 0 up but runs from -1 to 2$"),
        ({"x_train": PIXELS, "y_train": [0, 10**9, 2]}, r"y_train must be class numbers from 0 up but runs from 0 to "
            r"1000000000$"),
        ({"x_train": PIXELS, "y_train": [0, 1, 2], "classes": ["a", "b"]}, r"has label 2 but classes gives only 2 "
            r"names$"),
        ({"x_train": PIXELS, "y_train": [0, 1, 1], "classes": ["a", "a"]}, r"classes names a class twice"),
        ({"x_train": PIXELS, "y_train": ["a", "b", "c"], "classes": ["a", "b"]}, r"has label 'c', which is not among "
            r"its classes$"),
        ({"x_train": PIXELS, "y_train": [0, 1, 1], "classes": 5}, r"classes must be a list of names but is int64 of "
            r"shape \(\)$"),
        (
            {"x_train": PIXELS, "y_train": [0, 1, 2], "x_test": PIXELS, "y_test": ["a", "b", "c"]},
            r"has labels of different kinds: numbers in one part and names in another$",
        ),
        ({"x_train": np.array([b"a", None], dtype=object), "y_train": [0, 1]}, r"holds pickled objects, which can run "
            r"code; save"),
        ({"x_train": np.array([[b"a"], [b"b"]]), "y_train": [0, 1]}, r"must be a list of encoded images but has shape "
            r"\(2, 1\)$"),
    ],
)  # fmt: skip
def test_what_does_not_fit(tmp_path, arrays, message):
    with pytest.raises(DataError, match=message):
        read_npz(write(tmp_path, **arrays))


def test_damaged_files(tmp_path):
    path = write(tmp_path, x_train=PIXELS, y_train=np.arange(3))
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=r"is a damaged .npz file \(.*\); get it again$"):
        read_npz(path)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x_train.npy", b"nonsense")
        file.writestr("y_train.npy", b"nonsense")
    with pytest.raises(DataError, match=r"is a damaged .npz file \(the magic string is not correct.*\); get it again$"):
        read_npz(path)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x_train.npy", b"\x93NUMPY nonsense")
    with pytest.raises(DataError, match=r"is a damaged .npz file \(.*\); get it again$"):
        read_npz(path)
    np.save(tmp_path / "one.npy", PIXELS)
    with pytest.raises(DataError, match=r"one.npy is not an .npz file; save images and labels with numpy.savez$"):
        read_npz(tmp_path / "one.npy")
    with pytest.raises(DataError, match=r"absent.npz cannot be read: No such file"):
        read_npz(tmp_path / "absent.npz")


def test_the_real_cifar10(shared_data):
    dataset = read_npz(shared_data / "cifar10-jpeg.npz")
    assert dataset.class_names[0] == "airplane"
    assert dataset.class_names[9] == "truck"
    assert np.bincount(dataset.labels[dataset.given_splits == 0]).tolist() == [5000] * 10
    assert np.bincount(dataset.labels[dataset.given_splits == 2]).tolist() == [1000] * 10
    pixels = np.stack([decode_image(dataset.images.read(i), 3) for i in range(0, 50_000, 25)])
    np.testing.assert_allclose(pixels.mean(axis=(0, 1, 2)) / 255, [0.4913, 0.4821, 0.4465], atol=0.01)  # of all 50,000
