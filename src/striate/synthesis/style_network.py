"""A network that paints a photo in one style in one pass (Johnson, Alahi & Fei-Fei 2016, arXiv:1603.08155), and its
file.

Departures: instance norm in place of batch norm (Ulyanov et al. 2016, arXiv:1607.08022); enlarging by nearest neighbour
and a convolution in place of transposed convolutions, against checkerboards (Odena et al. 2016,
doi:10.23915/distill.00003); mirrored borders; half the paper's widths by default, a quarter of its arithmetic. N
images, H x W pixels.
"""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F

from striate.data.cache import write_atomically
from striate.errors import InputError, ModelFileError
from striate.networks.restore import evaluating
from striate.synthesis.pictures import to_images, to_pixels

_KEY = "striate_style"
_LARGEST_BYTES = 2**28


@dataclass(frozen=True)
class StyleNetworkConfig:
    """Channels at full, half and quarter size (the paper's are 32, 64, 128), and how many residual blocks."""

    widths: tuple[int, int, int] = (16, 32, 64)
    num_blocks: int = 5

    def __post_init__(self) -> None:
        are_whole = all(type(each) is int for each in (*self.widths, self.num_blocks))
        if not are_whole or len(self.widths) != 3 or not all(1 <= each <= 512 for each in self.widths):
            raise InputError(f"a style network needs three widths of 1 to 512 but has {self.widths!r}")
        if not 0 <= self.num_blocks <= 32:
            raise InputError(f"a style network needs 0 to 32 blocks but has {self.num_blocks}")


class Convolution(nn.Module):
    """A convolution over mirrored borders, then instance norm."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> None:
        super().__init__()
        self.padding = kernel_size // 2
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride)
        self.norm = nn.InstanceNorm2d(out_channels, affine=True)

    def forward(self, images: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, out, H / stride, W / stride)."""
        return self.norm(self.conv(F.pad(images, [self.padding] * 4, mode="reflect")))


class Residual(nn.Module):
    """Two 3x3 convolutions whose sum with the input goes on."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = Convolution(channels, channels, 3)
        self.second = Convolution(channels, channels, 3)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        return images + self.second(self.first(images).relu())


class StyleNetwork(nn.Module):
    """Images (N, 3, H, W) in [0, 1] -> painted images of the same shape in [0, 1], any H and W of at least 16."""

    def __init__(self, config: StyleNetworkConfig | None = None) -> None:
        super().__init__()
        self.config = config or StyleNetworkConfig()
        wide, wider, widest = self.config.widths
        self.down = nn.ModuleList(
            [Convolution(3, wide, 9), Convolution(wide, wider, 3, stride=2), Convolution(wider, widest, 3, stride=2)]
        )
        self.blocks = nn.Sequential(*[Residual(widest) for _ in range(self.config.num_blocks)])
        self.up = nn.ModuleList([Convolution(widest, wider, 3), Convolution(wider, wide, 3)])
        self.last = nn.Conv2d(wide, 3, 9)

    def forward(self, images: Tensor) -> Tensor:
        """Paint. Sizes that are no multiple of four are mirrored up to one and cut again."""
        height, width = images.shape[2:]
        if min(height, width) < 16:
            raise InputError(f"a style network needs pictures of at least 16x16 pixels but got {height}x{width}")
        features = F.pad(images - 0.5, (0, -width % 4, 0, -height % 4), mode="reflect")
        for layer in self.down:
            features = layer(features).relu_()
        features = self.blocks(features)
        for layer in self.up:
            features = layer(F.interpolate(features, scale_factor=2, mode="nearest")).relu_()
        painted = self.last(F.pad(features, [4] * 4, mode="reflect"))
        return torch.sigmoid(painted)[:, :, :height, :width]


def paint(network: StyleNetwork, pixels: np.ndarray) -> np.ndarray:
    """One picture (H, W, 3) uint8 in the network's style, the same shape."""
    device = next(network.parameters()).device
    with evaluating(network), torch.inference_mode():
        return to_pixels(network(to_images(pixels, device)))


def save_style(network: StyleNetwork, path: str | Path, *, about: dict[str, Any]) -> None:
    """Write a style network as safetensors, configuration and `about` as JSON in its header. InputError where it cannot
    be.
    """
    document = {"version": 1, "config": asdict(network.config), "about": about}
    tensors = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    try:
        write_atomically(Path(path), save(tensors, {_KEY: json.dumps(document)}))
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}; name another file with --out") from None


def load_style(path: str | Path) -> StyleNetwork:
    """The style network of a file. ModelFileError where it is none; nothing in it is executed, sizes are checked
    first.
    """
    try:
        if Path(path).stat().st_size > _LARGEST_BYTES:
            raise ModelFileError(
                f"{path} is larger than a style network can be; expected a file of striate style --train"
            )
        with safe_open(path, framework="pt") as file:
            network = StyleNetwork(_config_of((file.metadata() or {}).get(_KEY), path))
            expected = network.state_dict()
            if set(file.keys()) != set(expected):
                raise ModelFileError(f"{path} lacks or adds tensors; train the style anew")
            for name, value in expected.items():
                found = file.get_slice(name)
                if tuple(found.get_shape()) != tuple(value.shape) or found.get_dtype() != "F32":
                    raise ModelFileError(f"{path} has {name} of another shape or type; train the style anew")
            network.load_state_dict({name: file.get_tensor(name) for name in expected})
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror or error}; name a style file") from None
    except SafetensorError as error:
        raise ModelFileError(f"{path} is not a safetensors file ({str(error)[:80]}); name a style file") from None
    return network.eval()


def _config_of(text: str | None, path: str | Path) -> StyleNetworkConfig:
    if text is None:
        raise ModelFileError(f"{path} is not a style network; expected a file that striate style --train wrote")
    try:
        document = json.loads(text)
        config = document["config"]
        if document["version"] != 1 or set(config) != {field.name for field in fields(StyleNetworkConfig)}:
            raise ModelFileError(f"{path} has a style format that this version of striate does not know")
        return StyleNetworkConfig(widths=tuple(config["widths"]), num_blocks=config["num_blocks"])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ModelFileError(f"{path} has a description that makes no sense ({type(error).__name__})") from None
    except InputError as error:
        raise ModelFileError(f"{path}: {error}") from None
