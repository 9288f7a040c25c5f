"""Makes weights fit a network with other classes or other channels, says so, and refuses everything else.

C input channels, K classes. The first layer keeps its response: an image whose channels are all alike gives the same
outputs before and after, whatever the numbers of channels.
"""

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from striate.data.mean_image import decode_mean_image, encode_mean_image
from striate.data.preprocessing import Preprocessing
from striate.errors import ModelFileError
from striate.networks.catalogue import CATALOGUE, build_network, entry_for
from striate.networks.entry import Entry
from striate.progress import Log, log_nothing
from striate.weights.loading import load_weights
from striate.weights.model_file import MODEL_FILE, is_model_file, read_header

_NAMES_SHOWN = 3


@dataclass(frozen=True)
class Pretrained:
    """A network with its weights in place, in training mode, and what they need.

    `class_names` are None when the weights do not say or the last layer is new; `has_new_head` tells which.
    """

    network: nn.Module
    preprocessing: Preprocessing | None
    class_names: tuple[str, ...] | None
    has_new_head: bool
    description: str


def load_pretrained(
    name: str,
    spec: str | Path,
    *,
    num_classes: int | None = None,
    in_channels: int | None = None,
    seed: int | None = None,
    download: bool = True,
    log: Log = log_nothing,
) -> Pretrained:
    """The network called `name` with the weights that `spec` names, adapted to the counts given, else as they come.

    A new head is drawn as by `build_network` with the same seed. Raises as `load_weights` and `fit_weights` do.
    """
    entry = entry_for(name)
    if entry.base is not None and not _is_model_of(entry, spec):
        return _on_base(entry, entry.base, spec, num_classes, in_channels, seed, download=download, log=log)
    weights = load_weights(entry, spec, download=download, log=log)
    state: Mapping[str, Tensor] = weights.state
    preprocessing = weights.preprocessing
    counts = find_counts(entry, state) or (entry.config.in_channels, entry.config.num_classes)
    wanted_channels = counts[0] if in_channels is None else in_channels
    wanted_classes = counts[1] if num_classes is None else num_classes
    if preprocessing is not None and wanted_channels != preprocessing.channels:
        state, preprocessing = _to_rgb(entry, state, preprocessing)
        preprocessing = adapt_preprocessing(preprocessing, wanted_channels)
    network = build_network(name, num_classes=wanted_classes, in_channels=wanted_channels, seed=seed)
    network.load_state_dict(fit_weights(entry, network, state, log=log))
    has_new_head = wanted_classes != counts[1]
    return Pretrained(
        network, preprocessing, None if has_new_head else weights.class_names, has_new_head, weights.description
    )


def _is_model_of(entry: Entry, spec: str | Path) -> bool:
    """Whether weights are a model of the whole network, and not of its base."""
    path = Path(spec).expanduser()
    path = path / MODEL_FILE if path.is_dir() else path
    return path.is_file() and is_model_file(path) and read_header(path)[0].network == entry.name


def _on_base(
    entry: Entry,
    base: Entry,
    spec: str | Path,
    num_classes: int | None,
    in_channels: int | None,
    seed: int | None,
    *,
    download: bool,
    log: Log,
) -> Pretrained:
    """The network with its base's weights in place and all else new."""
    weights = load_weights(base, spec, download=download, log=log)
    state: Mapping[str, Tensor] = weights.state
    preprocessing = weights.preprocessing
    counts = find_counts(base, state)
    found = base.config.in_channels if counts is None else counts[0]
    wanted = found if in_channels is None else in_channels
    if preprocessing is not None and wanted != preprocessing.channels:
        state, preprocessing = _to_rgb(base, state, preprocessing)
        preprocessing = adapt_preprocessing(preprocessing, wanted)
    network = build_network(entry.name, num_classes=num_classes, in_channels=wanted, seed=seed)
    kept = network.get_submodule("base").state_dict()
    fitted = {name: value for name, value in state.items() if name in kept}
    for name, value in kept.items():
        if name.endswith("num_batches_tracked"):
            fitted.setdefault(name, value)
    stem = f"{base.stem}.weight"
    if found != wanted and stem in fitted:
        fitted[stem] = adapt_channels(fitted[stem], found, wanted)
        log(f"{base.name}: the {found} input channels of the first layer, {base.stem}, are made {wanted}")
    _check_match(base, kept, fitted, state)
    network.get_submodule("base").load_state_dict({name: fitted[name].to(kept[name].dtype) for name in kept})
    log(f"{entry.name}: {len(fitted)} tensors of {base.name} are taken over, the layers behind them are new")
    return Pretrained(network, preprocessing, None, True, weights.description)


