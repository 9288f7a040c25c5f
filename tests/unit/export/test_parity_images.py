"""Which images a proof is made on."""

import numpy as np
import pytest
from PIL import Image

from striate.data.opening import Access
from striate.data.preprocessing import Preprocessing
from striate.errors import DataError, InputError
from striate.export.parity_images import built_in_images, parity_batches, source_images


def save(path, value, size=(6, 4)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value,) * 3).save(path)


def values(images):
    return [int(image[0, 0, 0]) for image in images]


def of(source, num_images=20, log=lambda _: None):
    return source_images(source, 3, num_images=num_images, access=Access(log=log))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_built_in_images_are_real_and_of_many_sizes(channels):
    images = built_in_images(channels)
    assert all(image.dtype == np.uint8 and image.shape[2] == channels for image in images)
    assert len({image.shape for image in images}) >= 6
    assert all(image.std() > 5 for image in images)


def test_a_folder_is_sampled_evenly_at_any_depth(tmp_path):
    for value in range(9):
        save(tmp_path / ("a" if value < 5 else "b") / f"{value}.png", value)
    (tmp_path / "notes.txt").write_text("no image")
    assert values(of(tmp_path)) == list(range(9))
    assert values(of(tmp_path, 3)) == [0, 4, 8]
    assert values(of(tmp_path, 1)) == [0]


def test_a_file_and_a_set_by_name(tmp_path):
    save(tmp_path / "one.png", 7)
    assert values(of(tmp_path / "one.png")) == [7]
    assert [image.shape for image in of("digits", 4)] == [(8, 8, 3)] * 4


def test_unreadable_images_are_told_and_passed_over(tmp_path):
    save(tmp_path / "a.png", 1)
    (tmp_path / "b.jpg").write_bytes(b"\xff\xd8\xff torn")
    told = []
    assert values(of(tmp_path, log=told.append)) == [1]
    (line,) = told
    assert line.startswith("left out 1 unreadable image: ")
    assert "b.jpg" in line


def test_no_images(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty holds no image files; name a folder with images, or leave it out"):
        of(tmp_path / "empty")
    (tmp_path / "empty" / "a.png").write_bytes(b"torn")
    with pytest.raises(InputError, match=r"empty holds no image that can be read; name a folder with images"):
        of(tmp_path / "empty")
    with pytest.raises(DataError):
        of(tmp_path / "nowhere")


def test_batches_are_of_one_two_and_five_images_of_one_size():
    images = [np.zeros((h, w, 3), np.uint8) for h, w in ((5, 9), (12, 7), (10, 10))]
    batches = parity_batches(images, Preprocessing(3, 8, (6, 6), (0.0,) * 3, (1.0,) * 3), resize=True)
    assert [batch.images.shape[:3] for batch in batches if batch.is_resized] == [
        (1, 5, 9),
        (1, 12, 7),
        (1, 10, 10),
        (2, 5, 9),
        (2, 10, 10),
        (5, 5, 9),
    ]
    assert [batch.images.shape[:3] for batch in batches if not batch.is_resized] == [(5, 8, 8)]
