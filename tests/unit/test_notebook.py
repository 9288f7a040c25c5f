"""Results show themselves in a line, and in a notebook as a table without anybody's markup."""

from pathlib import Path

import pytest

import striate
from striate.errors import InputError
from striate.recipes.progress_bar import ProgressBar, default_observer
from striate.recipes.train import Run
from striate.training.observer import SilentObserver


@pytest.fixture(scope="module")
def model():
    from striate.networks.catalogue import build_network

    network = build_network("lenet5", num_classes=2, in_channels=1)
    preprocessing = striate.Preprocessing(1, 32, (32, 32), mean=(0.0,), std=(1.0,))
    return striate.Model(network, class_names=("<b>cat", "dog\x1b"), preprocessing=preprocessing, network_name="lenet5")


def test_a_model_is_a_line_and_a_table(model):
    assert repr(model).startswith("<striate model: network lenet5, parameters ")
    assert len(repr(model)) < 200
    assert "\x1b" not in repr(model)
    page = model._repr_html_()
    assert "&lt;b&gt;cat" in page
    assert "<b>cat" not in page


def test_a_run_and_a_description_are_short():
    assert (
        repr(Run(Path("runs/a"), "interrupted"))
        == "<striate run: path runs/a, status interrupted, measured on nothing yet>"
    )
    described = striate.describe("lenet5")
    assert repr(described).startswith("<striate description: network ")
    assert len(repr(described)) < 200
    assert "<table>" in described._repr_html_()


def test_missing_images_are_no_empty_answer_in_silence(model, tmp_path):
    with pytest.raises(InputError, match=r"missing\.png does not exist; name image files"):
        model.predict(tmp_path / "missing.png")
    (tmp_path / "junk.png").write_text("junk")
    some = model.predict([tmp_path / "missing.png", tmp_path / "junk.png"])
    assert repr(some) == "<striate predictions: images 0, unreadable 2>"


def test_a_bar_is_drawn_where_a_person_looks_or_asks(capsys, tmp_path):
    assert type(default_observer(None)) is SilentObserver
    assert type(default_observer(False)) is SilentObserver
    assert type(default_observer(True)) is ProgressBar
    quick = striate.Choices(network="lenet5", epochs=1)
    striate.train("digits", quick, run=tmp_path / "a", run_checks=False, measure=False)
    assert capsys.readouterr().err == ""
    striate.train("digits", quick, run=tmp_path / "b", run_checks=False, measure=False, progress=True)
    assert "epoch 1/1" in capsys.readouterr().err
