"""Corruptions: movements by hand, the package's by their seeds, and figures, command and report."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from striate.baselines.baseline import baseline
from striate.baselines.linear_model import linear_model
from striate.cli.app import app
from striate.errors import InputError
from striate.evaluation import corruptions
from striate.evaluation.corrupted import evaluate_corrupted
from striate.evaluation.corruptions import CORRUPTIONS, GROUPS, SEVERITIES, corrupt
from striate.reports.corruptions_panel import corruption_values, write_corruptions
from striate.tasks.model import save_model

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)


def blob(height, width, y, x):
    rows, columns = np.indices((height, width))
    plane = 255 * np.exp(-(((rows - y) ** 2 + (columns - x) ** 2) / 18))
    return np.repeat(plane[..., None], 3, axis=2).astype(np.uint8)


def middle(image):
    weights = image[..., 0].astype(float) ** 2
    rows, columns = np.indices(weights.shape)
    return np.array([(weights * rows).sum(), (weights * columns).sum()]) / weights.sum()


def test_fifteen_and_three_movements():
    assert len(CORRUPTIONS) == 18
    assert GROUPS["movement"] == ("shift", "rotation", "scale")


@pytest.mark.parametrize(("severity", "pixels"), [(1, 2), (3, 10), (5, 20)])
def test_a_shift_is_as_long_as_it_says(severity, pixels):
    """A blob at the centre of 100 x 100 pixels moves by 2, 10 and 20 of them."""
    before = blob(100, 100, 49.5, 49.5)
    for seed in range(4):
        moved = middle(corrupt(before, "shift", severity, seed=seed)) - middle(before)
        assert np.hypot(*moved) == pytest.approx(pixels, abs=0.3)


def test_a_rotation_turns_about_the_centre_by_its_angle():
    before = blob(100, 100, 49.5, 79.5)
    for seed in range(4):
        down, right = middle(corrupt(before, "rotation", 4, seed=seed)) - 49.5
        assert np.hypot(down, right) == pytest.approx(30, abs=0.3)
        assert abs(np.degrees(np.arctan2(down, right))) == pytest.approx(25, abs=0.5)


def test_a_scale_moves_away_from_the_centre_or_towards_it():
    before = blob(100, 100, 49.5, 64.5)
    reaches = sorted((middle(corrupt(before, "scale", 3, seed=seed)) - 49.5)[1] / 15 for seed in range(8))
    assert (reaches[0], reaches[-1]) == (pytest.approx(1 / 1.2, abs=0.02), pytest.approx(1.2, abs=0.02))


@pytest.mark.parametrize("name", GROUPS["movement"])
@pytest.mark.parametrize("shape", [(8, 8, 1), (33, 50, 3)])
def test_shape_type_and_draws_by_the_seed(name, shape):
    image = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    found = [corrupt(image, name, severity, seed=3) for severity in SEVERITIES]
    assert all(each.shape == shape and each.dtype == np.uint8 for each in found)
    assert (corrupt(image, name, 5, seed=3) == found[4]).all()
    others = [corrupt(image, name, 5, seed=seed) for seed in range(6)]
    assert any((each != others[0]).any() for each in others)


def test_the_fifteen_are_the_packages_arrays_and_leave_numpys_generator_alone():
    package = pytest.importorskip("imagecorruptions", reason="the extra `corruptions` is not installed")
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    for name in CORRUPTIONS[:15]:
        for severity in (1, 5):
            found = corrupt(IMAGE, name, severity, seed=7)
            assert (corrupt(IMAGE, name, severity, seed=7) == found).all(), name
            np.random.seed(7)  # noqa: NPY002
            extra = {"seed": 7} if name in ("impulse_noise", "glass_blur") else {}
            assert (package.corrupt(IMAGE, severity=severity, corruption_name=name, **extra) == found).all(), name
            np.random.set_state(("MT19937", state, 624, 0, 0.0))  # noqa: NPY002
    assert corrupt(IMAGE[:8, :8, :1], "fog", 3).shape == (8, 8, 1)


def test_a_missing_package_and_bad_arguments_are_one_line(monkeypatch):
    def missing(name):
        raise ImportError(name)

    with pytest.raises(InputError, match="but not 'rain'"):
        corrupt(IMAGE, "rain", 1)
    with pytest.raises(InputError, match="severity must be one of 1 to 5 but is 6"):
        corrupt(IMAGE, "shift", 6)
    with pytest.raises(InputError, match="must be uint8"):
        corrupt(IMAGE / 255, "shift", 1)
    monkeypatch.setattr(corruptions.importlib, "import_module", missing)
    with pytest.raises(InputError, match=r"pip install 'striate\[corruptions\]'"):
        corrupt(IMAGE, "fog", 1)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STRIATE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield linear_model(baseline("digits", kinds=("softmax",)))


def test_figures_fall_with_severity(model, tmp_path):
    found = evaluate_corrupted(model, corruptions=("shift", "rotation"), limit=100)
    assert (found.num_images, found.split, found.names) == (100, "test", ("shift", "rotation"))
    assert found.clean > 0.9
    shifts = [row.accuracy for row in found.of("shift")]
    assert shifts[0] > shifts[-1] + 0.2
    assert found.mean_error == pytest.approx(1 - np.mean([row.accuracy for row in found.rows]))
    assert found.by_group()["movement"][0] == found.clean
    write_corruptions(tmp_path, found)
    values = corruption_values(json.loads((tmp_path / "corruptions.json").read_text()))
    assert [row["name"] for row in values["table"]] == ["shift", "rotation"]
    assert "<svg" in values["chart"]
    assert all((tmp_path / each["picture"]).is_file() for each in values["examples"])


def test_command(model, tmp_path):
    save_model(model, tmp_path / "linear.safetensors")
    words = ["evaluate", str(tmp_path / "linear.safetensors"), "--corruption", "shift", "--corrupted-images", "20"]
    document = json.loads(CliRunner().invoke(app, [*words, "--json"], catch_exceptions=False).stdout)
    assert [row["severity"] for row in document["corruptions"]["rows"]] == [1, 2, 3, 4, 5]
    told = CliRunner().invoke(app, words, catch_exceptions=False).stdout
    assert "20 images, corrupted" in told
