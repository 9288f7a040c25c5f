"""Segmentation from a folder of masks to a model that is evaluated, predicts, exports and resumes: by the commands of
all tasks.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from striate.data.preprocessing import Preprocessing
from striate.errors import InputError
from striate.explanation.explain import explain
from striate.export.exporting import export_model
from striate.export.running import open_exported
from striate.networks.catalogue import build_network
from striate.recipes.choices import Choices
from striate.recipes.train import Run, train
from striate.tasks.model import Model, load_model, save_model
from striate.tasks.segmentation.task import Segmentation

SHAPES = ("nothing", "square", "disc")


def draw(folder: Path, name: str, seed: int, size: tuple[int, int] = (48, 64)) -> None:
    """A photo with a bright square and a dark disc, and its mask."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(90, 120, (*size, 3)).astype(np.uint8)
    mask = np.zeros(size, np.uint8)
    y, x = np.mgrid[: size[0], : size[1]]
    top, left = rng.integers(0, size[0] - 20), rng.integers(0, size[1] // 2 - 20)
    mask[top : top + 20, left : left + 20] = 1
    center = rng.integers(10, size[0] - 10), rng.integers(size[1] // 2 + 10, size[1] - 10)
    mask[(y - center[0]) ** 2 + (x - center[1]) ** 2 < 81] = 2
    pixels[mask == 1] = (230, 200, 60)
    pixels[mask == 2] = (20, 30, 90)
    for below, picture in (("images", pixels), ("masks", mask)):
        path = folder / below / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("shapes")
    for place in range(40):
        draw(folder, f"{'val' if place >= 32 else 'train'}/{place:02}", place)
    (folder / "classes.csv").write_text("index,name\n" + "".join(f"{k},{name}\n" for k, name in enumerate(SHAPES)))
    return folder


@pytest.fixture(scope="module")
def run(source, tmp_path_factory) -> Run:
    choices = Choices(epochs=12, precision="32-true", use_channels_last=False)
    place = tmp_path_factory.mktemp("runs") / "run"
    return train(source, choices, run=place, run_checks=False, measure=False, progress=False)


def test_a_network_from_scratch_learns_shapes(run):
    assert run.status == "finished"
    assert run.evaluation is not None
    assert run.evaluation.score > 0.75
    assert "boundary F" in run.report_path.read_text(encoding="utf-8")
    described = json.loads((run.path / "run.json").read_text())
    assert described["task"]["name"] == "segmentation"
    assert described["recipe"]["use_class_weights"]
    assert described["data"]["counts"]["train"] == dict.fromkeys(SHAPES, 32)


def test_evaluate_gives_the_keys_that_are_promised(run, source, striate_command):
    figures = striate_command("evaluate", run.path, source, "--split", "validation", "--json").json
    assert figures["mean_iou"] == pytest.approx(run.evaluation.score, abs=1e-3)
    assert {"pixel_accuracy", "per_class", "boundary_f", "mean_iou_interval"} <= set(figures)
    assert [each["name"] for each in figures["per_class"]] == list(SHAPES)


def test_predict_writes_masks_in_the_images_own_pixels(run, tmp_path, striate_command):
    draw(tmp_path, "large", 99, size=(96, 150))
    image = tmp_path / "images/large.png"
    words = ("predict", run.path, image, "--out", tmp_path / "out", "--engine", "torch", "--json")
    (answer,) = striate_command(*words).json["predictions"]
    assert answer["size"] == [96, 150]
    assert sum(each["fraction"] for each in answer["classes"]) == pytest.approx(1)
    with Image.open(tmp_path / "out/large_mask.png") as mask, Image.open(tmp_path / "masks/large.png") as truth:
        assert (mask.mode, mask.size) == ("P", (150, 96))
        assert (np.asarray(mask) == np.asarray(truth)).mean() > 0.9
    with Image.open(tmp_path / "out/large.png") as overlay:
        assert overlay.size == (150, 96)
    assert (tmp_path / "out/classes.csv").read_text().splitlines()[1:] == [
        "0,nothing,128,0,0",
        "1,square,0,128,0",
        "2,disc,128,128,0",
    ]


def test_resuming_gives_the_weights_of_the_run_that_was_never_stopped(source, tmp_path):
    from striate.recipes.train import resume
    from striate.training.observer import SilentObserver

    class Stop(SilentObserver):
        def on_epoch(self, record):
            if record["epoch"] == 1:
                raise KeyboardInterrupt

    choices = Choices(epochs=2, precision="32-true", network="unet", encoder="squeezenet1_1")
    whole = train(source, choices, run=tmp_path / "whole", run_checks=False, measure=False, progress=False)
    with pytest.raises(KeyboardInterrupt):
        train(source, choices, run=tmp_path / "cut", run_checks=False, measure=False, observer=Stop())
    cut = resume(tmp_path / "cut", progress=False)
    assert cut.model_path.read_bytes()[-1000:] == whole.model_path.read_bytes()[-1000:]
    assert cut.evaluation.to_json() == whole.evaluation.to_json()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--network", "resnet18", "--encoder", "resnet18"], "resnet18 is built on no encoder"),
        (["--network", "unet", "--encoder", "rasnet18"], "did you mean resnet18"),
        (["--network", "fcos:resnet18"], "is a detector, which segmentation has no use for"),
        (["--subtract", "mean_image"], "no mean image fits"),
        (["--mixup", "0.2"], "images cannot be mixed in segmentation"),
        (["--loss", "l2"], "the loss of segmentation must be"),
        (["--adversarial", "pgd"], "adversarial training is for classes, not for segmentation"),
        (["--balanced-sampling"], "have no class of their own to draw by"),
        (["--loss", "dice", "--label-smoothing", "0.1"], "label smoothing and class weights are for cross-entropy"),
        (["--optimizer", "lbfgs", "--channels-last"], "leave --channels-last out"),
        (["--ignore-index", "-1"], "a value of masks, from 0 to"),
    ],
)
def test_what_cannot_be_met_is_one_line(source, words, message, striate_command):
    assert message in striate_command("train", source, *words, "--dry-run").refused()


