"""Gradient ascent: it climbs, its gradient is right, the network comes back untouched, and wrong requests are named."""

import numpy as np
import pytest
import torch
from torch import nn

from striate.errors import InputError, NonFiniteLoss
from striate.synthesis.image_space import FourierSpace, PixelSpace
from striate.synthesis.models import Layers, frozen_float32
from striate.synthesis.regularizers import Regularizers, gaussian_blur, regularize, total_variation
from striate.synthesis.targets import ClassTarget, LayerTarget, Objective, UnitTarget, parse_unit
from striate.synthesis.views import Views, random_view
from striate.synthesis.visualize import AscentConfig, visualize, waking_rectifiers
from striate.synthesis.watching import Watch
from synthesis_cases import assert_same_state, state_of

QUICK = AscentConfig(size=(16, 20), num_steps=25, learning_rate=0.05, views=Views(2, 0.05, 3))
TARGETS = [
    ClassTarget(2),
    UnitTarget("conv2", 3),
    UnitTarget("conv2", 3, (7, 8)),
    UnitTarget("head", 1),
    UnitTarget(":avg_pool2d", 0),
    LayerTarget("relu#2"),
]


@pytest.mark.parametrize("target", TARGETS, ids=str)
@pytest.mark.parametrize("parametrization", ["fourier", "pixels"])
def test_climbs_and_leaves_the_network_alone(small, target, parametrization):
    before = state_of(small)
    config = AscentConfig(
        size=(16, 20), num_steps=25, learning_rate=0.05, parametrization=parametrization, views=Views(2, 0.05, 3)
    )
    result = visualize(small, target, config)
    assert result.pixels.shape == (16, 20, 3)
    assert result.pixels.dtype == np.uint8
    assert len(result.losses) == 25
    assert result.losses[0] - result.losses[-1] > 0.1 * abs(result.losses[0])
    assert_same_state(before, state_of(small))


