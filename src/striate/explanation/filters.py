"""What the filters of a convolution look like, as tiles."""

import numpy as np
import torch
from torch import nn

from striate.errors import InputError

MOST_TILES = 256


def first_convolution(network: nn.Module) -> str:
    """The name of the first convolution with more than one weight a channel, in the order of modules. InputError where
    there is none.
    """
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d) and name:
            return name
    raise InputError(f"{type(network).__name__} has no convolution, so it has no filters to show")


def filter_tiles(network: nn.Module, layer: str | None = None) -> np.ndarray:
    """The filters of a convolution as pictures, (n, kh, kw, 3) uint8: by default the first one's.

    Filters over three channels are colour tiles, each scaled to its own range with 0 in the middle (RGB where the
    network takes RGB). Others are grey, a tile for each pair of an output and an input channel, scaled to the layer's
    range, at most 256 of them. Raises InputError for a layer that is no convolution.
    """
    layer = layer or first_convolution(network)
    try:
        module = network.get_submodule(layer)
    except AttributeError:
        module = None
    if not isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        raise InputError(f"{layer} is no convolution of {type(network).__name__}; see striate describe")
    weight = module.weight.detach().float().cpu()  # (out, in / groups, kh, kw)
    if not weight.isfinite().all():
        raise InputError(f"{layer} has weights that are NaN or infinite")
    if weight.shape[1] == 3:
        scale = weight.abs().amax(dim=(1, 2, 3), keepdim=True).clamp(min=1e-12)
        tiles = (weight / scale).permute(0, 2, 3, 1)
    else:
        flat = weight.flatten(0, 1)[:MOST_TILES]
        tiles = (flat / flat.abs().max().clamp(min=1e-12))[..., None].expand(-1, -1, -1, 3)
    return torch.round(127.5 + 127.5 * tiles[:MOST_TILES]).to(torch.uint8).numpy()


def channel_tiles(maps: np.ndarray) -> np.ndarray:
    """Activation maps (C, h, w) as grey tiles (C', h, w, 3) uint8, each scaled to its own range, at most 256 of
    them.
    """
    maps = maps[:MOST_TILES]
    low, high = maps.min(axis=(1, 2), keepdims=True), maps.max(axis=(1, 2), keepdims=True)
    scaled = 255 * (maps - low) / np.maximum(high - low, 1e-12)
    return np.round(scaled).astype(np.uint8)[..., None].repeat(3, axis=3)


def tile_picture(tiles: np.ndarray, *, columns: int | None = None, tile_px: int = 40, gap_px: int = 2) -> np.ndarray:
    """Tiles (n, h, w, 3) uint8 on one picture (H, W, 3), pixels repeated until a tile has about `tile_px`, on white."""
    num_tiles, height, width = tiles.shape[:3]
    factor = max(1, round(tile_px / max(height, width)))
    tiles = tiles.repeat(factor, axis=1).repeat(factor, axis=2)
    height, width = tiles.shape[1:3]
    columns = columns or max(1, int(np.ceil(num_tiles**0.5 * 1.3)))
    rows = -(-num_tiles // columns)
    picture = np.full((rows * (height + gap_px) + gap_px, columns * (width + gap_px) + gap_px, 3), 255, np.uint8)
    for place, tile in enumerate(tiles):
        top, left = gap_px + place // columns * (height + gap_px), gap_px + place % columns * (width + gap_px)
        picture[top : top + height, left : left + width] = tile
    return picture