def test_a_source_without_masks_cannot_be_segmented(tmp_path, striate_command):
    for name in ("cats", "dogs"):
        (tmp_path / name).mkdir()
        for place in range(8):
            Image.fromarray(np.full((8, 8, 3), 10 * place, np.uint8)).save(tmp_path / name / f"{place}.png")
    refused = striate_command("train", tmp_path, "--task", "segmentation").refused()
    assert "it has no masks; give a folder with images/ and masks/" in refused


def test_masks_are_no_classes_of_images_nor_boxes(source, striate_command):
    for task, message in (("classification", "its classes are those of pixels"), ("detection", "it has no boxes")):
        assert message in striate_command("train", source, "--task", task).refused()
    assert "its classes are those of pixels" in striate_command("evaluate", "lenet5:mnist", source).refused()


def test_the_data_are_told_with_their_classes(source, striate_command):
    summary = striate_command("data", source, "--json").json
    assert summary["kind"] == "masks"
    assert summary["num_classes"] == 3


def test_predict_tells_pixels_of_each_class_and_refuses_what_is_for_one_class(run, tmp_path, striate_command):
    draw(tmp_path, "one", 98)
    image = tmp_path / "images/one.png"
    shown = striate_command("predict", run.path, image, "--engine", "torch")
    assert shown.code == 0
    assert "nothing" in shown.out
    assert "of 64 x 48 pixels" in shown.out
    refused = striate_command("predict", run.path, image, "--csv", tmp_path / "a.csv").refused()
    assert "not for segmentation; every pixel has its class, and masks are written to a folder by --out" in refused


