"""One self-contained HTML page about a network: a drawing of its graph beside a table of its layers.

The page needs no script and no network connection, and follows light, dark, phone and print.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from striate.inspection.layers import CallDescription, LayerDescription, NetworkDescription
from striate.printable import printable
from striate.reports.graph_layout import BOX_WIDTH, IMAGE, lay_out
from striate.reports.page import page_environment, write_page
from striate.units import short_count, short_size
from striate.version import __version__

_COSTS: dict[str, str] = {"macs": "MACs", "params": "parameters", "outputs": "memory of outputs"}
"""Quantities that the height of a box can show, the first at first."""
_NAME_CHARS, _NAME_CHARS_ALONE = 17, 25
"""Number of characters that fit into a box, with and without a figure after it."""
_TALL = 32
"""Pixels from which a box has room for a second line."""


@dataclass(frozen=True)
class _Box:
    """One box of the drawing: where it stands, what is written in and behind it, and the row of the table it leads
    to.
    """

    x: float
    y: float
    height: float
    group: str
    number: int
    label: str
    detail: str
    figure: str
    title: str
    row: int | None


@dataclass(frozen=True)
class _Drawing:
    """The graph with heights by one cost."""

    key: str
    name: str
    width: float
    height: float
    boxes: tuple[_Box, ...]
    paths: tuple[str, ...]


def write_network_page(description: NetworkDescription, path: str | Path, *, name: str | None = None) -> Path:
    """Write the page to `path`, replacing what is there, and give the path. Raises InputError where it cannot be
    written.

    `name` heads the page; the class of the network does without.
    """
    return write_page(path, network_page(description, name=name))


def network_page(description: NetworkDescription, *, name: str | None = None) -> str:
    """The page as text."""
    filters: dict[str, Callable[..., Any]] = {
        "px": _px,
        "count": "{:,}".format,
        "size": short_size,
        "breakable": _breakable,
    }
    environment = page_environment(filters, keep_newlines=True)
    return environment.get_template("network.html.jinja").render(
        name=name or description.kind,
        description=description,
        drawings=[_draw(description, key) for key in _COSTS],
        rows=[_row(layer, description) for layer in description.layers],
        box_width=BOX_WIDTH,
        tall=_TALL,
        version=__version__,
    )


def _draw(description: NetworkDescription, key: str) -> _Drawing:
    layers = {layer.name: layer for layer in description.layers}
    seen: set[str] = set()
    costs = []
    for call in description.calls:
        layer = layers[call.layer]
        first = layer.num_params if call.layer not in seen else 0
        seen.add(call.layer)
        costs.append({"macs": call.macs, "params": first, "outputs": call.activation_bytes}[key])
    layout = lay_out([call.inputs for call in description.calls], costs)
    numbers = {layer.name: number for number, layer in enumerate(description.layers)}
    show: Callable[[int], str] = short_size if key == "outputs" else short_count
    boxes = []
    for place, cost in enumerate(costs):
        call, box = description.calls[place], layout.boxes[place]
        layer = layers[call.layer]
        figure = show(cost) if cost else ""
        boxes.append(
            _Box(
                x=box.x,
                y=box.y,
                height=box.height,
                group=_group(layer.kind),
                number=place + 1,
                label=_shortened(call.layer, _NAME_CHARS if figure else _NAME_CHARS_ALONE),
                detail=f"{layer.kind} {_by(call.output_shape)}" if box.height >= _TALL else "",
                figure=figure,
                title=_title(call, layer),
                row=numbers[call.layer],
            )
        )
    image = layout.boxes[IMAGE]
    head = _Box(image.x, image.y, image.height, "image", 0, f"image {_by(description.input_size)}", "", "", "", None)
    return _Drawing(key, _COSTS[key], layout.width, layout.height, (head, *boxes), layout.paths)


def _title(call: CallDescription, layer: LayerDescription) -> str:
    """The tooltip of a box."""
    lines = [
        f"{call.layer} · {layer.kind}",
        f"output {_by(call.output_shape) or 'one number'}",
        f"{layer.num_params:,} parameters, {call.macs:,} MACs, {short_size(call.activation_bytes)}",
    ]
    if layer.receptive_field is not None:
        lines.append(f"sees {_by(layer.receptive_field.size)} pixels")
    return "\n".join(lines)


def _row(layer: LayerDescription, description: NetworkDescription) -> dict[str, Any]:
    """A layer as the table shows it."""
    field = layer.receptive_field
    size = stride = ""
    if field is not None and field.size != (0, 0):
        is_all = field.stride == (0, 0) and field.size == description.input_size[1:]
        size = "all" if is_all else _by(field.size)
        stride = "" if is_all else " × ".join("–" if s is None else f"{s:.3g}" for s in dict.fromkeys(field.stride))
    elif layer.num_calls:
        size = "none" if field is not None else "?"
    return {
        "layer": layer,
        "group": _group(layer.kind),
        "output": _by(layer.output_shape),
        "field": size,
        "stride": stride,
    }


_GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("pool", ("pool", "mean", "amax", "upsample", "resize")),
    ("norm", ("norm", "dropout", "droppath", "drop", "stochasticdepth")),
    ("conv", ("conv",)),
    ("linear", ("linear", "addmm", "baddbmm", "bmm", "mm", "attention", "embedding")),
    ("join", ("add", "cat", "mul", "stack", "sub", "div")),
    ("activation", (
        "relu", "gelu", "silu", "elu", "selu", "celu", "mish", "swish", "sigmoid", "tanh", "softmax", "softplus", "glu",
        "hardtanh",
    )),
)  # fmt: skip
"""Colour of a kind of layer, by a part of its name; the first that fits."""


def _group(kind: str) -> str:
    name = kind.lower()
    return next((group for group, parts in _GROUPS if any(part in name for part in parts)), "other")


def _px(number: float) -> str:
    """A length to a tenth of a pixel."""
    return f"{number:.1f}".removesuffix(".0")


def _breakable(name: str) -> Markup:
    """A dotted name that a narrow column may break between its parts."""
    return Markup("<wbr>").join(re.findall(r"[^.:]*[.:]?", printable(name))[:-1])


def _by(sizes: tuple[int, ...]) -> str:
    """Sizes as people write them: 64 × 56 × 56; one number where all two agree."""
    return " × ".join(map(str, sizes[:1] if len(sizes) == 2 and sizes[0] == sizes[1] else sizes))


def _shortened(name: str, length: int) -> str:
    """The end of a name, which tells more than its beginning: its last parts if they fit."""
    if len(name) <= length:
        return name
    end = name[-(length - 1) :]
    return "…" + (end[end.index(".") + 1 :] if "." in end[:-1] and name[-length] != "." else end)
