"""Pictures made by the command line with real weights, and every wrong request on one line."""

import numpy as np
import pytest
from PIL import Image

from striate.synthesis.answering import answer
from striate.synthesis.opening import open_model
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


@pytest.fixture
def photo(shared_data):
    return shared_data / "imagenet-samples" / "n01440764_tench.JPEG"


def test_a_fooling_picture_is_answered_after_rounding(striate_command, squeezenet, photo, tmp_path):
    words = ("--class", "goldfish", "--model", squeezenet, "--steps", 25, "--confidence", 0.5)
    found = striate_command("fool", photo, *words, "--out", tmp_path / "fooled.png", "--json").json["pictures"][0]
    assert found["before"]["answer"] == "tench"
    assert found["after"]["answer"] == "goldfish"
    assert found["fooled"]
    assert found["largest"] <= 30
    with Image.open(found["sheet"]) as image:
        assert image.size == (3 * 227 + 8, 227)
    with Image.open(found["path"]) as image:
        pixels = np.asarray(image)
    pixel_model = open_model(squeezenet).pixel_model
    assert float(answer(pixel_model, pixels)[1]) == pytest.approx(found["probability"])


def test_dream_invert_texture_and_style_write_what_they_say(striate_command, squeezenet, photo, tmp_path):
    model = ("--model", squeezenet)
    dream = striate_command(
        "dream", photo, "--layer", "features.3", *model, "--size", 64, "--octaves", 2, "--steps", 1, "--json"
    ).json["pictures"][0]
    with Image.open(tmp_path / dream["path"]) as image:
        assert max(image.size) == 64
    layers = ("--layer", "features.1", "--layer", "features.3")
    found = striate_command("invert", photo, *layers, *model, "--steps", 3, "--json").json
    assert [each["layer"] for each in found["pictures"]] == ["features.1", "features.3"]
    assert all(0 < each["error"] < 2 for each in found["pictures"])
    style = (
        "style",
        photo,
        photo,
        photo,
        *model,
        "--size",
        48,
        "--steps",
        3,
        "--mix",
        "2,1",
        "--keep-colours",
        "--json",
    )
    found = striate_command(*style).json["pictures"][0]
    assert found["style_layers"][0] == "features.1"
    assert len(found["losses"]) == 3
    with Image.open(tmp_path / found["path"]) as image:
        assert max(image.size) == 48
    for method in ("gram", "patches"):
        texture = (
            "texture",
            photo,
            "--sample-size",
            48,
            "--size",
            "32x40",
            "--method",
            method,
            "--steps",
            2,
            *model,
            "--json",
        )
        with Image.open(tmp_path / striate_command(*texture).json["pictures"][0]["path"]) as image:
            assert image.size == (40, 32)


def test_a_style_is_trained_and_paints(striate_command, squeezenet, shared_data, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for path in sorted((shared_data / "imagenet-samples").glob("*.JPEG"))[:3]:
        (folder / path.name).write_bytes(path.read_bytes())
    painting = shared_data / "style" / "paintings" / "the_scream.jpg"
    words = (
        "--model",
        squeezenet,
        "--steps",
        2,
        "--crop",
        48,
        "--batch-size",
        1,
        "--width",
        4,
        "--out",
        "scream.safetensors",
    )
    done = striate_command("style", "--train", painting, folder, *words, "--json")
    assert done.code == 0, done.err
    assert len(done.json["styles"][0]["losses"]) == 2
    assert not (tmp_path / "scream.checkpoint").exists()
    painted = striate_command("style", shared_data / "style" / "photos" / "chicago.jpg", "scream.safetensors", "--json")
    with (
        Image.open(painted.json["pictures"][0]["path"]) as image,
        Image.open(shared_data / "style" / "photos" / "chicago.jpg") as original,
    ):
        assert image.size == original.size


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("dream", "{photo}"), "name what to dream of"),
        (("dream", "none.jpg", "--layer", "features.3"), "none.jpg cannot be read: No such file"),
        (("dream", "{photo}", "--layer", "features.3", "--octave-scale", "1"), "octave scale above 1"),
        (("dream", "{photo}", "--layer", "features.3", "--size", "24"), "needs images of at least 21x21 pixels"),
        (("fool", "{photo}", "--class", "gold fish"), "no class 'gold fish'; did you mean goldfish"),
        (("fool", "{photo}", "--class", "goldfish", "--confidence", "2"), "between 0 and 1"),
        (("fool", "{photo}"), "class"),
        (("invert", "{photo}", "--layer", "features.99"), "no layer called 'features.99'"),
        (("invert", "{folder}", "--layer", "features.3"), "cannot be read: Is a directory"),
        (("texture", "{photo}", "--size", "huge"), "--size is N or HxW"),
        (("texture", "{photo}", "--size", "99999"), "each side must be 1 to 8192"),
        (("texture", "{photo}", "--method", "magic"), "gram or patches but 'magic'"),
        (("style", "{photo}"), "two names are needed"),
        (("style", "{photo}", "{photo}", "--mix", "1,2"), "1 style pictures need as many weights"),
        (("style", "{photo}", "{photo}", "--mix", "a"), "--mix takes numbers"),
        (("style", "{photo}", "{photo}", "--style-layer", "classifier.9"), "no layer called"),
        (("style", "{photo}", "{photo}", "--optimizer", "sgd", "--size", "32"), "lbfgs or adam but 'sgd'"),
        (("style", "{photo}", "none.safetensors"), "none.safetensors cannot be read"),
        (("style", "--train", "{photo}", "{folder}"), "holds no photo that can be read"),
    ],
)
def test_what_cannot_be_made_is_said_on_one_line(striate_command, squeezenet, photo, tmp_path, words, message):
    (tmp_path / "folder").mkdir()
    filled = [word.format(photo=photo, folder=tmp_path / "folder") for word in words]
    assert message in striate_command(*filled, "--model", squeezenet).refused()


def test_without_weights_the_command_says_how_to_get_them(striate_command, photo):
    assert "--download" in striate_command("texture", photo).refused()
