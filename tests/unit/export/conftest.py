"""One exported model for the tests of a room, because writing it takes a second."""

import pytest
from torch import nn

from export_cases import small_model
from striate.export.onnx_file import write_onnx
from striate.export.torch_file import write_torch


@pytest.fixture(scope="session")
def exported_folder(tmp_path_factory):
    """small.onnx and small.pt2 of `small_model(nn.ReLU())` with the weights of seed 0, resize inside, and the model."""
    import torch

    torch.manual_seed(0)
    model = small_model(nn.ReLU())
    folder = tmp_path_factory.mktemp("exported")
    write_onnx(model, folder / "small.onnx", resize=True)
    write_torch(model, folder / "small.pt2", resize=True)
    return folder, model
