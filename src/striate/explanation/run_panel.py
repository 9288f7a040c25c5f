"""What a run's report shows of the inside of its network: what it looked at, first filters, dead units, a check of the
maps.

Everything lies in the run folder: `inside.json`, and pictures in `inside/`.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from striate.data.cache import write_in_run
from striate.data.packed import PreparedImages
from striate.data.preprocessing import Preprocessing, crop_center
from striate.errors import RunError, StriateError
from striate.explanation.activations import activations, rectified_layers
from striate.explanation.filters import filter_tiles, first_convolution, tile_picture
from striate.explanation.layers import default_layer
from striate.explanation.methods import Method, find_methods
from striate.explanation.pictures import overlay
from striate.explanation.sanity import check_sanity
from striate.explanation.scores import logits_of
from striate.explanation.unit_statistics import UnitCounter
from striate.explanation.writing import to_png
from striate.inspection.layers import describe_network
from striate.networks.restore import evaluating

INSIDE_FILE, INSIDE_FOLDER = "inside.json", "inside"
_MOST_SHOWN, _MOST_CHECKED, _SAMPLE, _BATCH = 8, 4, 128, 32
_LARGEST_FILTERS, _FEWEST_PLACES = 96, 16


def write_inside(
    run_dir: Path,
    network: nn.Module,
    preprocessing: Preprocessing,
    packed: PreparedImages,
    indices: np.ndarray,
    labels: np.ndarray,
    class_names: Sequence[str],
    mistakes: Sequence[int],
    name_of: Callable[[int], str],
) -> dict[str, Any]:
    """Write and give the panel: for `mistakes` (places in the data set, worst first), and typical answers among up to
    128 images of `indices`, those that cannot be read left out.

    `labels` (N,) are those of all images, as outputs of the network. What cannot be shown for this network is left out,
    with a notice in its place; the run never fails for it. RunError where the folder cannot be written.
    """
    shutil.rmtree(run_dir / INSIDE_FOLDER, ignore_errors=True)
    indices = indices[~np.isin(indices, list(packed.broken))]
    sample = indices[np.linspace(0, len(indices) - 1, min(_SAMPLE, len(indices))).astype(int)]
    seen = _Seen(network, preprocessing, packed, labels, class_names, name_of, run_dir / INSIDE_FOLDER)
    panel: dict[str, Any] = {"notices": []}
    parts: dict[str, Callable[[], Any]] = {
        "looked_at": lambda: _looked_at(seen, list(mistakes)[:_MOST_SHOWN], sample),
        "filters": lambda: _filters(seen),
        "units": lambda: _units(seen, sample),
        "sanity": lambda: _sanity(seen, sample),
    }
    for name, make in parts.items():
        try:
            panel[name] = make()
        except (StriateError, RuntimeError) as error:
            if isinstance(error, RunError):  # the disk, and no fault of the network
                raise
            panel["notices"].append(f"{name.replace('_', ' ')}: {(str(error).splitlines() or ['?'])[0]}")
    write_in_run(run_dir / INSIDE_FILE, json.dumps(panel, ensure_ascii=False, indent=1).encode("utf-8", "replace"))
    return panel


class _Seen:
    """The network with its images, and where pictures go."""

    def __init__(
        self,
        network: nn.Module,
        preprocessing: Preprocessing,
        packed: PreparedImages,
        labels: np.ndarray,
        class_names: Sequence[str],
        name_of: Callable[[int], str],
        folder: Path,
    ) -> None:
        self.network, self.preprocessing, self.packed, self.labels = network, preprocessing, packed, labels
        self.class_names, self.name_of, self.folder = class_names, name_of, folder
        param = next(network.parameters(), None)
        self.device = torch.device("cpu") if param is None else param.device

    def pixels(self, index: int) -> np.ndarray:
        return crop_center(self.packed.image(int(index)), self.preprocessing.crop_size)

    def inputs(self, indices: Sequence[int] | np.ndarray) -> Tensor:
        stacked = torch.from_numpy(np.stack([self.pixels(index) for index in indices]))
        return self.preprocessing.normalize(stacked.permute(0, 3, 1, 2).to(self.device))

    def write(self, name: str, picture: np.ndarray) -> str:
        write_in_run(self.folder / name, to_png(Image.fromarray(picture)))
        return f"{INSIDE_FOLDER}/{name}"


def _method(seen: _Seen, inputs: Tensor) -> tuple[Method, str | None]:
    """Grad-CAM at the last spatial features, or saliency for a network without any, or with fewer than 4 x 4 places
    there.
    """
    try:
        layer = default_layer(seen.network, inputs)
        height, width = activations(seen.network, inputs[:1], [layer])[layer].shape[2:]
    except StriateError:
        height = width = 0
    if height * width < _FEWEST_PLACES:
        return find_methods(["saliency"])[0], None
    return find_methods(["grad_cam"])[0], layer


def _looked_at(seen: _Seen, mistakes: list[int], sample: np.ndarray) -> dict[str, Any]:
    """Maps of the worst mistakes, for the class answered and the right one, and of typical answers."""
    typical = _typical(seen, sample)
    inputs = seen.inputs([*mistakes, *typical])
    method, layer = _method(seen, inputs)
    with evaluating(seen.network), torch.no_grad():
        answered = logits_of(seen.network(inputs)).argmax(dim=1).cpu()
    right = torch.from_numpy(seen.labels[[*mistakes, *typical]].astype(np.int64))
    maps = {
        kind: _maps(method, seen.network, inputs, chosen, layer)
        for kind, chosen in (("answered", answered), ("right", right))
    }
    shown = []
    for place, index in enumerate([*mistakes, *typical]):
        is_mistake = place < len(mistakes)
        entry = {
            "name": seen.name_of(int(index)),
            "label": seen.class_names[int(right[place])],
            "predicted": seen.class_names[int(answered[place])],
            "is_mistake": is_mistake,
        }
        for kind in ("answered", "right") if is_mistake else ("answered",):
            entry[kind] = seen.write(f"{kind}-{place}.png", overlay(seen.pixels(index), maps[kind][place]))
        shown.append(entry)
    return {"method": method.name, "layer": layer, "images": shown}


def _typical(seen: _Seen, sample: np.ndarray) -> list[int]:
    """Of each of up to eight classes the correct answer of median certainty."""
    found: dict[int, list[tuple[float, int]]] = {}
    for start in range(0, len(sample), _BATCH):
        some = sample[start : start + _BATCH]
        with evaluating(seen.network), torch.no_grad():
            probabilities = logits_of(seen.network(seen.inputs(some))).float().softmax(dim=1).cpu()
        certainty, answered = probabilities.max(dim=1)
        for index, sure, label in zip(some.tolist(), certainty.tolist(), answered.tolist(), strict=True):
            if label == seen.labels[index]:
                found.setdefault(label, []).append((sure, index))
    classes = sorted(found, key=lambda label: (-len(found[label]), label))[:_MOST_SHOWN]
    return [sorted(found[label])[len(found[label]) // 2][1] for label in sorted(classes)]


def _maps(method: Method, network: nn.Module, inputs: Tensor, classes: Tensor, layer: str | None) -> list[np.ndarray]:
    options: dict[str, Any] = {"layer": layer} if method.takes_layer else {}
    return [method.to_plane(each) for each in method.run(network, inputs, classes=classes, **options).cpu().numpy()]


def _filters(seen: _Seen) -> dict[str, Any] | None:
    """The first convolution's filters; None where a filter is a single pixel."""
    layer = first_convolution(seen.network)
    tiles = filter_tiles(seen.network, layer)[:_LARGEST_FILTERS]
    if min(tiles.shape[1:3]) < 2:
        return None
    if seen.preprocessing.channel_order == "BGR":
        tiles = tiles[..., ::-1]
    return {"layer": layer, "picture": seen.write("filters.png", tile_picture(tiles, tile_px=36))}


