"""Dreams, fooling pictures, inversions: each does what it says on a small network, which comes back as it was."""

import numpy as np
import pytest
import torch

from striate.errors import InputError
from striate.synthesis.answering import answer
from striate.synthesis.dream import DreamConfig, dream, octave_sizes
from striate.synthesis.fool import FoolConfig, fool, magnified_difference, noise_pixels
from striate.synthesis.invert import InvertConfig, invert
from striate.synthesis.models import Layers, frozen_float32
from striate.synthesis.pictures import read_picture, resize_pixels, sheet, to_images, write_png
from striate.synthesis.targets import ClassTarget, LayerTarget, Objective, UnitTarget
from striate.synthesis.watching import Watch
from synthesis_cases import assert_same_state, state_of


@pytest.fixture
def photo() -> np.ndarray:
    """Smooth colours, 24 x 30."""
    rows, columns = np.mgrid[:24, :30]
    waves = np.stack([np.sin(rows / 3), np.cos(columns / 4), np.sin((rows + columns) / 5)], axis=2)
    return (127 + 90 * waves).astype(np.uint8)


def value_of(network, target, pixels):
    with frozen_float32(network), torch.no_grad():
        return Objective(network, target)(to_images(pixels)).item()


def test_a_dream_raises_every_target_and_keeps_the_size(small, photo):
    before = state_of(small)
    targets = (LayerTarget("conv2"), UnitTarget("conv1", 2))
    config = DreamConfig(num_octaves=3, num_steps=4, jitter_px=3, step_size=0.02)
    result = dream(small, photo, targets, config)
    assert result.pixels.shape == photo.shape
    assert len(result.losses) == 12
    for target in targets:
        assert value_of(small, target, result.pixels) > value_of(small, target, photo)
    assert_same_state(before, state_of(small))
    assert np.array_equal(dream(small, photo, targets, config).pixels, result.pixels)


def test_tiles_bound_what_is_computed_at_once(small):
    seen = []
    small.conv1.register_forward_pre_hook(lambda _module, args: seen.append(tuple(args[0].shape[2:])))
    dream(small, noise_pixels((40, 70), 3, 0), (LayerTarget("conv2"),), DreamConfig(1, num_steps=1, tile_px=32))
    assert seen[1:] == [(20, 23), (20, 24), (20, 23)] * 2  # the first finds out in which order layers run


def test_octaves():
    assert octave_sizes((80, 40), DreamConfig(num_octaves=3, octave_scale=2)) == [(20, 10), (40, 20), (80, 40)]


def test_a_dream_that_is_stopped(small, photo):
    result = dream(small, photo, (ClassTarget(0),), DreamConfig(2, num_steps=3), watch=Watch(should_stop=lambda: True))
    assert result.was_stopped
    assert len(result.losses) == 1
    assert result.pixels.shape == photo.shape


@pytest.mark.parametrize("start", ["photo", "noise"])
def test_fooling_survives_rounding_to_eight_bits(small, photo, start):
    small.head.weight.data *= 100  # a network that can be sure
    before_state = state_of(small)
    pixels = photo if start == "photo" else noise_pixels((24, 30), 3, 1)
    before = answer(small, pixels)
    wanted = int(before.argsort()[-2])  # the second most probable
    confidence = 0.6
    result = fool(small, pixels, wanted, FoolConfig(confidence=confidence, num_steps=80, norm_step=0.2))
    after = answer(small, result.pixels)
    assert result.is_fooled
    assert int(after.argmax()) == wanted != int(before.argmax())
    assert result.probability == pytest.approx(float(after[wanted]))
    assert result.probability >= confidence
    difference = result.pixels.astype(int) - pixels
    assert result.l2 == pytest.approx(np.linalg.norm(difference))
    assert result.largest == abs(difference).max()
    assert_same_state(before_state, state_of(small))


def test_the_change_found_is_among_the_least_that_fool(photo):
    """A linear network knows the least change: along the weights, by the margin over their norm."""
    linear = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(photo.size, 2))
    torch.nn.init.normal_(linear[1].weight, std=0.05)
    images = to_images(photo)
    linear[1].bias.data -= linear(images).detach()[0] - torch.tensor([3.0, 0.0])
    direction = linear[1].weight[1] - linear[1].weight[0]
    least = 255 * (3.0 + np.log(0.6 / 0.4)) / direction.norm().item()
    result = fool(linear, photo, 1, FoolConfig(confidence=0.6, num_steps=150))
    assert result.is_fooled
    assert result.l2 < 1.15 * least


