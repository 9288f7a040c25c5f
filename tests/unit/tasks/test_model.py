"""Loading a model and asking it about images."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from striate.data.preprocessing import Preprocessing
from striate.errors import InputError, ModelFileError
from striate.networks.catalogue import build_network
from striate.tasks.classification.predictions import Prediction
from striate.tasks.model import Model, load_model, save_model
from striate.tasks.predictions import PredictionError


class Brightness(nn.Module):
    """Class 0 for dark, 1 for middling, 2 for bright images: logits from the mean, which lies in [0, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.tensor([0.0, 0.5, 1.0]))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return -40 * (images.mean(dim=(1, 2, 3))[:, None] - self.centres).square()


@pytest.fixture
def model() -> Model:
    preprocessing = Preprocessing(3, 8, (8, 8), (0.0,) * 3, (1.0,) * 3)
    return Model(
        Brightness(), network_name="brightness", class_names=("dark", "middling", "bright"), preprocessing=preprocessing
    )


def picture(value: int) -> np.ndarray:
    return np.full((10, 12, 3), value, np.uint8)


def best(answer: Prediction | PredictionError) -> str:
    assert isinstance(answer, Prediction)
    return answer.classes[0].name


def test_pixels_of_every_kind(model: Model) -> None:
    images = [picture(0), picture(128)[..., 0], Image.fromarray(picture(255)), Image.new("CMYK", (9, 9))]
    predictions = model.predict(images)
    assert [best(each) for each in predictions.predictions] == ["dark", "middling", "bright", "bright"]
    assert [each.path for each in predictions.predictions] == ["image 0", "image 1", "image 2", "image 3"]


def test_probabilities_are_ordered_and_sum_to_one(model: Model) -> None:
    (prediction,) = model.predict(picture(200)).predictions
    assert [each.name for each in prediction.classes] == ["bright", "middling", "dark"]
    assert [each.index for each in prediction.classes] == [2, 1, 0]
    shares = [each.probability for each in prediction.classes]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1)


def test_top_is_a_limit(model: Model) -> None:
    assert len(model.predict(picture(200), top=2).predictions[0].classes) == 2
    with pytest.raises(InputError, match="top and batch_size must be at least 1 but are 0 and 32"):
        model.predict(picture(200), top=0)


def test_a_stack_of_images_is_many_images(model: Model) -> None:
    stack = np.stack([picture(0), picture(255)])
    assert [best(each) for each in model.predict(stack).predictions] == ["dark", "bright"]


def test_unreadable_images_stop_no_other(model: Model, tmp_path: Path) -> None:
    Image.fromarray(picture(0)).save(tmp_path / "a dark ä.png")
    (tmp_path / "b.jpg").write_bytes(b"")
    (tmp_path / "c.jpg").write_text("this is no picture")
    Image.fromarray(picture(255)).save(tmp_path / "d.png")
    files = [*sorted(tmp_path.iterdir()), tmp_path / "e.png", np.zeros((2, 2, 5), np.uint8), "nul\0.png"]
    for batch_size in (1, 2, 32):
        predictions = model.predict(files, batch_size=batch_size)
        assert [(Path(each.path).name, best(each)) for each in predictions.predictions] == [
            ("a dark ä.png", "dark"),
            ("d.png", "bright"),
        ]
        assert {Path(each.path).name: each.reason for each in predictions.errors} == {
            "b.jpg": "is empty",
            "c.jpg": "is not an image but text",
            "e.png": "does not exist",
            "image 5": "has 5 channels, not 3",
            "nul\0.png": "is no path: embedded null byte",
        }


def test_only_unreadable_images(model: Model, tmp_path: Path) -> None:
    (tmp_path / "junk.png").write_text("junk")
    predictions = model.predict([tmp_path / "none.png", tmp_path / "junk.png"])
    assert not predictions.predictions
    assert predictions.to_json() == {
        "predictions": [],
        "errors": [
            {"path": str(tmp_path / "none.png"), "reason": "does not exist"},
            {"path": str(tmp_path / "junk.png"), "reason": "is not an image but text"},
        ],
    }
    with pytest.raises(InputError, match=r"none\.png does not exist; name image files"):
        model.predict([tmp_path / "none.png"])


