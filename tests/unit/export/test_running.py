"""Opening an exported file: whatever may be wrong with it, and what a runner takes."""

import json
import shutil

import numpy as np
import onnx
import pytest

from export_cases import expected, noise
from striate.errors import InputError, ModelFileError
from striate.export import running
from striate.export.running import open_exported


def refused(kind, path, **how):
    with pytest.raises(kind) as error:
        open_exported(path, **how)
    return str(error.value)


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("small.onnx", {}),
        ("small.onnx", {"num_threads": 1}),
        ("small.onnx", {"engine": "openvino", "num_threads": 1}),
        ("small.pt2", {"trust": True, "num_threads": 1}),
    ],
)
def test_every_engine_answers_as_the_model(exported_folder, name, how):
    folder, model = exported_folder
    runner = open_exported(folder / name, **how)
    for count in (1, 2, 5):
        images = noise(count, 37, 23, 3)
        answered = runner.run(images)
        assert (answered.shape, answered.dtype) == ((count, 3), np.float32)
        np.testing.assert_allclose(answered, expected(model, images), atol=1e-3)
    assert runner.about["class_names"] == list(model.class_names)


def test_an_answer_is_not_overwritten_by_the_next(exported_folder):
    runner = open_exported(exported_folder[0] / "small.onnx", engine="openvino")
    first = runner.run(np.zeros((1, 20, 20, 3), np.uint8))
    kept = first.copy()
    runner.run(np.full((1, 20, 20, 3), 255, np.uint8))
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize(
    ("images", "came"),
    [
        (np.zeros((2, 20, 20, 3), np.float32), r"\(2, 20, 20, 3\) float32"),
        (np.zeros((20, 20, 3), np.uint8), r"\(20, 20, 3\) uint8"),
        (np.zeros((2, 20, 20, 1), np.uint8), r"\(2, 20, 20, 1\) uint8"),
        (np.zeros((0, 20, 20, 3), np.uint8), r"\(0, 20, 20, 3\) uint8"),
    ],
)
def test_other_pixels_are_refused(exported_folder, images, came):
    with pytest.raises(
        InputError, match=rf"expected pixels \(N, H, W, 3\) uint8, at least one image, but got {came}; "
    ):
        open_exported(exported_folder[0] / "small.onnx").run(images)


def test_wrong_requests(exported_folder, tmp_path):
    folder, _ = exported_folder
    assert refused(InputError, tmp_path / "a.zip").endswith("expected a file ending in .onnx, .xml, .pt2")
    line = refused(InputError, folder / "small.onnx", engine="torch")
    assert line == "torch does not run .onnx files; choose onnxruntime or openvino"
    assert refused(InputError, folder / "small.onnx", num_threads=0) == "num_threads must be at least 1 but is 0"
    assert "does not exist; make it with striate export" in refused(ModelFileError, tmp_path / "a.onnx")


def test_a_pt2_file_needs_trust_before_anything_is_loaded(tmp_path):
    (tmp_path / "a.pt2").write_bytes(b"not even a zip")
    line = refused(InputError, tmp_path / "a.pt2")
    assert "could run code hidden in it" in line
    assert "--trust" in line
    assert "PyTorch cannot load" in refused(ModelFileError, tmp_path / "a.pt2", trust=True)


@pytest.mark.parametrize(("engine", "says"), [("onnxruntime", "ONNX Runtime cannot"), ("openvino", "OpenVINO cannot")])
def test_damaged_files(exported_folder, tmp_path, engine, says):
    data = (exported_folder[0] / "small.onnx").read_bytes()
    (tmp_path / "torn.onnx").write_bytes(data[: len(data) // 2])
    assert says in refused(ModelFileError, tmp_path / "torn.onnx", engine=engine)


def test_files_that_others_made(exported_folder, tmp_path):
    proto = onnx.load(exported_folder[0] / "small.onnx")
    del proto.metadata_props[:]
    onnx.save(proto, tmp_path / "a.onnx")
    assert refused(ModelFileError, tmp_path / "a.onnx").endswith(
        "was not exported by striate: it carries no description of its images"
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"version": 2}, "is an export of version 2 but this striate reads version 1; export it anew"),
        ({"input": {}}, "the description in .* is not whole; export it anew"),
        ({"resize_inside": "yes"}, "is not whole"),
    ],
)
def test_descriptions_that_do_not_fit(exported_folder, tmp_path, change, says):
    proto = onnx.load(exported_folder[0] / "small.onnx")
    (prop,) = proto.metadata_props
    prop.value = json.dumps(json.loads(prop.value) | change)
    onnx.save(proto, tmp_path / "a.onnx")
    with pytest.raises(ModelFileError, match=says):
        open_exported(tmp_path / "a.onnx")


def test_an_engine_that_is_not_installed(exported_folder, monkeypatch):
    def importing(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(running.importlib, "import_module", importing)
    path = exported_folder[0] / "small.onnx"
    assert refused(InputError, path) == "onnxruntime is not installed; pip install 'striate[onnx]'"
    line = refused(InputError, path, engine="openvino")
    assert line == "openvino is not installed; pip install 'striate[openvino]'"


def test_a_file_that_is_not_what_it_says_fails_in_one_line(exported_folder, tmp_path):
    proto = onnx.load(exported_folder[0] / "small.onnx")
    (prop,) = proto.metadata_props
    about = json.loads(prop.value)
    about["input"]["shape"][3] = 4
    prop.value = json.dumps(about)
    onnx.save(proto, tmp_path / "a.onnx")
    with pytest.raises(ModelFileError, match="onnxruntime cannot run the exported file: "):
        open_exported(tmp_path / "a.onnx").run(noise(1, 20, 20, 4))


def test_openvino_without_its_weights(tmp_path, exported_folder):
    import openvino

    network = openvino.Core().read_model(exported_folder[0] / "small.onnx")
    openvino.save_model(network, tmp_path / "a.xml", compress_to_fp16=False)
    (tmp_path / "a.bin").unlink()
    assert "OpenVINO cannot load" in refused(ModelFileError, tmp_path / "a.xml")
    shutil.copy(exported_folder[0] / "small.onnx", tmp_path / "a.bin")
    assert str(tmp_path / "a.xml") in refused(ModelFileError, tmp_path / "a.xml")