def test_not_fooled_is_said(small, photo):
    result = fool(small, photo, 0, FoolConfig(confidence=0.9999, num_steps=2))
    assert not result.is_fooled
    assert result.probability < 0.9999


def test_the_difference_is_magnified_as_far_as_it_fits():
    before = np.full((2, 2, 3), 100, dtype=np.uint8)
    after = before.copy()
    after[0, 0, 0], after[1, 1, 2] = 103, 98
    shown, factor = magnified_difference(before, after)
    assert factor == 42
    assert shown[0, 0, 0] == 128 + 126
    assert shown[1, 1, 2] == 128 - 84
    assert shown[0, 1, 0] == 128


@pytest.mark.parametrize("parametrization", ["fourier", "pixels"])
def test_inversion_finds_the_layers_output_again(small, photo, parametrization):
    before = state_of(small)
    config = InvertConfig(num_steps=80, learning_rate=0.05, total_variation=0.001, parametrization=parametrization)
    result = invert(small, photo, "conv1", config)
    assert result.losses[-1] < 0.3 * result.losses[0]
    layers = Layers(small, ("conv1",))
    with frozen_float32(small), torch.no_grad():
        wanted, found = (layers(to_images(each))["conv1"] for each in (photo, result.pixels))
    assert result.error == pytest.approx(((found - wanted).norm() / wanted.norm()).item(), rel=1e-4)
    assert_same_state(before, state_of(small))


def test_wrong_requests_are_named(small, photo):
    with pytest.raises(InputError, match="a layer or a unit to dream of"):
        dream(small, photo, ())
    with pytest.raises(InputError, match="named twice"):
        dream(small, photo, (ClassTarget(0), ClassTarget(0)))
    with pytest.raises(InputError, match="octave scale above 1"):
        DreamConfig(octave_scale=1.0)
    with pytest.raises(InputError, match="step size must be above 0"):
        DreamConfig(step_size=0)
    with pytest.raises(InputError, match="classes 0 to 4"):
        fool(small, photo, 7)
    with pytest.raises(InputError, match="between 0 and 1"):
        FoolConfig(confidence=1.0)
    with pytest.raises(InputError, match="no layer called 'conv9'"):
        invert(small, photo, "conv9")
    with pytest.raises(InputError, match="at least 1 step"):
        InvertConfig(num_steps=0)
    torch.nn.init.constant_(small.conv1.weight, 0)
    torch.nn.init.constant_(small.conv1.bias, 0)
    with pytest.raises(InputError, match="zero everywhere"):
        invert(small, photo, "conv1")


def test_pictures_are_read_and_written_whole(tmp_path, photo):
    path = write_png(tmp_path / "new" / "photo.png", photo)
    assert np.array_equal(read_picture(path), photo)
    assert read_picture(path, size=12).shape == (12, 15, 3)
    assert read_picture(path, size=15, largest=True).shape == (12, 15, 3)
    assert read_picture(path, channels=1).shape == (24, 30, 1)
    assert [each.name for each in path.parent.iterdir()] == ["photo.png"]
    grey = write_png(tmp_path / "grey.png", photo[..., :1])
    assert np.array_equal(read_picture(grey, channels=1), photo[..., :1])
    assert resize_pixels(photo[..., :1], (6, 5)).shape == (6, 5, 1)
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_picture(tmp_path / "none.png")
    (tmp_path / "broken.png").write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match=r"broken\.png is"):
        read_picture(tmp_path / "broken.png")
    with pytest.raises(InputError, match="cannot be written"):
        write_png(path / "below.png", photo)


def test_a_sheet():
    page = sheet(
        [np.zeros((4, 6, 3), np.uint8), np.zeros((3, 6, 1), np.uint8), np.zeros((4, 5, 3), np.uint8)], columns=2
    )
    assert page.shape == (12, 16, 3)
    assert (page[:4, :6] == 0).all()
    assert (page[3, 10:] == 255).all()
    assert (page[8:12, 10:] == 255).all()