def test_no_photo_is_written_over_and_every_mask_is_kept(run, tmp_path, striate_command):
    for name in ("x", "x_mask"):
        draw(tmp_path, name, 95)
    photos = tmp_path / "images"
    before = {path.name: path.read_bytes() for path in photos.iterdir()}
    for out in (photos, photos / "drawn"):
        refused = striate_command("predict", run.path, photos, "--out", out, "--engine", "torch").refused()
        assert "is where images to predict lie" in refused
    assert {path.name: path.read_bytes() for path in photos.iterdir()} == before
    done = striate_command("predict", run.path, photos, "--out", tmp_path / "out", "--engine", "torch")
    assert "2 images with their answers" in done.err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "classes.csv",
        "x.png",
        "x_mask-2.png",
        "x_mask-2_mask.png",
        "x_mask.png",
    ]
    for name in ("x_mask.png", "x_mask-2_mask.png"):
        with Image.open(tmp_path / "out" / name) as mask:
            assert mask.mode == "P"


@pytest.mark.parametrize(
    ("value", "message"),
    [(255, "no pixel of the 6 training masks has a class that counts"), (0, "so that there is nothing to tell apart")],
)
def test_masks_that_say_nothing_are_refused(tmp_path, value, message, striate_command):
    for place in range(8):
        draw(tmp_path, f"{'val' if place > 5 else 'train'}/{place}", place)
    for path in (tmp_path / "masks").rglob("*.png"):
        Image.fromarray(np.full((48, 64), value, np.uint8)).save(path)
    if value:
        (tmp_path / "classes.csv").write_text("index,name\n0,sky\n1,road\n")
    words = ("train", tmp_path, "--run", tmp_path / "run", "--epochs", "1", "--no-checks", "--no-measure")
    assert message in striate_command(*words).refused()


def test_a_single_value_of_a_channel_is_one_line(source, tmp_path, striate_command):
    words = (
        "train",
        source,
        "--network",
        "deeplabv3_resnet50",
        "--image-size",
        "32",
        "--batch-size",
        "1",
        "--epochs",
        "1",
    )
    refused = striate_command(*words, "--run", tmp_path / "run", "--no-checks", "--no-measure").refused()
    assert "batch norm needs more than one value of each channel, but a batch of 1 image" in refused


def test_lbfgs_takes_a_step(source, tmp_path):
    choices = Choices(epochs=1, optimizer="lbfgs", precision="32-true", image_size=16, batch_size=32)
    assert (
        train(source, choices, run=tmp_path / "run", run_checks=False, measure=False, progress=False).status
        == "finished"
    )


def test_tiles_see_an_image_at_its_own_resolution(run, tmp_path, striate_command):
    rng = np.random.default_rng(5)
    pixels, mask = rng.integers(90, 120, (150, 230, 3)).astype(np.uint8), np.zeros((150, 230), np.uint8)
    for top, left in rng.integers(0, (130, 210), (6, 2)):
        mask[top : top + 20, left : left + 20] = 1
    pixels[mask == 1] = (230, 200, 60)
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    words = ("predict", run.path, tmp_path / "wide.png", "--tiles", "--out", tmp_path / "out", "--engine", "torch")
    assert striate_command(*words).code == 0
    with Image.open(tmp_path / "out/wide_mask.png") as found:
        assert (np.asarray(found) == mask).mean() > 0.9
    assert (
        "model is for classification"
        in striate_command("predict", "lenet5:mnist", image_of(tmp_path), "--tiles").refused()
    )


def image_of(folder: Path) -> Path:
    """A small grey picture."""
    Image.fromarray(np.zeros((28, 28), np.uint8)).save(folder / "grey.png")
    return folder / "grey.png"


