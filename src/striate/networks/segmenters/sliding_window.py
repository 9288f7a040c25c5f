"""A classifier of small windows slid over the image: each pixel gets the class of the window about it (Ciresan, Giusti,
Gambardella & Schmidhuber 2012, "Deep Neural Networks Segment Neuronal Membranes in Electron Microscopy Images", NIPS
25), all windows computed at once.

N images, C channels, H x W pixels, F window size, K classes. Nothing inside is padded, so that a window's logits depend
on its F x F pixels alone. Computing them for every pixel at once is the same arithmetic: behind a pooling of stride s
everything is dilated by s, instead of leaving pixels out (fragments in their paper; "a trous" elsewhere).
`window_logits` is the classifier on one window, and a test holds both equal. Departures: batch norm, rectifiers in
place of tanh, three stages of 3x3 and 32 to 64 maps, so that a processor can train it.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from striate.errors import InputError
from striate.networks.checking import check_counts, check_images
from striate.networks.entry import Entry
from striate.networks.segmenters.unet import KIND


@dataclass(frozen=True)
class SlidingWindowConfig:
    """Channels in, classes out, maps of each stage (a 3x3 convolution and a 2x2 pooling), and of the layer that was
    linear.
    """

    in_channels: int = 1
    num_classes: int = 2
    widths: tuple[int, ...] = (32, 48, 64)
    hidden_width: int = 128

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)
        if not 1 <= len(self.widths) <= 5 or not all(1 <= width <= 1024 for width in (*self.widths, self.hidden_width)):
            raise InputError(f"widths must be 1 to 5 numbers up to 1024 but are {self.widths} and {self.hidden_width}")

    @property
    def window(self) -> int:
        """F: what one place of the last map sees."""
        size = 3
        for _ in self.widths:
            size = 2 * size + 2
        return size


class SlidingWindow(nn.Module):
    """Images (N, C, H, W) -> logits (N, K, H, W), beyond the border of which the image is mirrored."""

    def __init__(self, config: SlidingWindowConfig) -> None:
        super().__init__()
        self.config = config
        ins = (config.in_channels, *config.widths[:-1])
        self.convs = nn.ModuleList(nn.Conv2d(i, o, 3, bias=False) for i, o in zip(ins, config.widths, strict=True))
        self.norms = nn.ModuleList(map(nn.BatchNorm2d, config.widths))
        self.hidden = nn.Conv2d(config.widths[-1], config.hidden_width, 3)
        self.classify = nn.Conv2d(config.hidden_width, config.num_classes, 1)
        for layer in (*self.convs, self.hidden):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """All windows at once, by dilation."""
        before = self.config.window // 2
        after = self.config.window - 1 - before
        check_images(images, self.config.in_channels, (before + 1,) * 2, network="sliding_window")
        maps, spread = F.pad(images, (before, after, before, after), mode="reflect"), 1
        for conv, norm in zip(self.convs, self.norms, strict=True):
            maps = F.relu(norm(F.conv2d(maps, conv.weight, dilation=spread)))  # type: ignore[arg-type]
            maps = F.max_pool2d(maps, 2, stride=1, dilation=spread)
            spread *= 2
        hidden = F.relu(F.conv2d(maps, self.hidden.weight, self.hidden.bias, dilation=spread))
        logits: Tensor = self.classify(hidden)
        return logits

    def window_logits(self, windows: Tensor) -> Tensor:
        """The classifier itself: windows (n, C, F, F) -> logits (n, K), with pooling that leaves pixels out."""
        maps = windows
        for conv, norm in zip(self.convs, self.norms, strict=True):
            maps = F.max_pool2d(F.relu(norm(conv(maps))), 2)
        return torch.flatten(self.classify(F.relu(self.hidden(maps))), 1)


ENTRIES = (
    Entry(
        name="sliding_window",
        family="sliding_window",
        year=2012,
        title="Deep Neural Networks Segment Neuronal Membranes in Electron Microscopy Images",
        paper="NIPS 25",
        build=SlidingWindow,
        config=SlidingWindowConfig(),
        input_size=(1, 256, 256),
        num_params=116_162,
        macs=8_109_865_504,
        stem="convs.0",
        head="classify",
        min_size=(32, 32),
        kind=KIND,
    ),
)
