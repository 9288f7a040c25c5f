"""What entries say of other people's networks, against what their libraries say and do."""

import pytest
import timm
import torch
import torchvision
from timm.data import create_transform, resolve_data_config
from torchvision.transforms import CenterCrop, InterpolationMode, Resize

from striate.data.preprocessing import Preprocessing
from striate.networks import timm_library, torchvision_library
from striate.networks.catalogue import build_network, entry_for
from striate.networks.imagenet import imagenet_class_names

CLASSIFIERS = torchvision.models.list_models(module=torchvision.models)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_torchvisions_published_weights(name: str) -> None:
    """Every row of its table, but for vision transformers at another size, which are other networks, and for weights
    of VGG-16 without its classifier.
    """
    facts = torchvision_library.facts(name)
    rows = [
        row
        for row in torchvision.models.get_model_weights(name)
        if (not name.startswith("vit_") or row.transforms().crop_size == [224]) and row.name != "IMAGENET1K_FEATURES"
    ]
    assert len(rows) == len(facts.weights) > 0
    assert facts.size == facts.weights[0].preprocessing.crop_size
    for ours, theirs in zip(facts.weights, rows, strict=True):
        transforms = theirs.transforms()
        assert ours.url == theirs.url
        assert theirs.url.endswith(f"-{ours.sha256_prefix}.pth")
        assert len(ours.sha256_prefix) >= 8
        assert ours.size_bytes == pytest.approx(theirs.meta["_file_size"] * 2**20, abs=1)
        assert tuple(theirs.meta["categories"]) == imagenet_class_names()
        assert [ours.preprocessing.resize_size] == transforms.resize_size
        assert list(ours.preprocessing.crop_size) == transforms.crop_size * 2
        assert ours.preprocessing.interpolation == transforms.interpolation.value
    names = [weights.name for weights in facts.weights]
    assert len(set(names)) == len(names)
    assert ("imagenet" in names) == any(row.name == "IMAGENET1K_V1" for row in rows)
    assert ("imagenet_v2" in names) == any(row.name == "IMAGENET1K_V2" for row in rows)


def test_licences_are_told() -> None:
    (linear,) = (each for each in torchvision_library.facts("vit_h_14").weights)
    assert linear.name == "imagenet_swag_linear"
    assert "licence https://" in linear.source


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_pixels_that_torchvision_transforms_inside_are_prepared_outside(name: str) -> None:
    """With published weights torchvision's network turns its usual normalisation into pixels from -1 to 1."""
    (published,) = torchvision_library.facts(name).weights
    usual = torchvision.models.get_model_weights(name).IMAGENET1K_V1.transforms()
    pixels = torch.arange(256, dtype=torch.uint8).expand(1, 3, 1, 256)
    normalised = (pixels / 255 - torch.tensor(usual.mean).view(3, 1, 1)) / torch.tensor(usual.std).view(3, 1, 1)

    class Stub:
        transform_input = True

    transformed = getattr(torchvision.models, {"googlenet": "GoogLeNet"}.get(name, "Inception3"))._transform_input(
        Stub(), normalised
    )
    torch.testing.assert_close(published.preprocessing.normalize(pixels), transformed, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "name",
    ["resnet18", "resnet50.tv_in1k", "vit_base_patch16_224.augreg_in21k", "beit_base_patch16_384", "convnext_atto",
     "tf_efficientnet_b7.ns_jft_in1k", "inception_v3.tv_in1k", "eva02_tiny_patch14_224",
     "vit_base_patch16_clip_224.openai"],
)  # fmt: skip
def test_images_are_prepared_as_timm_does(name: str) -> None:
    """Sizes, filter and normalisation are those of timm's own evaluation; the pixels are resized by another library."""
    facts = timm_library.facts(name)
    cfg = timm.get_pretrained_cfg(name)
    transform = create_transform(**resolve_data_config(pretrained_cfg=cfg.to_dict()))
    first, second = transform.transforms[:2]
    ours = facts.preprocessing
    resizes_both = not isinstance(first, Resize) or not isinstance(first.size, int)
    assert (ours.resize == "stretch") == resizes_both
    if not resizes_both:
        assert first.size == ours.resize_size
        assert isinstance(second, CenterCrop)
        assert tuple(second.size) == ours.crop_size
        assert first.interpolation == InterpolationMode(ours.interpolation)
    normalise = transform.transforms[-1]
    assert (tuple(normalise.mean.tolist()), tuple(normalise.std.tolist())) == (
        pytest.approx(ours.mean),
        pytest.approx(ours.std),
    )
    assert facts.num_classes == (cfg.num_classes or 1000)
    assert isinstance(ours, Preprocessing)


@pytest.mark.parametrize("name", ["regnet_y_400mf", "mnasnet0_5"])
def test_counts_are_those_torchvision_prints(name: str) -> None:
    entry = entry_for(f"torchvision:{name}")
    meta = torchvision.models.get_model_weights(name).IMAGENET1K_V1.meta
    assert entry.num_params == meta["num_params"]
    assert entry.macs / 1e9 == pytest.approx(meta["_ops"], abs=6e-4)


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_convnext", "test_byobnet"])
def test_stem_and_head_are_those_timm_names(name: str) -> None:
    entry, cfg = entry_for(f"timm:{name}"), timm.get_pretrained_cfg(name)
    assert (entry.stem, entry.head) == (cfg.first_conv, cfg.classifier)
    network = build_network(entry.name, device="meta")
    assert network.get_classifier() is network.get_submodule(entry.head)
