"""`striate export` and `striate check` from the command line: what is written, shown and returned."""

import json
import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import ExifTags, Image

from end_to_end.conftest import striped
from striate.data.decoding import decode_image


@pytest.fixture
def run(striate_command, stripes, tmp_path):
    """A run that has learnt to tell stripes apart."""
    words = ("--run", tmp_path / "run", "--network", "lenet5", "--epochs", 4, "--batch-size", 8, "--no-checks")
    done = striate_command("train", stripes, *words)
    assert done.code == 0, done.err
    return tmp_path / "run"


def test_onnx_from_a_run_and_back(run, striate_command, stripes):
    done = striate_command("export", run, "--to", "onnx")
    assert done.code == 0, done.err
    assert "80 of 80 answers" in done.out
    assert "proof passed" in done.out
    assert f"wrote {run / 'exported' / 'model.onnx'}" in done.out.replace("\n", "")
    exported = run / "exported" / "model.onnx"
    beside = json.loads((run / "exported" / "model.onnx.json").read_text())
    assert beside["about"]["class_names"] == ["across", "along"]
    assert len(beside["about"]["model_sha256"]) == 64
    assert beside["proof"]["passed"] is True

    image = np.asarray(striped(40, 52, True, 77, 1))
    (answered,) = onnxruntime.InferenceSession(exported).run(None, {"images": image[None, :, :, None]})
    Image.fromarray(image).save(run.parent / "one.png")
    (predicted,) = striate_command("predict", run, run.parent / "one.png", "--json").json["predictions"]
    probabilities = {one["name"]: one["probability"] for one in predicted["classes"]}
    assert answered[0].tolist() == pytest.approx([probabilities["across"], probabilities["along"]], abs=2e-3)

    checked = striate_command("check", run, exported, stripes, "--num-images", 7, "--json")
    assert checked.code == 0, checked.err
    assert checked.json["passed"] is True
    assert checked.json["num_answers"] == 7 + 8 + 10 + 10
    checked = striate_command("check", run, exported, "--engine", "openvino", "--num-images", 3)
    assert checked.code == 0, checked.err
    assert "openvino" in checked.out

    again = striate_command("export", run, "--to", "onnx", "--no-resize", "--json", "--images", stripes)
    assert again.code == 0, again.err  # it replaces what it wrote itself
    assert again.json["about"]["input"]["shape"] == ["N", 32, 32, 1]
    assert again.json["proof"]["largest_resized_difference"] is None

    proto = onnx.load(exported)
    for each in proto.graph.initializer:
        if each.name.endswith("bias"):
            each.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(each) + 0.5, each.name))
    onnx.save(proto, exported)
    checked = striate_command("check", run, exported, "--json")
    assert checked.code == 1
    assert checked.json["passed"] is False
    assert exported.is_file()  # a check deletes nothing
    refused = striate_command("export", run, "--to", "onnx").refused()
    assert "is not as an export of striate left it" in refused


def photos_of_every_kind() -> dict[str, tuple[Image.Image, dict]]:
    """Images that naive decoding gets wrong, and how to save them."""
    photo = striped(50, 40, True, 5, 3)
    grey = striped(50, 40, True, 6, 1)
    ramp = np.tile(np.linspace(0, 255, 40, dtype=np.uint8), (50, 1))
    seen_through = photo.copy()
    seen_through.putalpha(Image.fromarray(ramp))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    palette = photo.quantize(16)
    return {
        "plain": (photo, {"format": "JPEG"}),
        "turned": (photo, {"format": "JPEG", "exif": exif}),
        "transparent": (seen_through, {"format": "PNG"}),
        "transparent grey": (Image.merge("LA", (grey, Image.fromarray(ramp))), {"format": "PNG"}),
        "transparent palette": (palette, {"format": "PNG", "transparency": 3}),
        "palette": (palette, {"format": "GIF"}),
        "16 bits": (Image.fromarray(np.asarray(grey).astype(np.uint16) * 257 - 40), {"format": "PNG"}),
        "black and white": (grey.convert("1"), {"format": "PNG"}),
        "four inks": (photo.convert("CMYK"), {"format": "JPEG"}),
    }


def test_the_example_of_the_document_decodes_and_answers_as_predict_does(run, striate_command, monkeypatch, capsys):
    text = (Path(__file__).resolve().parents[2] / "docs" / "export.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    assert striate_command("export", run, "--to", "onnx").code == 0
    monkeypatch.chdir(run / "exported")
    for kind, (image, options) in photos_of_every_kind().items():
        image.save("photo.jpg", **options)  # whatever its ending says
        example: dict = {}
        exec(compile(code, "export.md", "exec"), example)
        for channels in (1, 3):
            ours = decode_image(Path("photo.jpg").read_bytes(), channels)
            assert np.array_equal(example["decode"]("photo.jpg", channels)[0], ours), (kind, channels)
        name, probability = capsys.readouterr().out.split()
        (predicted,) = striate_command("predict", run, "photo.jpg", "--json").json["predictions"]
        assert name == predicted["classes"][0]["name"], kind
        assert float(probability) == pytest.approx(predicted["classes"][0]["probability"], abs=5e-3), kind


def test_torch_and_openvino(run, striate_command):
    done = striate_command("export", run, "--to", "torch", "--output", run / "a.pt2", "--json")
    assert done.code == 0, done.err
    assert done.json["proof"]["engine"] == "torch"
    assert "--trust" in striate_command("check", run, run / "a.pt2").refused()
    assert striate_command("check", run, run / "a.pt2", "--trust").code == 0
    done = striate_command("export", run, "--to", "openvino", "--json")
    assert done.code == 0, done.err
    assert [path.rsplit(".", 1)[1] for path in done.json["files"]] == ["xml", "bin"]
    assert striate_command("check", run, run / "exported" / "model.xml").code == 0


def test_a_failed_proof_exits_with_1_and_leaves_nothing(run, striate_command, monkeypatch):
    monkeypatch.setattr("striate.export.parity.RESIZED_TOLERANCE", -1.0)
    done = striate_command("export", run, "--to", "onnx")
    assert done.code == 1
    assert "proof failed" in done.out
    assert "does not answer as the model does" in done.err
    assert list((run / "exported").iterdir()) == []


def test_wrong_words(run, striate_command, tmp_path):
    assert "choose onnx, openvino, torch" in striate_command("export", run, "--to", "coreml").refused()
    (tmp_path / "empty").mkdir()
    line = striate_command("export", run, "--to", "onnx", "--images", tmp_path / "empty").refused()
    assert "empty holds no image files" in line
    assert "make it with striate export" in striate_command("check", run, tmp_path / "no.onnx").refused()
    assert "expected a file ending in" in striate_command("check", run, run / "model.safetensors").refused()
    assert "--to" in striate_command("export", run).refused()
