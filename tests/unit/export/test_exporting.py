"""Where an export goes, what it may replace, and that a failed proof leaves everything as it was."""

import dataclasses
import hashlib
import json

import numpy as np
import pytest
from torch import nn

from export_cases import small_model
from striate.errors import InputError
from striate.export import exporting
from striate.export.about import describe_export, to_text
from striate.export.exporting import check_exported, export_model
from striate.export.onnx_file import write_onnx


def write_words(_model, path, **_):
    """Stands for a writer where only the way of the file matters."""
    path.write_text("exported")
    if path.suffix == ".xml":
        path.with_suffix(".bin").write_text("weights")


@pytest.fixture
def model():
    return small_model(nn.ReLU())


@pytest.fixture
def quick(monkeypatch, exported_folder):
    """Writers that take no time, and a proof by the real file of `exported_folder`: only its verdict matters."""
    folder, model = exported_folder
    passing = check_exported(model, folder / "small.onnx", num_images=1)
    verdict = {"proof": passing, "failing": dataclasses.replace(passing, problems=("something differs",))}
    writers = {to: (suffix, write_words) for to, (suffix, _) in exporting._WRITERS.items()}
    monkeypatch.setattr(exporting, "_WRITERS", writers)
    monkeypatch.setattr(exporting, "open_exported", lambda *_, **__: None)
    monkeypatch.setattr(exporting, "verify", lambda *_: verdict["proof"])
    return verdict


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.usefixtures("quick")
def test_an_export_and_what_lies_beside_it(model, tmp_path):
    done = export_model(model, "openvino", output=tmp_path / "deep" / "a.xml")
    assert done.files == (tmp_path / "deep" / "a.xml", tmp_path / "deep" / "a.bin")
    assert names(tmp_path / "deep") == ["a.bin", "a.xml", "a.xml.json"]
    beside = json.loads((tmp_path / "deep" / "a.xml.json").read_text())
    assert beside["proof"]["passed"] is True
    assert beside["about"]["class_names"] == list(model.class_names)
    assert beside["files"]["a.bin"] == hashlib.sha256(b"weights").hexdigest()


@pytest.mark.usefixtures("quick")
def test_the_default_is_the_current_folder(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert str(export_model(dataclasses.replace(model, network_name="timm:a/b"), "torch").path) == "timm-a-b.pt2"


def test_a_failed_proof_writes_nothing_and_keeps_the_older_export(model, tmp_path, quick):
    export_model(model, "onnx", output=tmp_path / "a.onnx")
    before = (tmp_path / "a.onnx.json").read_bytes()
    quick["proof"] = quick["failing"]
    done = export_model(model, "onnx", output=tmp_path / "a.onnx")
    assert not done.parity.passed
    assert done.files == ()
    assert names(tmp_path) == ["a.onnx", "a.onnx.json"]
    assert (tmp_path / "a.onnx.json").read_bytes() == before
    export_model(model, "onnx", output=tmp_path / "b.onnx")
    assert names(tmp_path) == ["a.onnx", "a.onnx.json"]


@pytest.mark.usefixtures("quick")
def test_an_own_export_is_replaced_and_nothing_else(model, tmp_path):
    path = tmp_path / "a.onnx"
    export_model(model, "onnx", output=path)
    export_model(model, "onnx", output=path)
    path.write_text("changed by the user")
    with pytest.raises(InputError) as error:
        export_model(model, "onnx", output=path)
    assert str(error.value) == (
        f"{path} exists and is not as an export of striate left it; choose another --out, or replace it with --force"
    )
    assert path.read_text() == "changed by the user"
    export_model(model, "onnx", output=path, force=True)
    assert path.read_text() == "exported"


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("name", ["a.xml", "a.bin", "a.xml.json"])
def test_any_file_in_the_way_stops_it(model, tmp_path, name):
    (tmp_path / name).write_text('{"files": {}}')
    with pytest.raises(InputError, match=rf"{name} exists and is not as an export"):
        export_model(model, "openvino", output=tmp_path / "a.xml")
    assert names(tmp_path) == [name]


@pytest.mark.usefixtures("quick")
def test_an_error_while_writing_leaves_nothing(model, tmp_path, monkeypatch):
    def fails(*_):
        raise InputError("no")

    monkeypatch.setattr(exporting, "verify", fails)
    with pytest.raises(InputError):
        export_model(model, "onnx", output=tmp_path / "a.onnx")
    assert names(tmp_path) == []


def test_wrong_requests(model, tmp_path):
    for how, says in (
        ({"to": "coreml"}, r"cannot export to 'coreml'; choose onnx, openvino, torch"),
        ({"output": tmp_path / "a.pt"}, r"the output must end in .onnx but is .*a.pt; name it .*a.onnx"),
        ({"output": tmp_path}, r"is a folder; name the file to write, such as .*model.onnx"),
        ({"num_images": 0}, "num_images must be at least 1 but is 0"),
    ):
        with pytest.raises(InputError, match=says):
            export_model(model, **({"to": "onnx"} | how))
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(InputError, match="cannot be written: Not a directory; choose another --out"):
        export_model(model, "onnx", output=tmp_path / "file" / "a.onnx")


def test_checking_what_was_exported_for_another_model(exported_folder):
    folder, model = exported_folder
    assert check_exported(model, folder / "small.onnx", num_images=3).passed
    other = small_model(nn.ReLU())
    for param in other.network.parameters():
        param.data += 0.3
    parity = check_exported(other, folder / "small.onnx")
    assert not parity.passed
    assert np.isfinite(parity.largest_difference)
    assert parity.largest_difference > 1e-3


@pytest.mark.parametrize("change", [{"mean": (0.41, 0.5, 0.6)}, {"channel_order": "BGR"}])
def test_another_preprocessing_under_the_same_document_fails(exported_folder, tmp_path, change):
    _, model = exported_folder
    about = json.loads(to_text(describe_export(model, resize=False)))
    changed = dataclasses.replace(model, preprocessing=dataclasses.replace(model.preprocessing, **change))
    write_onnx(changed, tmp_path / "a.onnx", resize=False, about=about)
    parity = check_exported(model, tmp_path / "a.onnx", num_images=3)
    assert not parity.passed
    assert not parity.problems
