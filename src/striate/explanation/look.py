"""Look inside a model over a data set: how much each unit is used, what excites it most, and how images lie in feature
space.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from striate.data.preprocessing import resample
from striate.errors import InputError
from striate.explanation.activations import activations, rectified_layers
from striate.explanation.layers import default_layer
from striate.explanation.measure import as_inputs
from striate.explanation.neighbors import pixel_features
from striate.explanation.pictures import as_rgb
from striate.explanation.pictures_of_source import Pictures
from striate.explanation.top_patches import PeakKeeper, cut_patch, field_of
from striate.explanation.unit_statistics import UnitCounter, UnitStatistics
from striate.inspection.layers import NetworkDescription, describe_network
from striate.progress import Log, Track, log_nothing, track_silently
from striate.tasks.model import Model


@dataclass(frozen=True)
class UnitPatches:
    """The patches that excite one unit most, highest first, cut through its receptive field."""

    unit: int
    values: tuple[float, ...]
    names: tuple[str, ...]
    patches: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Looked:
    """What was seen of a data set: statistics of every rectifying layer, and of `layer` the patches of some units."""

    layer: str
    statistics: tuple[UnitStatistics, ...]
    patches: tuple[UnitPatches, ...]


@dataclass(frozen=True)
class ImageFeatures:
    """Of the readable images of a source: places in it (n,), features (n, D), pixels reduced (n, P), thumbnails (n, s,
    s, 3) uint8.
    """

    indices: np.ndarray
    features: np.ndarray
    pixels: np.ndarray
    thumbnails: np.ndarray


def describe_model(model: Model) -> NetworkDescription:
    """The layers of a model's network at its own size of images."""
    size = model.preprocessing.crop_size
    return describe_network(model.network, (model.preprocessing.channels, *size), measure_memory=False)


def blank_images(model: Model) -> Tensor:
    """One image of zeros as the network takes it, (1, C, H, W)."""
    return torch.zeros(1, model.preprocessing.channels, *model.preprocessing.crop_size, device=model.device)


def look_at_units(
    model: Model,
    pictures: Pictures,
    *,
    layer: str | None = None,
    units: Sequence[int] = (),
    num_units: int = 12,
    top: int = 9,
    batch_size: int = 32,
    log: Log = log_nothing,
    track: Track = track_silently,
) -> Looked:
    """Statistics of the units of every rectifying layer, and the `top` patches of `units` of one layer, by default the
    last spatial features and the `num_units` of them whose highest value stands out most from their spread.

    Images stream through twice: once for figures and peaks, once more for the few that patches are cut from. Raises
    InputError for a layer without a known receptive field, units that there are not, and where no image can be read.

    `pictures` are what `open_pictures` gives; `layer` is a name that `describe` prints.
    """
    if top < 1 or num_units < 1 or batch_size < 1:
        raise InputError(
            f"top, num_units and batch_size must be at least 1 but are {top}, {num_units} and {batch_size}"
        )
    description = describe_model(model)
    layer = layer or default_layer(model.network, blank_images(model))
    field = field_of(description, layer)
    counters = {name: UnitCounter(name) for name in dict.fromkeys([*rectified_layers(description), layer])}
    keeper, order = PeakKeeper(top), []
    batches = pictures.batches(model.preprocessing, batch_size, log)
    for indices, pixels in track(batches, "looking at images", -(-len(pictures) // batch_size)):
        seen = activations(model.network, as_inputs(model, list(pixels)), list(counters))
        for name, counter in counters.items():
            counter.add(seen[name])
        keeper.add(seen[layer])
        order += indices
    if not order:
        raise InputError("none of the images can be read, so there is nothing to look at")
    own = counters[layer].result()
    chosen = (
        list(units)
        or np.argsort(-(own.max - own.mean) / np.maximum(own.std, 1e-12), kind="stable")[:num_units].tolist()
    )
    patches = []
    for unit in chosen:
        peaks = keeper.peaks(unit)
        cut = [cut_patch(_pixels(pictures, order[peak.image], model), field, peak) for peak in peaks]
        names = tuple(pictures.names[order[peak.image]] for peak in peaks)
        patches.append(UnitPatches(unit, tuple(peak.value for peak in peaks), names, tuple(cut)))
    rectified = set(rectified_layers(description))
    statistics = tuple(counter.result() for name, counter in counters.items() if name in rectified)
    return Looked(layer, statistics, tuple(patches))


def image_features(
    model: Model,
    pictures: Pictures,
    *,
    layer: str | None = None,
    batch_size: int = 32,
    thumbnail_px: int = 48,
    log: Log = log_nothing,
    track: Track = track_silently,
) -> ImageFeatures:
    """The features of every readable image: the mean over places of a layer's maps, by default the last spatial
    features.
    """
    layer = layer or default_layer(model.network, blank_images(model))
    found: list[tuple[int, np.ndarray, np.ndarray, np.ndarray]] = []
    batches = pictures.batches(model.preprocessing, batch_size, log)
    for indices, pixels in track(batches, "computing features", -(-len(pictures) // batch_size)):
        features = features_of(model.network, as_inputs(model, list(pixels)), layer)
        for index, row, image in zip(indices, features, pixels, strict=True):
            found.append((index, row, pixel_features(image), _thumbnail(image, thumbnail_px)))
    if not found:
        raise InputError("none of the images can be read, so there is nothing to look at")
    return ImageFeatures(*(np.array(each) for each in zip(*found, strict=True)))


def features_of(network: nn.Module, images: Tensor, layer: str) -> np.ndarray:
    """The mean over places of a layer's maps: images (N, C, H, W) -> (N, C') float32."""
    return activations(network, images, [layer])[layer].mean(dim=(2, 3)).float().cpu().numpy()


def _pixels(pictures: Pictures, index: int, model: Model) -> np.ndarray:
    found = pictures.pixels(index, model.preprocessing)
    if not isinstance(found, tuple):
        raise InputError(f"{found.path} can no longer be read: {found.reason}")
    return found[1]


def _thumbnail(image: np.ndarray, side: int) -> np.ndarray:
    return resample(as_rgb(image), (side, side), "bilinear")
