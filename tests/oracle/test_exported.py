"""Real weights on real photos: the same file in other people's engines, against the model in PyTorch."""

import dataclasses
import shutil

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
import torch
from PIL import Image

from striate.data.opening import Access
from striate.export.onnx_file import write_onnx
from striate.export.openvino_file import convert_onnx
from striate.export.parity import verify
from striate.export.parity_images import source_images
from striate.export.running import open_exported
from striate.tasks.model import Model, load_model


@pytest.fixture(scope="module")
def squeezenet(shared_data) -> Model:
    """SqueezeNet 1.0 as its authors compressed it: BGR, stretched to 256 x 256, cut to 227 x 227, pools that round
    up.
    """
    return load_model(f"squeezenet1_0:{shared_data}/squeezenet-v1.0-deep-compressed/compressed_SqueezeNet.net")


@pytest.fixture(scope="module")
def folder(squeezenet, tmp_path_factory):
    folder = tmp_path_factory.mktemp("squeezenet")
    write_onnx(squeezenet, folder / "a.onnx", resize=True)
    about = open_exported(folder / "a.onnx").about
    data = (folder / "a.onnx").read_bytes()
    convert_onnx(data, folder / "a.xml", network_name="squeezenet1_0", about=about)
    return folder


@pytest.fixture(scope="module")
def photos(shared_data):
    return source_images(shared_data / "imagenet-samples", 3, num_images=6, access=Access())


@pytest.mark.parametrize(("name", "engine"), [("a.onnx", "onnxruntime"), ("a.onnx", "openvino"), ("a.xml", "openvino")])
def test_a_real_network_on_photos(squeezenet, folder, photos, name, engine):
    parity = verify(squeezenet, open_exported(folder / name, engine=engine, num_threads=1), photos)
    assert parity.passed, parity
    assert parity.num_equal_top1 == parity.num_answers
    assert parity.largest_difference < 2e-5


def test_the_engines_alone_without_striate(squeezenet, folder, shared_data):
    """What a user without striate does: decode, feed, read."""
    path = next((shared_data / "imagenet-samples").rglob("n01440764*"))
    pixels = np.asarray(Image.open(path).convert("RGB"))[None]
    session = onnxruntime.InferenceSession(folder / "a.onnx")
    (answered,) = session.run(["probabilities"], {"images": pixels})
    (prediction,) = squeezenet.predict(path, top=1).predictions
    assert "tench" in prediction.classes[0].name
    assert answered.argmax() == prediction.classes[0].index
    assert answered.max() == pytest.approx(prediction.classes[0].probability, abs=5e-3)


def test_openvino_in_its_usual_precision_would_not_pass(squeezenet, folder, photos):
    """Why INFERENCE_PRECISION_HINT is set: on a CPU that has bfloat16, OpenVINO answers in it unless told otherwise."""
    core = openvino.Core()
    network = core.compile_model(core.read_model(folder / "a.xml"), "CPU")
    if network.get_property("INFERENCE_PRECISION_HINT") == openvino.Type.f32:
        pytest.skip("this CPU has no shorter type")
    pixels = np.stack([squeezenet.preprocessing.to_pixels(photo) for photo in photos])
    wanted = squeezenet.probabilities(torch.from_numpy(pixels).permute(0, 3, 1, 2)).numpy()
    answered = [network({"images": photo[None]})[0][0] for photo in photos]
    assert np.abs(np.stack(answered) - wanted).max() > 1e-3


def test_changed_weights_fail(squeezenet, folder, photos, tmp_path):
    proto = onnx.load(folder / "a.onnx")
    weights = next(each for each in proto.graph.initializer if each.name.endswith("weight"))
    weights.CopyFrom(onnx.numpy_helper.from_array(1.01 * onnx.numpy_helper.to_array(weights), weights.name))
    onnx.save(proto, tmp_path / "a.onnx")
    parity = verify(squeezenet, open_exported(tmp_path / "a.onnx"), photos[:2])
    assert not parity.passed
    assert parity.largest_difference > 1e-4


def test_changed_openvino_weights_fail(squeezenet, folder, photos, tmp_path):
    shutil.copy(folder / "a.xml", tmp_path / "a.xml")
    values = np.fromfile(folder / "a.bin", np.uint8)
    values[len(values) // 2 : len(values) // 2 + 4000] = 0x3D  # floats of 0.046
    values.tofile(tmp_path / "a.bin")
    assert not verify(squeezenet, open_exported(tmp_path / "a.xml"), photos[:2]).passed


def test_another_filter_fails_though_the_file_claims_the_same(squeezenet, folder, photos, tmp_path):
    """The graph of another preparation of images under the document of the right one."""
    other = dataclasses.replace(squeezenet.preprocessing, interpolation="bicubic")
    about = open_exported(folder / "a.onnx").about
    write_onnx(dataclasses.replace(squeezenet, preprocessing=other), tmp_path / "a.onnx", resize=True, about=about)
    parity = verify(squeezenet, open_exported(tmp_path / "a.onnx"), photos)
    assert not parity.passed
    assert not parity.problems
    assert parity.largest_difference < 1e-4  # where nothing is resized they agree