def fit_weights(
    entry: Entry, network: nn.Module, state: Mapping[str, Tensor], *, log: Log = log_nothing
) -> dict[str, Tensor]:
    """The state adapted to `network`, built from `entry` with the counts wanted, for `load_state_dict(strict=True)`.

    The first layer's channels are spread or summed; a head with another number of classes is replaced by the network's
    own, freshly drawn one; each is told. Everything else must match in name and shape, but for batch norms' counters,
    which old files lack. Leaves state and network as they are. Raises ModelFileError naming what does not fit, and a
    network that would.
    """
    target = network.state_dict()
    fitted = dict(state)
    for name, value in target.items():
        if name.endswith("num_batches_tracked"):
            fitted.setdefault(name, value)
    _fit_stem(entry, target, fitted, log)
    for head in (entry.head, *entry.auxiliary_heads):
        _fit_head(entry, head, target, fitted, log)
    _check_match(entry, target, fitted, state)
    return {name: fitted[name].to(value.dtype) for name, value in target.items()}


def find_counts(entry: Entry, state: Mapping[str, Tensor]) -> tuple[int, int] | None:
    """(in_channels, num_classes) of weights for `entry`, from first and last layer; None where either is missing."""
    stem, head = state.get(f"{entry.stem}.weight"), state.get(f"{entry.head}.weight")
    if stem is None or head is None or stem.ndim < 2 or head.ndim < 2:
        return None
    pixels = 1 if stem.ndim > 2 else entry.input_size[1] * entry.input_size[2]
    in_channels, num_classes = stem.shape[1] // pixels, head.shape[0]
    is_whole = stem.shape[1] == in_channels * pixels
    return (in_channels, num_classes) if is_whole and in_channels and num_classes else None


def adapt_channels(weight: Tensor, old: int, new: int) -> Tensor:
    """A first layer's weight for `old` input channels -> the same for `new`, keeping the response to equal channels.

    The weight is (F, old, height, width), or (F, old * pixels) for a linear layer. Fewer channels: channel i of the
    new is the sum of old channels i, i + new, i + 2 * new, ...; so grey takes the sum of red, green and blue. More:
    new channel i takes old channel i modulo `old`, divided by the number of channels that take it.
    """
    by_channel = weight.reshape(weight.shape[0], old, -1)
    if new < old:
        adapted = torch.stack([by_channel[:, i::new].sum(dim=1) for i in range(new)], dim=1)
    else:
        source = torch.arange(new, device=weight.device) % old
        shares = torch.bincount(source, minlength=old)[source]
        adapted = by_channel[:, source] / shares[:, None]
    if weight.ndim == 2:
        return adapted.reshape(weight.shape[0], -1)
    return adapted.reshape(weight.shape[0], new, *weight.shape[2:])


def adapt_preprocessing(preprocessing: Preprocessing, channels: int) -> Preprocessing:
    """The same preparation for another number of channels, means and stds repeated or averaged likewise.

    The order becomes RGB where there are no longer three channels: flip the first layer's weights first if it was BGR.
    """
    old = preprocessing.channels
    if channels == old:
        return preprocessing

    def spread(values: tuple[float, ...]) -> tuple[float, ...]:
        if channels > old:
            return tuple(values[i % old] for i in range(channels))
        return tuple(sum(values[i::channels]) / len(values[i::channels]) for i in range(channels))

    mean_image = preprocessing.mean_image
    if mean_image is not None:
        pixels = decode_mean_image(mean_image, preprocessing.crop_size, old)
        spread_pixels = pixels[..., np.arange(channels) % old] if channels > old else pixels.mean(2, keepdims=True)
        mean_image = encode_mean_image(spread_pixels.round().astype(np.uint8))
    return dataclasses.replace(
        preprocessing,
        channels=channels,
        mean_image=mean_image,
        mean=spread(preprocessing.mean),
        std=spread(preprocessing.std),
        channel_order=preprocessing.channel_order if channels == 3 else "RGB",
    )


def _to_rgb(
    entry: Entry, state: Mapping[str, Tensor], preprocessing: Preprocessing
) -> tuple[Mapping[str, Tensor], Preprocessing]:
    """Weights and preparation that give the same answers with red first; untouched if they have it so already."""
    stems = [f"{stem}.weight" for stem in (entry.stem, *entry.other_stems)]
    if preprocessing.channel_order == "RGB" or not all(stem in state for stem in stems):
        return state, preprocessing
    flipped = dataclasses.replace(
        preprocessing, channel_order="RGB", mean=preprocessing.mean[::-1], std=preprocessing.std[::-1]
    )
    weights = {stem: state[stem] for stem in stems}
    turned = {stem: each.reshape(len(each), 3, -1).flip(1).reshape(each.shape) for stem, each in weights.items()}
    return {**state, **turned}, flipped


