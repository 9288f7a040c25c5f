"""FCN and DeepLabv3 on dilated ResNets: torchvision's weights give torchvision's outputs."""

import dataclasses

import numpy as np
import pytest
import torch
import torchvision

from striate.networks.catalogue import build_network, entry_for
from striate.tasks.model import load_model

NAMES = ["fcn_resnet50", "deeplabv3_resnet50"]


@pytest.mark.parametrize("name", NAMES)
def test_equal_weights_give_equal_outputs(name):
    theirs = torchvision.models.get_model(name, weights=None, weights_backbone=None, num_classes=5, aux_loss=True)
    ours = build_network(name, num_classes=5, seed=0)
    ours.load_state_dict(theirs.state_dict())
    images = torch.rand(2, 3, 65, 49, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for module in (ours, theirs):
            module.eval()
        expected = theirs(images)
        assert torch.allclose(ours(images), expected["out"], atol=1e-5)
        ours.train(), theirs.train()
        for module in (*ours.modules(), *theirs.modules()):
            if isinstance(module, torch.nn.Dropout):
                module.eval()
        both, expected = ours(images), theirs(images)
    assert torch.allclose(both.logits, expected["out"], atol=1e-4)
    assert torch.allclose(both.auxiliary[0], expected["aux"], atol=1e-4)


@pytest.mark.parametrize("name", ["fcn_resnet50", "fcn_resnet101", "deeplabv3_resnet50", "deeplabv3_resnet101"])
def test_published_weights_and_counts_are_torchvisions(name):
    entry, (published,) = entry_for(name), torchvision.models.get_model_weights(name)
    (own,) = entry.weights
    assert own.url == published.url
    assert own.size_bytes == round(published.meta["_file_size"] * 2**20)
    assert own.class_names() == tuple(
        "background" if each == "__background__" else each for each in published.meta["categories"]
    )
    assert (own.preprocessing.mean, own.preprocessing.std) == (
        tuple(published.transforms().mean),
        tuple(published.transforms().std),
    )
    assert entry.num_params + entry.num_auxiliary_params == published.meta["num_params"]
    of_auxiliary_head = entry.num_auxiliary_params - 2 * 256 - 21  # what multiplies, at each of 65 x 65 places
    assert round((entry.macs + of_auxiliary_head * 65 * 65) / 1e9, 3) == published.meta["_ops"]


def test_a_published_file_is_a_model_that_predicts_masks(tmp_path):
    theirs = torchvision.models.get_model(
        "fcn_resnet50", weights=None, weights_backbone=None, num_classes=21, aux_loss=True
    ).eval()
    torch.save(theirs.state_dict(), tmp_path / "voc.pth")
    model = load_model(f"fcn_resnet50:{tmp_path / 'voc.pth'}")
    assert model.task.name == "segmentation"
    assert model.preprocessing.resize == "fit"
    pixels = np.random.default_rng(0).integers(0, 256, (90, 120, 3)).astype(np.uint8)
    small = dataclasses.replace(
        model, preprocessing=dataclasses.replace(model.preprocessing, crop_size=(90, 120), resize_size=120)
    )
    (found,) = small.predict(pixels).predictions
    assert found.mask.shape == (90, 120)
    images = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        expected = theirs((images - mean) / std)["out"][0].argmax(0)
    assert (found.mask == expected.numpy()).mean() > 0.999
