"""Every segmenter: a logit for each class and pixel, gradients to each weight, sizes that halve unevenly, counts,
saving and loading.
"""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from striate.data.preprocessing import Preprocessing
from striate.errors import InputError
from striate.networks.auxiliary import WithAuxiliary
from striate.networks.catalogue import build_entry, build_network, entry_for
from striate.networks.families.squeezenet import SqueezeNetConfig
from striate.networks.pyramid import maps_of
from striate.networks.segmenters.catalogue import SEGMENTERS
from striate.networks.segmenters.segnet import unpooled
from striate.networks.segmenters.sliding_window import SlidingWindow, SlidingWindowConfig
from striate.networks.segmenters.unet import UnetConfig, pad_all
from striate.tasks.model import Model, load_model, save_model
from striate.tasks.segmentation.task import Segmentation

ON_BASES = ["unet:squeezenet1_0", "unet:resnet18"]
LIGHT = ["unet_small", "segnet_basic", "enet", "full_resolution", "sliding_window", *ON_BASES]


@pytest.mark.parametrize("name", SEGMENTERS)
def test_counts_and_shapes(name):
    entry = SEGMENTERS[name]
    network = build_entry(entry, device="meta").eval().requires_grad_(False)
    channels, height, width = entry.input_size
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        logits = network(torch.empty(1, channels, height, width, device="meta"))
    assert logits.shape == (1, entry.config.num_classes, height, width)
    assert counter.get_total_flops() // 2 == entry.macs
    counted = sum(param.numel() for param in network.parameters())
    assert counted - entry.num_auxiliary_params == entry.num_params
    assert entry.kind == "segmenter"
    assert isinstance(network.get_submodule(entry.stem), torch.nn.Module)
    head = network.get_submodule(entry.head)
    assert entry.config.num_classes in head.weight.shape[:2]


@pytest.mark.parametrize("name", LIGHT)
def test_any_size_any_channels_and_gradients_everywhere(name):
    network = build_network(name, num_classes=4, in_channels=2, seed=0).train()
    logits = network(torch.rand(2, 2, 70, 67))
    assert logits.shape == (2, 4, 70, 67)
    torch.nn.functional.cross_entropy(logits, torch.randint(0, 4, (2, 70, 67))).backward()
    assert [key for key, param in network.named_parameters() if param.grad is None or not param.grad.any()] == []


@pytest.mark.parametrize("name", ["fcn8s", "segnet", "unet", "fcn_resnet50", "deeplabv3_resnet50"])
def test_the_large_ones_take_odd_sizes_too(name):
    network = build_network(name, num_classes=3, in_channels=1, device="meta").train()
    outputs = network(torch.empty(2, 1, 75, 101, device="meta"))
    logits = outputs.logits if isinstance(outputs, WithAuxiliary) else outputs
    assert logits.shape == (2, 3, 75, 101)


def test_published_counts():
    """U-Net: by hand from figure 1 (1 channel, 2 classes). SegNet: 29.45 M, SegNet-Basic 1.425 M, as arXiv:1511.00561's
    Tables 3 and 6 print them (bias and norm parameters are counted differently); ENet: 0.37 M, arXiv:1606.02147, Table
    2.
    """
    pairs = [(1, 64), (64, 128), (128, 256), (256, 512), (512, 1024)]
    down = sum(9 * i * o + o + 9 * o * o + o for i, o in pairs)
    up = sum(4 * 2 * w * w + w + 9 * 2 * w * w + w + 9 * w * w + w for w in (64, 128, 256, 512))
    assert entry_for("unet").num_params == down + up + 64 * 2 + 2
    assert entry_for("segnet").num_params == pytest.approx(29.45e6, rel=1e-3)
    assert entry_for("segnet_basic").num_params == pytest.approx(1.425e6, rel=1e-2)
    assert entry_for("enet").num_params == pytest.approx(0.37e6, rel=0.03)


