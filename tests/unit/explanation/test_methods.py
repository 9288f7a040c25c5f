"""Every method: shapes, the network left as it was, and maps that can be worked out without it."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from explanation_cases import Functional, TwoModules
from striate import explanation
from striate.errors import InputError
from striate.explanation.integrated_gradients import integrate
from striate.explanation.lime import fit_linear
from striate.explanation.methods import METHODS, find_methods

QUICK = {"smooth_grad": {"num_samples": 3}, "lime": {"num_samples": 8}, "integrated_gradients": {"num_steps": 4}}
LAYERED = [method for method in METHODS if method.takes_layer]


def linear_network() -> tuple[nn.Module, torch.Tensor]:
    """Score of class k = the sum of weights[k] * image."""
    weights = torch.randn(3, 2, 6, 8)
    network = nn.Sequential(nn.Flatten(), nn.Linear(96, 3))
    network[1].weight.data = weights.flatten(1)
    return network, weights


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_shapes_and_nothing_left_behind(method):
    network = Functional().train()
    network.first.weight.requires_grad_(False)
    network.second.eval()
    network.head.weight.grad = torch.ones(5, 8)
    before = copy.deepcopy(network)
    images = torch.randn(3, 3, 14, 16)
    kept = images.clone()
    options = QUICK.get(method.name, {}) | ({"layer": "second"} if method.takes_layer else {})
    maps = method.run(network, images, classes=[0, 1, 4], **options)
    assert len(maps) == 3
    assert maps.dtype == torch.float32
    assert not maps.requires_grad
    assert maps.isfinite().all()
    expected = {"none": (10, 12) if method.takes_layer else (14, 16)}.get(method.plane, (3, 14, 16))
    assert tuple(maps.shape[1:]) == expected
    with pytest.raises(InputError):
        method.run(network, images, classes=7, **options)
    assert torch.equal(images, kept)
    assert images.grad is None
    for one, other in zip(network.modules(), before.modules(), strict=True):
        assert one.training == other.training
        assert not one._forward_hooks
        assert not one._forward_pre_hooks
        assert not one._backward_hooks
    for one, other in zip(network.parameters(), before.parameters(), strict=True):
        assert one.requires_grad == other.requires_grad
        assert torch.equal(one, other)
        assert one.grad is None or one is network.head.weight
    assert torch.equal(network.head.weight.grad, torch.ones(5, 8))
    # one at a time gives the same
    alone = torch.cat([method.run(network, images[i : i + 1], classes=k, **options) for i, k in enumerate((0, 1, 4))])
    if method.name != "lime":  # its superpixels are of the one image in both
        torch.testing.assert_close(maps, alone, rtol=1e-4, atol=1e-6)


def test_a_linear_network_is_explained_by_its_weights():
    network, weights = linear_network()
    images, labels = torch.randn(2, 2, 6, 8), torch.tensor([2, 0])
    of_class = weights[labels]
    same = {"rtol": 1e-5, "atol": 1e-5}
    torch.testing.assert_close(explanation.saliency(network, images, classes=labels), of_class.abs().amax(1), **same)
    mean = explanation.saliency(network, images, classes=labels, channels="mean")
    torch.testing.assert_close(mean, of_class.abs().mean(1), **same)
    product = of_class * images
    torch.testing.assert_close(explanation.gradient_x_input(network, images, classes=labels), product, **same)
    torch.testing.assert_close(explanation.integrated_gradients(network, images, classes=labels), product, **same)
    baseline = torch.randn(2, 6, 8)
    found = explanation.integrated_gradients(network, images, classes=labels, baseline=baseline, num_steps=3)
    torch.testing.assert_close(found, of_class * (images - baseline), **same)
    torch.testing.assert_close(
        explanation.smooth_grad(network, images, classes=labels, num_samples=2), of_class, **same
    )
    occluded = explanation.occlusion(network, images, classes=labels, window=2, stride=2)
    falls = F.avg_pool2d(product.sum(1, keepdim=True), 2) * 4
    torch.testing.assert_close(occluded, falls.repeat_interleave(2, 2).repeat_interleave(2, 3)[:, 0], **same)


def test_lime_finds_the_weights_of_a_linear_network():
    network, weights = linear_network()
    images = torch.randn(1, 2, 6, 8)
    segments = torch.arange(12).view(1, 3, 4).repeat_interleave(2, 1).repeat_interleave(2, 2)
    maps = explanation.lime(network, images, classes=1, segments=segments, num_samples=400, ridge=1e-9)
    wanted = F.avg_pool2d((weights[1:2] * images).sum(1, keepdim=True), 2) * 4
    torch.testing.assert_close(maps, wanted.repeat_interleave(2, 2).repeat_interleave(2, 3)[:, 0], rtol=1e-3, atol=1e-3)


def test_lime_fits_as_scikit_learn_does():
    from sklearn.linear_model import Ridge

    present, scores = torch.randint(0, 2, (60, 9)), torch.randn(60)
    cosines = present.double().mean(1).sqrt().numpy()
    weights = np.exp(-((1 - cosines) ** 2) / 0.25**2)
    wanted = Ridge(alpha=0.5).fit(present.numpy(), scores.double().numpy(), sample_weight=weights).coef_
    np.testing.assert_allclose(fit_linear(present, scores, 0.25, 0.5).numpy(), wanted, rtol=1e-6)


def test_occlusion_equals_covering_by_hand_where_windows_overlap_and_end_early():
    network, images = TwoModules().double(), torch.randn(2, 3, 13, 10, dtype=torch.float64)
    found = explanation.occlusion(network, images, classes=3, window=(4, 5), stride=(3, 2), baseline=0.5)
    network.eval()
    total, times = torch.zeros(2, 13, 10, dtype=torch.float64), torch.zeros(13, 10)
    for top in (0, 3, 6, 9):
        for left in (0, 2, 4, 6):
            covered = images.clone()
            covered[:, :, top : top + 4, left : left + 5] = 0.5
            fall = (network(images) - network(covered))[:, 3].detach()
            total[:, top : top + 4, left : left + 5] += fall[:, None, None]
            times[top : top + 4, left : left + 5] += 1
    torch.testing.assert_close(found, total / times)


def test_integrated_gradients_take_steps_until_they_are_complete():
    network, images = TwoModules().double(), 3 * torch.randn(4, 3, 12, 12, dtype=torch.float64)
    lines = []
    maps, completeness = integrate(network, images, classes=[0, 1, 2, 3], log=lines.append)
    network.eval()
    rise = (network(images) - network(torch.zeros_like(images))).gather(1, torch.tensor([[0], [1], [2], [3]]))[:, 0]
    gaps = (maps.flatten(1).sum(1) - rise).abs() / rise.abs()
    assert (gaps < 0.01).all()
    assert [each.gap for each in completeness] == pytest.approx(gaps.tolist(), abs=1e-9)
    assert lines
    assert lines[0].startswith("integrated gradients: completeness within")
    for place, each in enumerate(completeness):  # midpoints taken before serve again
        alone, _ = integrate(network, images[place : place + 1], classes=place, num_steps=each.num_steps)
        torch.testing.assert_close(maps[place : place + 1], alone)
    assert max(each.num_steps for each in completeness) > 16


def test_class_activation_maps_on_paper():
    """One 2 x 2 map a channel, scores are means of it: gradients of class 0 are (1/4, -1/4) everywhere."""
    network = nn.Sequential(nn.Identity(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2, bias=False))
    network[3].weight.data = torch.tensor([[1.0, -1.0], [0.0, 2.0]])
    images = torch.tensor([[[[4.0, 0.0], [8.0, 0.0]], [[0.0, 4.0], [4.0, 0.0]]]])
    options = {"classes": 0, "layer": "0"}
    assert explanation.grad_cam(network, images, **options).tolist() == [[[1, 0], [1, 0]]]
    assert explanation.layer_cam(network, images, **options).tolist() == [[[1, 0], [2, 0]]]
    # alpha of channel 0 = 1 / (2 + 12 / 4) = 1/5, its weight 4 * 1/5 * 1/4 = 1/5; channel 1 has no positive gradient
    torch.testing.assert_close(
        explanation.grad_cam_plus_plus(network, images, **options), torch.tensor([[[0.8, 0], [1.6, 0]]])
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": 5}, "class 5 is none of the network's: they go from 0 to 4"),
        ({"classes": [1, 2]}, "expected one class for each of 3 images"),
        ({"classes": 1.5}, "classes must be whole numbers"),
        ({"classes": lambda outputs: outputs}, "must give one score an image"),
        ({"images": torch.zeros(3, 16, 16)}, r"expected a batch of images \(N, C, H, W\)"),
        (
            {"images": [torch.zeros(3, 8, 8), torch.zeros(3, 9, 9)]},
            "expected a batch of images .* of one size but got list",
        ),
        ({"images": torch.zeros(3, 3, 16, 16, dtype=torch.uint8)}, "preprocessing.normalize"),
        ({"images": torch.zeros(3, 3, 2, 2)}, "Functional cannot take images of 3x3x2x2"),
        ({"images": torch.full((3, 3, 16, 16), float("nan"))}, "a score is NaN or infinite"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
    ],
)
def test_bad_input_is_one_line(change, message):
    given = {"images": torch.randn(3, 3, 16, 16), "classes": 0, **change}
    images = given.pop("images")
    with pytest.raises(InputError, match=message) as caught:
        explanation.saliency(Functional(), images, **given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("secnd", "no layer called 'secnd'; did you mean second"),
        ("head", r"head gives \(2, 5\), which is no map over the image"),
        ("one", "one ran 2 times|one runs several times"),
    ],
)
@pytest.mark.parametrize("method", LAYERED, ids=lambda method: method.name)
def test_a_layer_that_gives_no_map_is_refused(method, layer, message):
    from explanation_cases import OneReused

    with pytest.raises(InputError, match=message):
        method.run(OneReused(), torch.randn(2, 3, 12, 12), classes=0, layer=layer)


class Told(nn.Module):
    """Gives a tuple, a dictionary, or whole numbers."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.network, self.kind = TwoModules(), kind

    def forward(self, images):
        logits = self.network(images)
        return {"tuple": (logits, 1), "dict": {"out": logits}, "detached": logits.detach(), "half": logits}[self.kind]