def test_same_seed_same_picture_another_seed_another(small):
    first, again = (visualize(small, ClassTarget(0), QUICK).pixels for _ in range(2))
    assert np.array_equal(first, again)
    other = AscentConfig(size=(16, 20), num_steps=25, learning_rate=0.05, views=Views(2, 0.05, 3), seed=1)
    assert not np.array_equal(first, visualize(small, ClassTarget(0), other).pixels)


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_gradient_of_each_objective_by_finite_differences(small, target):
    network = small.double()
    objective = Objective(network, target)
    images = torch.rand(1, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    if target == UnitTarget("conv2", 3, (7, 8)):
        objective = Objective(network, UnitTarget("conv2", 3, (5, 2)))
    network.eval()
    assert torch.autograd.gradcheck(objective, (images,), eps=1e-7, atol=1e-6)


@pytest.mark.parametrize("space", [FourierSpace, PixelSpace])
def test_spaces_give_pictures_in_range_around_grey_and_pass_gradients(space):
    made = space((9, 14), 3, torch.Generator().manual_seed(0))
    image = made.image()
    assert image.shape == (1, 3, 9, 14)
    assert image.min() >= 0
    assert image.max() <= 1
    assert abs(image.mean().item() - 0.5) < 0.1
    (gradient,) = torch.autograd.grad(image.square().sum(), made.parameters)
    assert gradient.abs().max() > 0


def test_fourier_space_is_the_inverse_transform_of_scaled_coefficients():
    made = FourierSpace((6, 8), 1, torch.Generator().manual_seed(0), decay=1.0)
    spectrum = torch.complex(made.coefficients[..., 0], made.coefficients[..., 1]).detach().numpy()[0, 0]
    vertical, horizontal = np.fft.fftfreq(6)[:, None], np.fft.rfftfreq(8)[None]
    scale = np.sqrt(48) / 4 / np.maximum(np.sqrt(vertical**2 + horizontal**2), 1 / 8)
    expected = 1 / (1 + np.exp(-4 * np.fft.irfft2(spectrum * scale, s=(6, 8))))
    np.testing.assert_allclose(made.image().detach().numpy()[0, 0], expected, rtol=1e-5)


def test_regularisers_do_what_they_say():
    gradient = torch.ones(1, 3, 4, 5)
    deviation = torch.linspace(0.1, 1, 60).view(1, 3, 4, 5)
    shrunk = deviation.clone()
    regularize(shrunk, gradient, 1, Regularizers(l2=0.25))
    torch.testing.assert_close(shrunk, deviation * 0.75)

    clipped = deviation.clone()
    regularize(clipped, gradient, 1, Regularizers(clip_pixels=0.5))
    is_grey = (clipped == 0).all(dim=1)[0]
    norms = deviation.norm(dim=1)[0]
    assert is_grey.sum() == 10
    assert norms[is_grey].max() < norms[~is_grey].min()

    weak = torch.ones(1, 3, 4, 5)
    weak[..., 0] = 1e-6  # the first column matters to nobody
    clipped = deviation.clone()
    regularize(clipped, weak, 1, Regularizers(clip_gradients=0.2))
    assert (clipped[..., 0] == 0).all()
    assert (clipped[..., 1:] != 0).all()

    blurred = deviation.clone()
    regularize(blurred, gradient, 3, Regularizers(blur_sigma_px=1, blur_every=4))
    assert torch.equal(blurred, deviation)
    regularize(blurred, gradient, 4, Regularizers(blur_sigma_px=1, blur_every=4))
    assert total_variation(blurred) < total_variation(deviation)


def test_blur_is_scipys():
    ndimage = pytest.importorskip("scipy.ndimage")
    images = torch.rand(1, 2, 12, 15)
    expected = ndimage.gaussian_filter(images[0].numpy(), sigma=(0, 1.5, 1.5), mode="mirror", radius=(0, 4, 4))
    np.testing.assert_allclose(gaussian_blur(images, 1.5)[0].numpy(), expected, atol=1e-5)


def test_total_variation_by_hand():
    images = torch.tensor([[[[0.0, 1.0], [3.0, 5.0]]]])  # squares: 1 + 9, 16, 4, 0
    assert total_variation(images).item() == pytest.approx(30 / 4)
    assert total_variation(images, beta=1.0).item() == pytest.approx((10**0.5 + 4 + 2) / 4, rel=1e-5)


def test_a_view_without_changes_is_the_picture_and_a_shift_is_a_shift():
    images = torch.rand(1, 3, 10, 12)
    generator = torch.Generator().manual_seed(1)
    assert random_view(images, Views(0, 0, 0), generator) is images
    shifted = random_view(images, Views(3, 0, 0), generator)
    assert sorted(shifted.flatten().tolist()) == sorted(images.flatten().tolist())
    turned = random_view(images, Views(1, 0.2, 20), generator)
    assert turned.shape == images.shape
    assert 0 <= turned.min() <= turned.max() <= 1


def test_a_rectifier_that_is_asleep_is_woken_up():
    layer = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU())
    nn.init.constant_(layer[0].bias, -5.0)
    images = torch.rand(1, 3, 4, 4, requires_grad=True)
    (plain,) = torch.autograd.grad(-layer(images)[:, 0].mean(), images)
    assert plain.abs().max() == 0
    with waking_rectifiers(layer):
        loss = -layer(images)[:, 0].mean()
    (woken,) = torch.autograd.grad(loss, images)
    (expected,) = torch.autograd.grad(-layer[0](images)[:, 0].mean(), images)
    torch.testing.assert_close(woken, expected)
    nn.init.constant_(layer[0].bias, 5.0)  # awake: the gradient is the plain one
    with waking_rectifiers(layer):
        loss = -layer(images)[:, 0].mean()
    torch.testing.assert_close(
        torch.autograd.grad(loss, images)[0], torch.autograd.grad(-layer(images)[:, 0].mean(), images)[0]
    )


def test_only_what_is_needed_runs(small):
    calls = []
    small.head.register_forward_hook(lambda *_: calls.append(1))
    layers = Layers(small, ("conv2", "conv1"))
    images = torch.rand(1, 3, 8, 8)
    with frozen_float32(small):
        layers(images)
        calls.clear()
        found = layers(images)
    assert not calls
    assert list(found) == ["conv2", "conv1"]
    torch.testing.assert_close(found["conv1"], small.conv1(images))
    torch.testing.assert_close(found["conv2"], small.conv2(small.conv1(images).relu()))