@pytest.mark.parametrize("widths", [(5,), (4, 6), (3, 4, 5)])
def test_the_sliding_window_is_its_classifier_on_every_window(widths):
    network = SlidingWindow(SlidingWindowConfig(in_channels=2, num_classes=3, widths=widths, hidden_width=7)).eval()
    for norm in network.norms:
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    size = network.config.window
    before, after = size // 2, size - 1 - size // 2
    images = torch.randn(1, 2, before + 9, before + 7)
    padded = torch.nn.functional.pad(images, (before, after, before, after), mode="reflect")
    windows = padded.unfold(2, size, 1).unfold(3, size, 1)[0].permute(1, 2, 0, 3, 4).flatten(0, 1)
    with torch.no_grad():
        at_once = network(images)[0].flatten(1).T
        one_by_one = network.window_logits(windows)
    assert torch.allclose(at_once, one_by_one, atol=1e-5)


def test_unpooling_puts_maxima_where_they_were():
    maps = torch.tensor([[[[1.0, 5.0, 2.0], [3.0, 4.0, 9.0], [7.0, 0.0, 8.0]]]])
    pooled, indices = torch.nn.functional.max_pool2d(maps, 2, ceil_mode=True, return_indices=True)
    expected = [[0, 5, 0], [0, 0, 9], [7, 0, 8]]
    assert unpooled(pooled, indices, 3, 3)[0, 0].tolist() == expected


def test_padding_a_base_keeps_its_maps_over_the_image():
    """A bright pixel is seen by the map's place above it, at every stride, also on the far side of the image."""
    network = build_network("unet:squeezenet1_0", num_classes=2, seed=0).eval()
    for place in ((20, 30), (100, 150)):
        images = torch.zeros(1, 3, 128, 192, requires_grad=True)
        for tap, maps in zip(network.taps, maps_of(network.base, images, network.taps), strict=True):
            row, column = place[0] // tap.stride, place[1] // tap.stride
            (grad,) = torch.autograd.grad(maps[0, :, row, column].sum(), images, retain_graph=True)
            seen = grad[0].abs().sum(0).nonzero().float()
            if len(seen):  # of random weights behind rectifiers some see nothing
                assert (seen.mean(0) - torch.tensor(place)).abs().max() < 2 * tap.stride + 4


def test_pad_all_leaves_what_keeps_its_size():
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 1, 3), torch.nn.Conv2d(1, 1, 1), torch.nn.Conv2d(1, 1, 5, padding=1)
    )
    pad_all(network)
    assert [module.padding for module in network] == [(1, 1), (0, 0), (1, 1)]
    assert network[0](torch.zeros(1, 1, 5, 5)).shape[2:] == (5, 5)


def test_a_model_on_a_base_is_saved_and_loaded(tmp_path):
    network = build_network("unet:squeezenet1_1", num_classes=3, seed=0).eval()
    task = Segmentation(("a", "b", "c"))
    fit = Preprocessing(3, 96, (64, 96), mean=(0.5,) * 3, std=(0.2,) * 3, resize="fit")
    config = {"in_channels": 3, "num_classes": 3}
    model = Model(
        network,
        class_names=task.class_names,
        preprocessing=fit,
        network_name="unet:squeezenet1_1",
        network_config=config,
        task=task,
    )
    save_model(model, tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors")
    pixels = torch.randint(0, 256, (1, 3, 64, 96), dtype=torch.uint8)
    assert loaded.task == task
    assert torch.equal(loaded.probabilities(pixels), model.probabilities(pixels))
    assert loaded.probabilities(pixels).shape == (1, 3, 64, 96)


def test_configurations_that_make_no_network_are_refused():
    with pytest.raises(InputError, match="width must be 1 to 512"):
        UnetConfig(width=0)
    with pytest.raises(InputError, match="is a segmenter"):
        entry_for("unet:unet_small")
    assert SqueezeNetConfig().num_classes == 1000