def test_outputs_of_other_kinds_need_a_function():
    images = torch.randn(2, 3, 12, 12)
    for kind in ("tuple", "dict"):
        with pytest.raises(InputError, match=f"the network gives a {kind}; give as classes a function"):
            explanation.saliency(Told(kind), images, classes=0)
    network = Told("dict")
    found = explanation.saliency(network, images, classes=lambda outputs: outputs["out"][:, 2])
    torch.testing.assert_close(found, explanation.saliency(network.network, images, classes=2))
    with pytest.raises(InputError, match="no gradient of the score reaches the images in Told"):
        explanation.saliency(Told("detached"), images, classes=0)
    with pytest.raises(InputError, match=r"no gradient of the score reaches layer network\.second"):
        explanation.grad_cam(Told("detached"), images, classes=0, layer="network.second")


def test_frozen_half_precision_compiled_and_inference_networks_are_explained():
    network, images = TwoModules(), torch.randn(2, 3, 12, 12)
    wanted = explanation.guided_backprop(network, images, classes=1)
    network.requires_grad_(False)
    torch.testing.assert_close(explanation.guided_backprop(network, images, classes=1), wanted)
    compiled = torch.compile(copy.deepcopy(network))
    torch.testing.assert_close(explanation.guided_backprop(compiled, images, classes=1), wanted)
    with torch.inference_mode():
        torch.testing.assert_close(explanation.guided_backprop(network, images.clone(), classes=1), wanted)
    half = explanation.guided_backprop(copy.deepcopy(network).bfloat16(), images, classes=1)
    assert half.dtype == torch.float32
    assert (half - wanted).norm() < 0.1 * wanted.norm()