def _units(seen: _Seen, sample: np.ndarray) -> dict[str, Any]:
    """Units and dead ones of every rectifying layer."""
    size = (seen.preprocessing.channels, *seen.preprocessing.crop_size)
    layers = rectified_layers(describe_network(seen.network, size, measure_memory=False))
    counters = [UnitCounter(layer) for layer in layers]
    for start in range(0, len(sample), _BATCH):
        found = activations(seen.network, seen.inputs(sample[start : start + _BATCH]), layers)
        for counter in counters:
            counter.add(found[counter.layer])
    rows = [counter.result() for counter in counters]
    return {
        "num_images": len(sample),
        "layers": [{"layer": row.layer, "num_units": len(row.mean), "num_dead": len(row.dead)} for row in rows],
    }


def _sanity(seen: _Seen, sample: np.ndarray) -> list[dict[str, Any]]:
    """The sanity check of the methods that the report uses or names."""
    some = sample[np.linspace(0, len(sample) - 1, min(_MOST_CHECKED, len(sample))).astype(int)]
    inputs = seen.inputs(some)
    method, layer = _method(seen, inputs)
    methods = list(dict.fromkeys([method, find_methods(["saliency"])[0]]))
    classes = torch.from_numpy(seen.labels[some].astype(np.int64))
    checks = check_sanity(seen.network, inputs, classes, methods, layer=layer, num_stages=3)
    return [_without_nan(check.to_json()) for check in checks]


def _without_nan(entry: dict[str, Any]) -> dict[str, Any]:
    for stage in entry["stages"]:
        if stage["rank_correlation"] != stage["rank_correlation"]:
            stage["rank_correlation"] = None
    return entry