def test_what_is_no_image_is_named(model: Model) -> None:
    (error,) = model.predict([torch.zeros(3, 4, 4)]).errors  # type: ignore[list-item]
    assert error == PredictionError("image 0", "is Tensor, neither a path, a Pillow image nor an array (H, W, C)")


def test_folders_give_their_images_in_order(model: Model, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("2.PNG", "1.png", ".hidden.png", "sub/3.jpeg"):
        Image.fromarray(picture(0)).save(tmp_path / name, "PNG")
    (tmp_path / "notes.txt").write_text("no image, and not meant to be")
    predictions = model.predict(tmp_path)
    assert [Path(each.path).relative_to(tmp_path).as_posix() for each in predictions.predictions] == [
        "1.png",
        "2.PNG",
        "sub/3.jpeg",
    ]
    assert not predictions.errors


def test_a_folder_without_images_is_named(model: Model, tmp_path: Path) -> None:
    assert model.predict(tmp_path).errors == (PredictionError(str(tmp_path), "holds no image files"),)


def test_the_public_keys(model: Model) -> None:
    document = model.predict(picture(255), top=1).to_json()
    assert list(document) == ["predictions", "errors"]
    assert list(document["predictions"][0]) == ["path", "classes"]
    assert list(document["predictions"][0]["classes"][0]) == ["name", "index", "probability"]
    json.dumps(document, allow_nan=False)


def test_predicting_streams(model: Model) -> None:
    """The images are drawn little by little, as many as are read ahead."""
    num_drawn = 0

    def endless() -> Iterator[np.ndarray]:
        nonlocal num_drawn
        while True:
            num_drawn += 1
            yield picture(num_drawn % 256)

    answers = model.predict_each(endless(), batch_size=4)
    for _ in range(10):
        next(answers)
    answers.close()  # type: ignore[attr-defined]
    assert num_drawn < 40


def test_the_answer_does_not_depend_on_the_mode_and_leaves_it(model: Model) -> None:
    network = nn.Sequential(nn.Dropout(0.9), model.network)
    dropping = Model(network, network_name="d", class_names=model.class_names, preprocessing=model.preprocessing)
    network.train()
    assert dropping.predict(picture(128)) == model.predict(picture(128))
    assert network.training
    assert all(parameter.grad is None and parameter.requires_grad for parameter in network.parameters())


def test_progress_is_told(model: Model) -> None:
    seen = []

    def track(items, what, total):  # type: ignore[no-untyped-def]
        seen.append((what, total))
        return items

    model.predict([picture(0), picture(1)], track=track)
    assert seen == [("predicting", 2)]


def test_probabilities_need_pixels(model: Model) -> None:
    with pytest.raises(InputError, match=r"expected pixels 0..255 as uint8 but got torch.float32"):
        model.probabilities(torch.zeros(1, 3, 8, 8))
    assert model.probabilities(torch.zeros(2, 3, 8, 8, dtype=torch.uint8)).shape == (2, 3)


def test_damaged_weights_do_not_answer_nan(model: Model) -> None:
    with torch.no_grad():
        model.network.centres.fill_(torch.nan)  # type: ignore[operator, union-attr]
    (error,) = model.predict(picture(0)).errors
    assert error.reason == "makes the network answer NaN; its weights may be damaged"


@pytest.fixture
def lenet() -> Model:
    network = build_network("lenet5", seed=2)
    preprocessing = Preprocessing(1, 32, (32, 32), (0.1,), (0.3,))
    names = tuple("abcdefghij")
    return Model(
        network,
        network_name="lenet5",
        network_config={"in_channels": 1, "num_classes": 10},
        class_names=names,
        preprocessing=preprocessing,
        provenance={"by": "a test"},
    )


def test_saved_models_answer_the_same(lenet: Model, tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    (tmp_path / "run").mkdir()
    save_model(lenet, tmp_path / "run" / "model.safetensors")
    for ref in (tmp_path / "run", tmp_path / "run" / "model.safetensors", f"lenet5:{tmp_path}/run/model.safetensors"):
        loaded = load_model(ref)
        assert loaded.predict(image) == lenet.predict(image)
        assert (loaded.network_name, loaded.class_names) == ("lenet5", lenet.class_names)
        assert not loaded.network.training
    assert load_model(tmp_path / "run").provenance == {"by": "a test"}


def test_models_that_cannot_be_saved(lenet: Model, model: Model, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot be written: .*; save the model elsewhere"):
        save_model(lenet, tmp_path / "file" / "model.safetensors")
    with pytest.raises(
        ModelFileError, match="the network is 'brightness', which this version of striate does not have"
    ):
        save_model(model, tmp_path / "m.safetensors")


def test_loading_leaves_the_random_state_alone(lenet: Model, tmp_path: Path) -> None:
    save_model(lenet, tmp_path / "m.safetensors")
    before = torch.get_rng_state()
    load_model(tmp_path / "m.safetensors")
    load_model(f"lenet5:{tmp_path}/m.safetensors")
    assert torch.equal(torch.get_rng_state(), before)


def test_bare_weights_take_the_published_preprocessing(tmp_path: Path) -> None:
    network = build_network("squeezenet1_1", num_classes=4, seed=0)
    torch.save(network.state_dict(), tmp_path / "w.pth")
    lines: list[str] = []
    model = load_model(f"squeezenet1_1:{tmp_path}/w.pth", log=lines.append)
    assert model.class_names == ("0", "1", "2", "3")
    assert model.preprocessing.crop_size == (224, 224)
    assert any("does not say how images are prepared: as for squeezenet1_1:imagenet" in line for line in lines)
    assert any("does not name its classes: they are called 0 to 3" in line for line in lines)
    assert model.network_config == asdict(network.config)  # type: ignore[arg-type]


def test_bare_weights_without_published_ones_are_refused(lenet: Model, tmp_path: Path) -> None:
    torch.save(lenet.network.state_dict(), tmp_path / "w.pth")
    with pytest.raises(ModelFileError, match="does not say how images are prepared for lenet5; a model file would"):
        load_model(f"lenet5:{tmp_path}/w.pth")


def test_names_that_name_nothing(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"holds no model\.safetensors; name a run that has finished an epoch"):
        load_model(tmp_path)
    with pytest.raises(InputError, match="squeezenet1_0 is a network without weights; say squeezenet1_0:WEIGHTS"):
        load_model("squeezenet1_0")
    with pytest.raises(
        InputError, match="'resnet81' is neither a file or folder nor a network of striate; did you mean resnet18"
    ):
        load_model("resnet81")
    with pytest.raises(
        InputError, match=r"is neither a file .* expected a run folder, a model file or NETWORK:WEIGHTS"
    ):
        load_model("runs/0000")
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0" + b"x" * 100)
    with pytest.raises(ModelFileError, match="is not a model file"):
        load_model(tmp_path / "photo.jpg")


def test_devices(lenet: Model, tmp_path: Path) -> None:
    save_model(lenet, tmp_path / "m.safetensors")
    assert load_model(tmp_path / "m.safetensors", device="cpu").device.type == "cpu"
    with pytest.raises(InputError, match=r"^device must be auto, cpu, cuda or mps but is 'abacus'$"):
        load_model(tmp_path / "m.safetensors", device="abacus")
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match=r"this machine cannot compute on 'cuda' .*; use auto or cpu"):
            load_model(tmp_path / "m.safetensors", device="cuda")


def test_real_photos_with_real_weights(shared_data: Path) -> None:
    """The deep-compressed SqueezeNet names five photos of ImageNet's classes, through the whole way of an image."""
    weights = shared_data / "squeezenet-v1.0-deep-compressed" / "compressed_SqueezeNet.net"
    model = load_model(f"squeezenet1_0:{weights}")
    photos = sorted((shared_data / "imagenet-samples").rglob("*.JPEG"))[:40]
    predictions = model.predict(photos, batch_size=16)
    assert len(predictions.predictions) == 40
    names = [photo.stem.partition("_")[2].replace("_", " ").lower() for photo in photos]
    hits = sum(best(each).lower() == name for each, name in zip(predictions.predictions, names, strict=True))
    assert hits >= 20