def test_one_output_for_two_classes():
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 1))
    images = torch.randn(1, 3, 2, 2)
    second = explanation.gradient_x_input(network, images, classes=1)
    torch.testing.assert_close(explanation.gradient_x_input(network, images, classes=0), -second)
    torch.testing.assert_close(second.sum(), (network(images) - network[1].bias).sum())


def test_methods_by_name():
    assert [method.name for method in find_methods(["Grad-CAM", "grad_cam", "lime"])] == ["grad_cam", "lime"]
    assert find_methods(["all"]) == METHODS
    with pytest.raises(InputError, match="no method is called 'gradcam'; did you mean grad_cam"):
        find_methods(["gradcam"])


class Viewing(TwoModules):
    """Flattens its maps by a view, which memory with channels last does not allow."""

    def forward(self, images):
        maps = self.two(self.second(self.one(self.first(images))))
        return self.head(maps.view(len(maps), 8, -1).mean(dim=2))


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_a_network_that_needs_its_channels_first_is_explained_too(method):
    network, images = Viewing(), torch.randn(2, 3, 12, 12).contiguous(memory_format=torch.channels_last)
    plain = TwoModules()
    plain.load_state_dict(network.state_dict())
    plain.first.weight.data *= 0.25  # TwoModules multiplies by four
    plain.first.bias.data *= 0.25
    options = {"classes": 1, **QUICK.get(method.name, {}), **({"layer": "second"} if method.takes_layer else {})}
    torch.testing.assert_close(
        method.run(network, images, **options), method.run(plain, images, **options), rtol=1e-3, atol=1e-6
    )
