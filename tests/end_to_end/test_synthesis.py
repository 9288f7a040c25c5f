"""Pictures made by the command line with real weights, and every wrong request on one line."""

import numpy as np
import pytest
from PIL import Image

from striate.tasks.model import load_model

SQUEEZENET = "squeezenet-v1.0-deep-compressed/compressed_SqueezeNet.net"


@pytest.fixture
def squeezenet(shared_data) -> str:
    return f"squeezenet1_0:{shared_data / SQUEEZENET}"


def test_a_visualised_class_is_answered_as_that_class(striate_command, squeezenet, tmp_path):
    words = ("visualize", squeezenet, "--class", "flamingo", "--steps", 24, "--learning-rate", 0.05, "--json")
    found = striate_command(*words, "--out", tmp_path / "flamingo.png").json
    (picture,) = found["pictures"]
    with Image.open(picture["path"]) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "RGB", (227, 227))
        pixels = np.asarray(image)
    model = load_model(squeezenet)
    best = model.predict(pixels, top=1).predictions[0].classes[0]
    # prediction resizes the picture first; as it is, the network is surer still
    assert best.name == "flamingo"
    assert picture["probability"] > 0.99
    assert picture["answer"] == "flamingo"


def test_several_targets_make_a_sheet(striate_command, squeezenet, tmp_path):
    words = ("--unit", "features.3:5", "--layer", "features.4", "--size", 48, "--steps", 2)
    done = striate_command("visualize", squeezenet, *words, "--out", tmp_path / "units.png", "--json")
    assert done.code == 0
    assert [each["target"] for each in done.json["pictures"]] == ["features.3:5", "features.4"]
    with Image.open(done.json["sheet"]) as image:
        assert image.size == (100, 48)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "name what to visualise"),
        (("--class", "flamingoo"), "no class 'flamingoo'; did you mean flamingo"),
        (("--class", "4000"), "classes 0 to 999"),
        (("--unit", "features.9"), "LAYER:CHANNEL"),
        (("--unit", "features.99:1"), "no layer called 'features.99'; did you mean features"),
        (("--layer", "features.9", "--size", "3"), "needs images of at least 21x21 pixels but got 3x3"),
        (("--class", "tench", "--out", "tench.jpg"), "let its name end in .png"),
        (("--class", "tench", "--out", "/dev/null/tench.png", "--steps", "1", "--size", "32"), "cannot be written"),
        (("--class", "tench", "--l2", "0.1"), "parametrisation pixels"),
        (("--class", "tench", "--parametrization", "dct"), "fourier or pixels but is 'dct'"),
    ],
)
def test_what_cannot_be_visualised_is_said_on_one_line(striate_command, squeezenet, words, message):
    assert message in striate_command("visualize", squeezenet, *words).refused()
