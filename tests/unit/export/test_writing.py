"""What is in the files, and what cannot be written, in one line that names operator and layer."""

import builtins
import json

import numpy as np
import onnx
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from export_cases import SingularValues, catalogue_model, noise, small_model
from striate.data.preprocessing import Preprocessing
from striate.errors import InputError
from striate.export import onnx_file
from striate.export.onnx_file import write_onnx
from striate.export.openvino_file import write_openvino
from striate.export.program import trace


def refused(model, to=write_onnx, path="never.onnx"):
    with pytest.raises(InputError) as error:
        to(model, path, resize=False)
    return str(error.value)


def test_the_file_says_what_it_is(exported_folder):
    folder, model = exported_folder
    proto = onnx.load(folder / "small.onnx")
    (given,), (answer,) = proto.graph.input, proto.graph.output
    assert (given.name, answer.name) == ("images", "probabilities")
    assert given.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert [bool(dim.dim_param) for dim in given.type.tensor_type.shape.dim] == [True, True, True, False]
    about = json.loads({prop.key: prop.value for prop in proto.metadata_props}["striate"])
    assert about["class_names"] == list(model.class_names)
    assert about["input"]["shape"] == ["N", "H", "W", 3]
    assert about["output"]["shape"] == ["N", 3]
    assert about["preprocessing"]["crop_size"] == [16, 16]
    assert about["decoding"]["policy"] == 1
    assert about["resize_inside"] is True


@pytest.mark.parametrize("name", ["small.onnx", "small.pt2"])
def test_no_path_of_this_machine_is_in_the_file(exported_folder, name):
    data = (exported_folder[0] / name).read_bytes()
    assert b"graph.py" not in data
    assert str(onnx_file.__file__).encode() not in data


def test_an_operator_without_a_translation_is_named_with_its_layer():
    assert refused(small_model(SingularValues())) == (
        "small cannot be written as ONNX: ONNX has nothing for the operator aten._linalg_svd, which its layer 1 "
        "(SingularValues) uses; replace it, or export with --to torch"
    )


def test_a_module_of_torch_is_named_too():
    line = refused(small_model(nn.FractionalMaxPool2d(2, output_size=(5, 5))))
    assert "aten.fractional_max_pool2d, which its layer 1 (FractionalMaxPool2d) uses" in line


def test_a_forward_that_looks_at_values_is_refused(capfd):
    class Branch(nn.Module):
        def forward(self, maps):
            return 2 * maps if maps.sum() > 0 else maps

    line = refused(small_model(Branch()))
    assert line.startswith("small cannot be exported: torch.export cannot follow its forward (")
    assert line.endswith("write it without decisions that depend on the values or number of the images")
    assert capfd.readouterr() == ("", "")


def test_ceil_mode_with_a_divisor_is_refused():
    class Pool(nn.Module):
        def forward(self, maps):
            return F.avg_pool2d(maps, 3, ceil_mode=True, divisor_override=2)

    assert refused(small_model(Pool())).startswith("ONNX has nothing for average pooling with both ceil_mode and")


@pytest.mark.parametrize("pooling", [(2, 2, 0, 1), ((2, 3), 1, 1, 5)])
def test_divisors_survive(pooling, tmp_path):
    import onnxruntime

    kernel_size, stride, padding, divisor = pooling

    class Pool(nn.Module):
        def forward(self, maps):
            return F.avg_pool2d(maps, kernel_size, stride, padding, divisor_override=divisor)

    model = small_model(Pool())
    write_onnx(model, tmp_path / "a.onnx", resize=False)
    images = noise(2, 16, 16, 3)
    (answered,) = onnxruntime.InferenceSession(tmp_path / "a.onnx").run(None, {"images": images})
    wanted = model.probabilities(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()
    np.testing.assert_allclose(answered, wanted, atol=1e-6)


def test_what_openvino_cannot_convert_is_named(tmp_path):
    """A window larger than the padded image: PyTorch's ceil_mode allows it, OpenVINO does not."""
    preprocessing = Preprocessing(3, 4, (4, 4), (0.0,) * 3, (1.0,) * 3)
    model = small_model(nn.AvgPool2d(3, stride=2, ceil_mode=True), preprocessing=preprocessing)
    line = refused(model, write_openvino, tmp_path / "a.xml")
    assert line.startswith("small cannot be converted for OpenVINO: AveragePool-18: Kernel after dilation has size")
    assert line.endswith("; export it with --to onnx")


def test_over_two_gigabytes_are_refused(monkeypatch):
    monkeypatch.setattr(onnx_file, "MAX_BYTES", 100)
    assert "one ONNX file holds at most 2.1 GB; export it with --to torch" in refused(small_model(nn.ReLU()))


@pytest.mark.parametrize("missing", ["onnx", "onnxscript"])
def test_a_missing_package_names_the_extra(monkeypatch, missing):
    real = builtins.__import__

    def importing(name, *rest):
        if name == missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", importing)
    assert refused(small_model(nn.ReLU())) == (
        f"this export needs {missing}, which is not installed; pip install 'striate[onnx]'"
    )


def test_any_number_of_images_can_be_traced():
    program = trace(catalogue_model("lenet5", (32, 32)), resize=False)
    for count in (1, 2, 5):
        assert program.module()(torch.zeros(count, 32, 32, 1, dtype=torch.uint8)).shape == (count, 3)