def test_stopping_keeps_the_picture_so_far(small):
    seen = []
    watch = Watch(lambda step, num, loss, snapshot: seen.append((step, num, loss, snapshot())), lambda: len(seen) == 4)
    result = visualize(small, ClassTarget(1), QUICK, watch=watch)
    assert result.was_stopped
    assert len(result.losses) == 4
    assert np.array_equal(result.pixels, seen[-1][3])


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("features.9:12", UnitTarget("features.9", 12)),
        ("features.9:12:3,4", UnitTarget("features.9", 12, (3, 4))),
        ("features.9:cat:7", UnitTarget("features.9:cat", 7)),
        (":add.2:7:0,1", UnitTarget(":add.2", 7, (0, 1))),
    ],
)
def test_units_are_read(text, unit):
    assert parse_unit(text) == unit


class Pair(nn.Module):
    def forward(self, images):
        return images, images


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.Identity()

    def forward(self, images):
        return self.blocks(images.flatten(2).transpose(1, 2)).mean(dim=1)


def test_wrong_requests_are_named(small):
    with pytest.raises(InputError, match="LAYER:CHANNEL"):
        parse_unit("features.9")
    with pytest.raises(InputError, match="class 5 was asked for but the network has classes 0 to 4"):
        visualize(small, ClassTarget(5), QUICK)
    with pytest.raises(InputError, match="channels 0 to 7 but channel 8"):
        visualize(small, UnitTarget("conv2", 8), QUICK)
    with pytest.raises(InputError, match="16x20 here but the unit at y 16"):
        visualize(small, UnitTarget("conv2", 0, (16, 0)), QUICK)
    with pytest.raises(InputError, match="no layer called 'conv3'; did you mean conv"):
        visualize(small, LayerTarget("conv3"), QUICK)
    with pytest.raises(InputError, match="relu runs 2 times; name one call"):
        visualize(small, LayerTarget("relu"), QUICK)
    with pytest.raises(InputError, match="tuple and not scores"):
        visualize(Pair(), ClassTarget(0), QUICK)
    with pytest.raises(InputError, match="neither channels with a spatial map"):
        visualize(Tokens(), UnitTarget("blocks", 0), QUICK)
    with pytest.raises(InputError, match="float16 but float32 is needed"):
        visualize(small.half(), ClassTarget(0), QUICK)
    with pytest.raises(InputError, match="work on pixels"):
        AscentConfig(size=(8, 8), regularizers=Regularizers(l2=0.1))
    with pytest.raises(InputError, match="each side must be"):
        AscentConfig(size=(8, 100_000))
    with pytest.raises(InputError, match="at least 1 step"):
        AscentConfig(size=(8, 8), num_steps=0)
    with pytest.raises(InputError, match="fourier or pixels but is 'wavelets'"):
        visualize(Pair(), ClassTarget(0), AscentConfig(size=(8, 8), parametrization="wavelets"))


def test_after_an_error_the_network_is_as_before(small):
    before = state_of(small)
    with pytest.raises(InputError):
        visualize(small, ClassTarget(9), QUICK)
    assert_same_state(before, state_of(small))


def test_a_picture_too_small_is_named():
    network = nn.Sequential(nn.Conv2d(3, 4, 7), nn.Flatten(), nn.Linear(4, 2))
    with pytest.raises(InputError, match="cannot take a picture of 5x5 pixels"):
        visualize(network, ClassTarget(0), AscentConfig(size=(5, 5), num_steps=2))


def test_gradients_that_are_not_numbers_are_named():
    class Broken(nn.Module):
        def forward(self, images):
            return (images.mean(dim=(2, 3)) - 5).sqrt()

    with pytest.raises(NonFiniteLoss, match="at step 1"):
        visualize(Broken(), ClassTarget(0), QUICK)

    class Detached(nn.Module):
        def forward(self, images):
            return images.detach().mean(dim=(2, 3))

    with pytest.raises(InputError, match="no gradient reaches the picture"):
        visualize(Detached(), ClassTarget(0), QUICK)