def _fit_stem(entry: Entry, target: Mapping[str, Tensor], fitted: dict[str, Tensor], log: Log) -> None:
    """Adapt the first layers' input channels where nothing else about them differs."""
    found, wanted = find_counts(entry, fitted), find_counts(entry, target)
    if found is None or wanted is None or found[0] == wanted[0]:
        return
    how = "summed into" if wanted[0] < found[0] else "spread over"
    width = fitted[f"{entry.stem}.weight"].shape[1]
    for stem in (entry.stem, *entry.other_stems):
        name = f"{stem}.weight"
        if name not in fitted or fitted[name].ndim < 2 or fitted[name].shape[1] != width:
            continue  # _check_match says what is wrong
        adapted = adapt_channels(fitted[name], found[0], wanted[0])
        if adapted.shape != target[name].shape:
            continue
        fitted[name] = adapted
        log(f"{entry.name}: the {found[0]} input channels of the first layer, {stem}, are {how} {wanted[0]}")


def _fit_head(entry: Entry, head: str, target: Mapping[str, Tensor], fitted: dict[str, Tensor], log: Log) -> None:
    """Put the network's own layer `head` in place of one with another number of classes."""
    weight = f"{head}.weight"
    if weight not in fitted or fitted[weight].shape[1:] != target[weight].shape[1:]:
        return
    old, new = fitted[weight].shape[0], target[weight].shape[0]
    if old == new:
        return
    for name in (weight, f"{head}.bias"):
        if name in target:
            fitted[name] = target[name]
    what = "the last layer" if head == entry.head else "an auxiliary head"
    log(f"{entry.name}: {what}, {head}, with {old} outputs is replaced by a new one with {new}")


def _check_match(
    entry: Entry, target: Mapping[str, Tensor], fitted: Mapping[str, Tensor], state: Mapping[str, Tensor]
) -> None:
    """Raise ModelFileError unless names and shapes are the target's, and numbers floats where its are."""
    missing = [name for name in target if name not in fitted]
    unexpected = [name for name in fitted if name not in target]
    misshapen = [
        f"{name} is {tuple(fitted[name].shape)} and should be {tuple(value.shape)}"
        for name, value in target.items()
        if name in fitted and fitted[name].shape != value.shape
    ]
    mistyped = [
        f"{name} is {fitted[name].dtype} and should be {value.dtype}"
        for name, value in target.items()
        if name in fitted and fitted[name].is_floating_point() != value.is_floating_point()
    ]
    if not (missing or unexpected or misshapen or mistyped):
        return
    parts = [
        f"{len(names)} {what} ({', '.join(names[:_NAMES_SHOWN])}{', ...' if len(names) > _NAMES_SHOWN else ''})"
        for what, names in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("of another shape", misshapen),
            ("of another type", mistyped),
        )
        if names
    ]
    others = [name for name in find_fitting_networks(state) if name != entry.name]
    advice = (
        f"they would fit {' or '.join(others)}" if others else "no other network of the catalogue has these weights"
    )
    raise ModelFileError(f"the weights do not fit {entry.name}: {'; '.join(parts)}; {advice}")


def find_fitting_networks(state: Mapping[str, Tensor]) -> list[str]:
    """The names of the catalogue's networks whose parameters have just these names and shapes, for any counts.

    The names may be the old ones of published files.
    """
    fitting = []
    for entry in CATALOGUE.values():
        renamed = {entry.rename(name): value for name, value in state.items()} if entry.rename else state
        counts = find_counts(entry, renamed)
        if counts is None or not _is_about_as_large(entry, renamed, counts):
            continue
        if _shapes(renamed) == _shapes_of(entry.name, *counts):
            fitting.append(entry.name)
    return fitting


@functools.cache
def _shapes_of(name: str, in_channels: int, num_classes: int) -> dict[str, tuple[int, ...]]:
    """Those of the catalogue's network with these counts; kept, since building a deep one takes a tenth of a second."""
    network = build_network(name, in_channels=in_channels, num_classes=num_classes, device="meta")
    return _shapes(network.state_dict())


def _shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """By name, without batch norms' counters, which old files lack."""
    return {name: tuple(value.shape) for name, value in state.items() if not name.endswith("num_batches_tracked")}


def _is_about_as_large(entry: Entry, state: Mapping[str, Tensor], counts: tuple[int, int]) -> bool:
    """Whether the weights may be those of `entry` by their number, which is quicker to tell than by building it.

    Only the first and last layer are known to grow with the counts, and buffers are no parameters, so near is enough;
    auxiliary heads, which published weights may lack, are left aside.
    """
    if entry.auxiliary_heads:
        return True
    in_channels, num_classes = counts
    stem, head = state[f"{entry.stem}.weight"].numel(), state[f"{entry.head}.weight"].numel()
    expected = entry.num_params
    expected += stem - stem // in_channels * entry.config.in_channels
    expected += head - head // num_classes * entry.config.num_classes
    found = sum(value.numel() for value in state.values())
    return abs(found - expected) <= 0.05 * found