@pytest.mark.parametrize("kind", ["onnx", "openvino"])
def test_an_exported_copy_gives_the_same_masks(run, source, tmp_path, kind):
    """`export_model` itself compares both on real images, in batches of 1, 2 and 5, and writes nothing where they
    differ.
    """
    suffix = {"onnx": ".onnx", "openvino": ".xml"}[kind]
    made = export_model(run.path, kind, output=tmp_path / f"model{suffix}", images=source, num_images=4)
    assert made.parity.passed, made.parity
    assert made.about["output"]["name"] == "pixel_probabilities"
    assert open_exported(made.path).run(np.zeros((2, 30, 40, 3), np.uint8)).shape == (2, 3, 48, 64)


def test_a_network_on_a_base_is_exported_too(tmp_path):
    network = build_network("unet:squeezenet1_1", num_classes=2, seed=0).eval()
    fit = Preprocessing(3, 96, (64, 96), mean=(0.5,) * 3, std=(0.2,) * 3, resize="fit")
    task = Segmentation(("a", "b"))
    config = {"in_channels": 3, "num_classes": 2}
    model = Model(
        network,
        class_names=task.class_names,
        preprocessing=fit,
        network_name="unet:squeezenet1_1",
        network_config=config,
        task=task,
    )
    made = export_model(model, "onnx", output=tmp_path / "model.onnx", num_images=3)
    assert made.parity.passed, made.parity


class Plain(torch.nn.Module):
    """A network of somebody's own."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.ReLU())
        self.last = torch.nn.Conv2d(8, num_classes, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of every pixel."""
        return self.last(self.layers(images))


def test_a_network_from_python_is_trained_and_loaded(source, tmp_path):
    run = train(
        source, Choices(epochs=1), network=Plain, run=tmp_path / "own", run_checks=False, measure=False, progress=False
    )
    assert run.evaluation is not None
    model = load_model(run.path, network=Plain)
    save_model(model, tmp_path / "again.safetensors")
    assert load_model(tmp_path / "again.safetensors", network=Plain).task == model.task
    with pytest.raises(InputError, match=r"a segmenter answers N images of 48x64 pixels with logits"):
        train(
            source,
            Choices(epochs=1),
            network=lambda num_classes: torch.nn.Sequential(Plain(num_classes), torch.nn.Flatten()),
        )


@pytest.mark.parametrize(
    "words",
    [
        ("calibrate", "{run}"),
        ("errors", "{source}"),
        ("baseline", "{source}"),
        ("predict", "{run}", "{image}", "--coverage", "0.9"),
        ("compress", "{run}", "--prune", "0.5", "--out", "small.striate"),
        ("ledger", "{run}"),
        ("certify", "{run}"),
        ("attack", "{run}"),
        ("compare", "{run}", "{run}", "{source}"),
        ("evaluate", "{run}", "{source}", "--average", "mirror"),
    ],
    ids=lambda words: words[0],
)
def test_tools_for_classifiers_say_so(run, source, tmp_path, striate_command, words):
    filled = [word.format(run=run.path, source=source, image=image_of(tmp_path)) for word in words]
    refused = striate_command(*filled).refused()
    assert "segmentation" in refused
    assert "met an error of its own" not in refused


def test_a_class_is_explained_by_the_logit_of_its_region(run, tmp_path, striate_command):
    draw(tmp_path, "one", 97)
    image = tmp_path / "images/one.png"
    words = (
        "explain",
        run.path,
        image,
        "--method",
        "saliency",
        "--method",
        "grad_cam",
        "--class",
        "disc",
        "--out",
        tmp_path / "maps",
        "--json",
    )
    done = striate_command(*words)
    assert done.code == 0, done.err
    assert "mean logit over the pixels" in done.err
    (explained,) = list(explain(run.path, image, methods=["saliency"], classes=["disc"]))
    with Image.open(tmp_path / "masks/one.png") as mask:
        rows, columns = np.nonzero(np.asarray(mask) == 2)
    heat = explained[0].map.reshape(48, 64)
    near = np.zeros((48, 64), bool)
    near[max(0, rows.min() - 8) : rows.max() + 9, max(0, columns.min() - 8) : columns.max() + 9] = True
    assert heat[near].mean() > 3 * heat[~near].mean()
