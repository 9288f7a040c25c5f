"""The network that paints in one pass: any size, a file that is checked, training that can be killed."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from striate.errors import InputError, ModelFileError
from striate.synthesis.pictures import write_png
from striate.synthesis.style_layers import StyleLayers
from striate.synthesis.style_network import StyleNetwork, StyleNetworkConfig, load_style, paint, save_style
from striate.synthesis.train_style import TrainStyleConfig, read_photos, train_style
from striate.synthesis.watching import Watch
from synthesis_cases import assert_same_state, state_of

TINY = StyleNetworkConfig(widths=(3, 4, 5), num_blocks=1)
LAYERS = StyleLayers(("conv1", "conv2"), ("conv2",))


def photos() -> torch.Tensor:
    return torch.randint(0, 256, (6, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def config(num_steps: int = 12) -> TrainStyleConfig:
    return TrainStyleConfig(network=TINY, num_steps=num_steps, batch_size=2, crop_px=32, learning_rate=0.02)


@pytest.mark.parametrize("size", [(16, 16), (17, 30), (33, 18)])
def test_any_size_in_and_out(size):
    network = StyleNetwork(TINY)
    painted = paint(network, np.zeros((*size, 3), np.uint8))
    assert painted.shape == (*size, 3)
    assert painted.dtype == np.uint8
    assert network.training


def test_the_papers_widths_have_its_parameters():
    network = StyleNetwork(StyleNetworkConfig(widths=(32, 64, 128)))
    # by hand: convolutions 9x9x3x32, 3x3x32x64, 3x3x64x128, ten of 3x3x128x128, 3x3x128x64, 3x3x64x32, 9x9x32x3, and
    # biases; instance norms two numbers a channel
    weights = 81 * 96 + 9 * 32 * 64 + 9 * 64 * 128 + 10 * 9 * 128**2 + 9 * 128 * 64 + 9 * 64 * 32 + 81 * 96
    channels = 32 + 64 + 128 + 10 * 128 + 64 + 32
    assert sum(each.numel() for each in network.parameters()) == weights + 3 * channels + 3


def test_the_file_gives_the_network_back(tmp_path):
    network = StyleNetwork(TINY)
    save_style(network, tmp_path / "style.safetensors", about={"style": "test"})
    again = load_style(tmp_path / "style.safetensors")
    assert again.config == TINY
    images = torch.rand(1, 3, 20, 24)
    assert torch.equal(again(images), network(images))


def test_foreign_and_damaged_files_are_refused(tmp_path):
    network = StyleNetwork(TINY)
    state = network.state_dict()

    def refused(tensors, metadata, message):
        save_file(tensors, tmp_path / "bad.safetensors", metadata)
        with pytest.raises(ModelFileError, match=message):
            load_style(tmp_path / "bad.safetensors")

    good = {"version": 1, "config": {"widths": [3, 4, 5], "num_blocks": 1}, "about": {}}
    refused(state, None, "not a style network")
    refused(state, {"striate_style": "{"}, "makes no sense")
    refused(state, {"striate_style": "[]"}, "makes no sense")
    refused(state, {"striate_style": json.dumps({**good, "version": 9})}, "does not know")
    huge = {**good, "config": {"widths": [3, 4, 10**9], "num_blocks": 1}}
    refused(state, {"striate_style": json.dumps(huge)}, "three widths of 1 to 512")
    refused(state, {"striate_style": json.dumps({**good, "config": {"widths": [3, 4, 6], "num_blocks": 1}})}, "shape")
    refused({"a": torch.zeros(1)}, {"striate_style": json.dumps(good)}, "lacks or adds tensors")
    half = {name: value.half() for name, value in state.items()}
    refused(half, {"striate_style": json.dumps(good)}, "another shape or type")
    (tmp_path / "bad.safetensors").write_bytes(b"no such thing")
    with pytest.raises(ModelFileError, match="not a safetensors file"):
        load_style(tmp_path / "bad.safetensors")
    with pytest.raises(ModelFileError, match="cannot be read"):
        load_style(tmp_path / "none.safetensors")


def test_training_lowers_the_loss_and_leaves_the_network_alone(small):
    before = state_of(small)
    style = np.random.default_rng(0).integers(0, 256, (40, 32, 3), dtype=np.uint8)
    result = train_style(small, style, photos(), config(40), layers=LAYERS)
    assert np.mean(result.losses[-5:]) < 0.7 * np.mean(result.losses[:5])
    assert_same_state(before, state_of(small))


def test_training_that_was_killed_gives_the_same_network(small, tmp_path):
    style = np.random.default_rng(0).integers(0, 256, (40, 32, 3), dtype=np.uint8)
    whole = train_style(small, style, photos(), config(), layers=LAYERS)
    seen = []
    watch = Watch(lambda step, *_: seen.append(step), lambda: len(seen) == 5)
    kept = tmp_path / "style.checkpoint"
    first = train_style(small, style, photos(), config(), layers=LAYERS, checkpoint=kept, watch=watch)
    assert first.was_stopped
    lines = []
    rest = train_style(small, style, photos(), config(), layers=LAYERS, checkpoint=kept, log=lines.append)
    assert lines == ["resuming after 5 of 12 steps"]
    assert (*first.losses, *rest.losses) == whole.losses
    for name, value in whole.network.state_dict().items():
        assert torch.equal(rest.network.state_dict()[name], value), name
    with pytest.raises(InputError, match="other settings"):
        train_style(small, style, photos(), config(13), layers=LAYERS, checkpoint=kept)
    kept.write_bytes(b"damaged")
    with pytest.raises(ModelFileError, match="not a checkpoint of a style"):
        train_style(small, style, photos(), config(), layers=LAYERS, checkpoint=kept)


def test_photos_are_cut_to_squares_and_broken_ones_named(tmp_path):
    write_png(tmp_path / "in" / "wide.png", np.full((40, 90, 3), 7, np.uint8))
    (tmp_path / "in" / "broken.png").write_bytes(b"broken")
    lines = []
    found = read_photos(tmp_path / "in", 32, log=lines.append)
    assert found.shape == (1, 3, 32, 32)
    assert (found == 7).all()
    assert len(lines) == 1
    assert "broken.png" in lines[0]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no photo"):
        read_photos(tmp_path / "empty", 32)
    with pytest.raises(InputError, match="not a folder"):
        read_photos(tmp_path / "none", 32)


def test_wrong_requests_are_named():
    with pytest.raises(InputError, match="at least 16x16 pixels but got 8x40"):
        StyleNetwork(TINY)(torch.zeros(1, 3, 8, 40))
    with pytest.raises(InputError, match="three widths"):
        StyleNetworkConfig(widths=(1, 2))
    with pytest.raises(InputError, match="crops of at least 32"):
        TrainStyleConfig(crop_px=8)
