"""What is named on the command line: refused in one line before a model is loaded, where there is nothing to work
on.
"""

from pathlib import Path

import pytest
from PIL import Image

from striate.cli.image_arguments import check_images
from striate.errors import InputError


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("empty", "deep/er", "photos", "telephone"):
        Path(folder).mkdir(parents=True)
    Image.new("L", (4, 4)).save("photos/1.png")
    Path("telephone/1.HEIC").write_bytes(b"?")


@pytest.mark.parametrize(
    ("images", "line"),
    [
        (["empty"], "empty holds no image files; name image files"),
        (["empty", "deep"], "empty, deep hold no image files; name"),
        (["telephone"], "telephone holds no image files (passed over by their ending: 1 (telephone/1.HEIC)"),
        (["nowhere.png"], "nowhere.png does not exist; name"),
        (["a", "b", "c", "d"], "a, b, c, ... do not exist; name"),
        (["https://example.org/photo.jpg"], "https://example.org/photo.jpg is a URL, and striate fetches none"),
        (["photos", "s3://bucket/photo.jpg"], "s3://bucket/photo.jpg is a URL"),
        (["nowhere.png", "empty"], "empty holds no image files"),
    ],
)
def test_nothing_to_work_on(images, line):
    with pytest.raises(InputError) as caught:
        check_images([Path(image) for image in images])
    assert str(caught.value).replace("1 (1.HEIC)", "1 (telephone/1.HEIC)").startswith(line)


@pytest.mark.parametrize("images", [["photos"], ["photos/1.png"], ["empty", "photos"], ["photos/1.png", "nowhere.png"]])
def test_something_to_work_on(images):
    check_images([Path(image) for image in images])
