"""The pictures of the worst mistakes."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from striate.data.packed import PackedImages
from striate.data.preprocessing import Preprocessing
from striate.errors import RunError
from striate.evaluation.mistakes import write_mistakes
from striate.tasks.classification.figures import Mistake
from striate.tasks.classification.task import Classification

TASK = Classification(("ant", "bee"))


def mistake(index: int) -> Mistake:
    return Mistake(index, "ant", "bee", probability=0.75, label_probability=0.125, loss=2.08)


def preprocessing(channels: int, size: tuple[int, int]) -> Preprocessing:
    return Preprocessing(channels, max(size), size, (0.0,) * channels, (1.0,) * channels)


def test_what_the_network_saw_is_written(tmp_path: Path) -> None:
    images = [np.zeros((4, 6, 3), np.uint8), np.arange(72, dtype=np.uint8).reshape(4, 6, 3)]
    entries = write_mistakes(
        tmp_path,
        [mistake(1)],
        PackedImages.from_images(images),
        preprocessing(3, (4, 4)),
        lambda index: f"photo {index}",
        TASK,
    )
    assert entries == [
        {
            "picture": "mistakes/0.png", "name": "photo 1", "label": "ant", "predicted": "bee",
            "probability": 0.75, "label_probability": 0.125, "loss": 2.08,
        }
    ]  # fmt: skip
    with Image.open(tmp_path / "mistakes/0.png") as picture:
        assert np.array_equal(np.asarray(picture), images[1][:, 1:5])


def test_grey_and_many_channels(tmp_path: Path) -> None:
    for channels in (1, 5):
        packed = PackedImages.from_images([np.full((4, 4, channels), 7, np.uint8)])
        write_mistakes(tmp_path, [mistake(0)], packed, preprocessing(channels, (4, 4)), str, TASK)
        with Image.open(tmp_path / "mistakes/0.png") as picture:
            assert (picture.mode, picture.size, picture.getpixel((0, 0))) == ("L", (4, 4), 7)


def test_large_pictures_are_made_smaller(tmp_path: Path) -> None:
    packed = PackedImages.from_images([np.zeros((300, 400, 3), np.uint8)])
    write_mistakes(tmp_path, [mistake(0)], packed, Preprocessing(3, 400, (300, 400), (0.0,) * 3, (1.0,) * 3), str, TASK)
    with Image.open(tmp_path / "mistakes/0.png") as picture:
        assert picture.size == (192, 144)


def test_pictures_of_an_earlier_evaluation_go(tmp_path: Path) -> None:
    packed = PackedImages.from_images([np.zeros((4, 4, 1), np.uint8)])
    write_mistakes(tmp_path, [mistake(0)] * 3, packed, preprocessing(1, (4, 4)), str, TASK)
    write_mistakes(tmp_path, [mistake(0)], packed, preprocessing(1, (4, 4)), str, TASK)
    assert [path.name for path in (tmp_path / "mistakes").iterdir()] == ["0.png"]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "mistakes").write_text("a file in the way")
    packed = PackedImages.from_images([np.zeros((4, 4, 1), np.uint8)])
    with pytest.raises(RunError, match=r"mistakes cannot be written: .*; free some space and evaluate again"):
        write_mistakes(tmp_path, [mistake(0)], packed, preprocessing(1, (4, 4)), str, TASK)
