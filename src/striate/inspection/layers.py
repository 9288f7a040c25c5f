"""Layers of any network, counted from what runs.

One image goes through a copy of the network that has shapes but no memory (PyTorch's meta device), so that even the
largest network costs little. Where that cannot be, since a layer looks at values, it goes through the network itself.
"""

import copy
import dataclasses
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from striate.errors import InputError, StriateError
from striate.inspection.counting import count_params
from striate.inspection.energy import energy_uj
from striate.inspection.memory import forward_peak, training_bytes
from striate.inspection.receptive_field.intervals import UnknownField
from striate.inspection.receptive_field.summary import ReceptiveField, receptive_field
from striate.inspection.receptive_field.tensor_field import TensorField
from striate.inspection.recording import IMAGE, ROOT, Recorder, Step, watching
from striate.networks.restore import evaluating, keeping_randomness, running_as_written
from striate.notebook import Shown

_SIZES = (32, 64, 96, 128, 160, 192, 224, 227, 256, 299, 331, 384, 512)
"""Sides of square images that are tried where a network has refused another size."""
_LARGEST_MASK = 4096
_FLOAT_BYTES = 4


@dataclass(frozen=True)
class LayerDescription:
    """One layer, or one call of a function between layers, and its counts for one image.

    A layer is a module that calls no other: its name is that in `named_modules`, its kind its class. A function that
    makes a new tensor outside of layers is called `module:kind`, after the module it ran in, nothing for the network
    itself; an underscore at the end of its kind says that it works in place.
    `output_shape` is that of the last call without the batch, empty if it was never called; `num_params` are those it
    is the first to use; `macs` are multiply-adds of all its `num_calls`; `activation_bytes` is the new memory that its
    outputs take, so 0 for views and for what works in place. `inputs` name the layers and functions whose outputs it
    takes, "(image)" being the image. `receptive_field` is None where it was never called or cannot be told.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    num_params: int
    macs: int
    activation_bytes: int
    num_calls: int
    inputs: tuple[str, ...]
    receptive_field: ReceptiveField | None

    @property
    def energy_uj(self) -> float:
        """An estimate for one image in 32 bits, in microjoules; see inspection/energy.py."""
        return energy_uj(self.macs, _FLOAT_BYTES * self.num_params, self.activation_bytes)


@dataclass(frozen=True)
class CallDescription:
    """One call of a layer or function; `inputs` are the places of the calls that feed it, -1 being the image."""

    layer: str
    inputs: tuple[int, ...]
    output_shape: tuple[int, ...]
    macs: int
    activation_bytes: int


@dataclass(frozen=True, repr=False)
class NetworkDescription(Shown):
    """A network at `input_size` (C, H, W): its layers in the order in which they first ran, uncalled ones last, and
    totals.

    `forward_peak_bytes` and `training_bytes` are those of inspection/memory.py for one image, None where they could not
    be measured. `calls` is the graph, in the order of execution. `notices` say in words what could not be seen.
    """

    kind: str
    input_size: tuple[int, int, int]
    num_params: int
    num_trainable_params: int
    macs: int
    activation_bytes: int
    forward_peak_bytes: int | None
    training_bytes: int | None
    layers: tuple[LayerDescription, ...]
    calls: tuple[CallDescription, ...]
    notices: tuple[str, ...]

    @property
    def energy_uj(self) -> float:
        """An estimate for one image in 32 bits, in microjoules; see inspection/energy.py."""
        return energy_uj(self.macs, _FLOAT_BYTES * self.num_params, self.activation_bytes)

    def facts(self) -> tuple[str, tuple[tuple[str, object], ...]]:
        return "striate description", (
            ("network", self.kind),
            ("input", "x".join(map(str, self.input_size))),
            ("layers", f"{len(self.layers):,}"),
            ("parameters", f"{self.num_params:,}"),
            ("MACs", f"{self.macs:,}"),
        )

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values, estimates of energy among them; tuples become lists once written."""
        document = dataclasses.asdict(self)
        for row, layer in zip(document["layers"], self.layers, strict=True):
            row["energy_uj"] = layer.energy_uj
        return {**document, "energy_uj": self.energy_uj}


def describe_network(
    network: nn.Module, input_size: tuple[int, int, int], *, measure_memory: bool = True
) -> NetworkDescription:
    """The layers, graph and totals of any module that takes images (1, C, H, W), in evaluation mode.

    The module comes back as it was: modes, hooks, gradients, weights, and torch's random streams too. Memory takes most
    of the time: without `measure_memory` both its figures are None. Raises InputError when the module cannot take such
    an image, with a size that it can take where one is found.
    """
    if len(input_size) != 3 or min(input_size) < 1:
        raise InputError(f"an input size is (channels, height, width), each at least 1, but is {tuple(input_size)}")
    network = getattr(network, "_orig_mod", network)  # what torch.compile wraps
    refuse_lazy(network)
    with keeping_randomness(network), running_as_written(network):
        recorder, trial = _recorded(network, input_size)
        for name in _with_triangular_masks(network):
            recorder.note_mask(name)
        notices = dict(recorder.notices)
        peak = _measured(forward_peak, trial, input_size, notices) if measure_memory else None
        kept = _measured(training_bytes, trial, input_size, notices) if measure_memory else None
        return _describe(network, recorder, trial, input_size, (peak, kept), notices)


def refuse_lazy(network: nn.Module) -> None:
    """Raise InputError where layers get their shapes only from the first images: each copy would get weights of its
    own.
    """
    if any(is_lazy(tensor) for tensor in (*network.parameters(), *network.buffers())):
        raise InputError(f"{type(network).__name__} has lazy layers without shapes; run one batch through it first")


def _with_triangular_masks(network: nn.Module) -> list[str]:
    """Names of modules with a buffer (..., L, L), L > 1, of zeros or False on one side of its diagonal alone, or of
    minus infinity there: the mask of causal attention, made beforehand.
    """
    found = []
    for name, buffer in network.named_buffers():
        if (
            buffer.is_meta
            or buffer.ndim < 2
            or buffer.shape[-1] != buffer.shape[-2]
            or not 1 < buffer.shape[-1] <= _LARGEST_MASK
        ):
            continue
        mask = buffer.detach() != (-torch.inf if buffer.is_floating_point() and (buffer == -torch.inf).any() else 0)
        above, below = mask.triu(1), mask.tril(-1)
        num_pairs = above.numel() // mask.shape[-1] * (mask.shape[-1] - 1) // 2
        sides = sorted((int(above.sum()), int(below.sum())))
        if sides == [0, num_pairs]:
            found.append(name.rpartition(".")[0] or ROOT)
    return found


def _recorded(network: nn.Module, input_size: tuple[int, int, int]) -> tuple[Recorder, nn.Module]:
    """Record a forward pass, of the copy without memory if possible, else of the network itself."""
    try:
        shapes_only = without_memory(network)
        return record(shapes_only, input_size), shapes_only
    except StriateError:
        raise
    except Exception as error:  # a module may do anything; what it cannot do without values, it may do with them
        reason = first_line(error)
    failure: Exception | None = None
    for uses_gradients in (True, False):
        try:
            recorder = record(network, input_size, uses_gradients=uses_gradients)
        except StriateError:
            raise
        except Exception as error:
            failure = error
        else:
            recorder.notices["values"] = (
                f"{type(network).__name__} cannot run on shapes alone ({reason}): it ran itself, on an image of zeros, "
                "and another image may take another way; what it computes outside of PyTorch is not seen"
            )
            return recorder, network
    if "HigherOrderOperator" in str(failure) or "HigherOrderOperator" in reason:
        raise InputError(
            f"{type(network).__name__} holds a higher-order operator (torch.cond, flex_attention or the like), which "
            "striate does not follow; describe its parts, or a copy with a plain operator in its place"
        ) from failure
    size = "x".join(map(str, input_size))
    raise InputError(
        f"{type(network).__name__} cannot take an image of {size}: {first_line(failure)}{_hint(network, input_size)}"
    ) from failure


def record(network: nn.Module, input_size: tuple[int, int, int], *, uses_gradients: bool = True) -> Recorder:
    """Send one image of zeros through, in evaluation mode, and record it.

    With a gradient on the input PyTorch's attention takes its plain path, whose products can be seen.
    """
    with torch.inference_mode(False), torch.set_grad_enabled(uses_gradients), evaluating(network):
        image = image_maker(network, input_size)(1).requires_grad_(uses_gradients)
        image = image.clone()  # may be written in place, which a leaf may not
        recorder = Recorder(network, image)
        with watching(network, recorder), recorder:
            recorder.enter(ROOT)
            recorder.leave(ROOT, network(image))
    return recorder


def image_maker(network: nn.Module, input_size: tuple[int, int, int]) -> Callable[[int], Tensor]:
    """A function that makes n images of zeros (n, C, H, W), like the network's weights in device and type."""
    param = next((p for p in network.parameters() if p.is_floating_point()), None)
    like = torch.empty(0) if param is None else param.detach()
    return lambda num_images: torch.zeros(num_images, *input_size, dtype=like.dtype, device=like.device)


def without_memory(network: nn.Module) -> nn.Module:
    """A copy whose parameters and buffers are on the meta device; nothing of the original is copied or moved."""
    stand_ins: dict[int, Any] = {}
    for param in network.parameters():
        stand_ins[id(param)] = nn.Parameter(torch.empty_like(param, device="meta"), requires_grad=param.requires_grad)
    for buffer in network.buffers():
        stand_ins[id(buffer)] = torch.empty_like(buffer, device="meta")
    return copy.deepcopy(network, stand_ins)


def _hint(network: nn.Module, input_size: tuple[int, int, int]) -> str:
    """A size that the network can take, if one is found among those usual, and the smallest square next to it."""

    def fits(side: int) -> bool:
        try:
            with torch.no_grad(), evaluating(shapes_only):
                shapes_only(image_maker(shapes_only, (input_size[0], side, side))(1))
        except Exception:
            return False
        return True

    try:
        shapes_only = without_memory(network)
    except Exception:
        return ""
    large = next((side for side in _SIZES if fits(side)), None)
    if large is None:
        return ""
    small = 0
    while large - small > 1:
        middle = (small + large) // 2
        small, large = (small, middle) if fits(middle) else (middle, large)
    return f"; the smallest square found to work is {input_size[0]}x{large}x{large}"


def _describe(
    network: nn.Module,
    recorder: Recorder,
    trial: nn.Module,
    input_size: tuple[int, int, int],
    memory: tuple[int | None, int | None],
    notices: dict[str, str],
) -> NetworkDescription:
    """The record as rows, the graph, and the totals; `trial` is what ran."""
    fields = _fields(recorder, notices)
    names = _names(recorder.steps)
    places = {step: place for place, step in enumerate(recorder.steps)} | {IMAGE: -1}
    inputs = {step: _inputs(step, places) for step in recorder.steps}
    calls = tuple(
        CallDescription(names[step], inputs[step], step.shape, step.macs, step.bytes) for step in recorder.steps
    )
    rows: dict[str, list[Step]] = defaultdict(list)
    for step in recorder.steps:
        rows[names[step]].append(step)
    num_params = _params_by_layer(trial, recorder, names)
    modules = {name or ROOT: module for name, module in network.named_modules()}
    layers = [
        LayerDescription(
            name=name,
            kind=steps[-1].kind,
            output_shape=steps[-1].shape,
            num_params=num_params[name],
            macs=sum(step.macs for step in steps),
            activation_bytes=sum(step.bytes for step in steps),
            num_calls=len(steps),
            inputs=tuple(dict.fromkeys(_name_at(place, calls) for step in steps for place in inputs[step])),
            receptive_field=fields.get(steps[-1]),
        )
        for name, steps in rows.items()
    ]
    layers += [
        LayerDescription(name, type(modules[name]).__name__, (), count, 0, 0, 0, (), None)
        for name, count in num_params.items()
        if count and name not in rows
    ]
    return NetworkDescription(
        kind=type(network).__name__,
        input_size=input_size,
        num_params=count_params(network),
        num_trainable_params=sum(param.numel() for param in network.parameters() if param.requires_grad),
        macs=sum(call.macs for call in calls),
        activation_bytes=sum(call.activation_bytes for call in calls),
        forward_peak_bytes=memory[0],
        training_bytes=memory[1],
        layers=tuple(layers),
        calls=calls,
        notices=tuple(notices.values()),
    )


def _fields(recorder: Recorder, notices: dict[str, str]) -> dict[Step, ReceptiveField]:
    """The receptive field of every step whose field can be told."""
    fields: dict[Step, ReceptiveField] = {}
    known: dict[int, ReceptiveField] = {}
    for step in recorder.steps:
        field: TensorField | None = step.field
        try:
            if field is not None:
                known[id(field)] = known.get(id(field)) or receptive_field(field)
                fields[step] = known[id(field)]
        except UnknownField as unknown:
            notices.setdefault("many", f"the receptive field of {step.name} is unknown: it {unknown}")
    return fields


def _names(steps: list[Step]) -> dict[Step, str]:
    """The name of each step's row: the layer's, or for a function its module's and its own, numbered where there are
    more.
    """
    counts: dict[str, int] = defaultdict(int)
    names = {}
    for step in steps:
        names[step] = step.name
        if step.is_function:
            name = f"{'' if step.name == ROOT else step.name}:{step.kind}"
            counts[name] += 1
            names[step] = name if counts[name] == 1 else f"{name}.{counts[name]}"
    return names


def _inputs(step: Step, places: dict[Step, int]) -> tuple[int, ...]:
    """The places of what feeds a step, in order; what it is itself made of is left out."""
    return tuple(sorted({places[source.settled()] for source in step.inputs if source.settled() is not step}))


def _name_at(place: int, calls: tuple[CallDescription, ...]) -> str:
    return IMAGE.name if place < 0 else calls[place].layer


def _params_by_layer(trial: nn.Module, recorder: Recorder, names: dict[Step, str]) -> dict[str, int]:
    """Numbers in the parameters that each row is the first to use; the rest goes to the modules that hold it."""
    counts: dict[str, int] = defaultdict(int)
    used: set[int] = set()
    for step in recorder.steps:
        for key in step.params.keys() - used:
            counts[names[step]] += sum(param.numel() for param in recorder.params[key])
        used |= step.params.keys()
    unused = {id(param) for key, params in recorder.params.items() if key not in used for param in params}
    for name, module in trial.named_modules():
        for param in module.parameters(recurse=False):
            if id(param) in unused:
                counts[name or ROOT] += param.numel()
                unused.remove(id(param))
    return counts


def _measured(
    measure: Callable[[nn.Module, Callable[[int], Tensor]], int],
    trial: nn.Module,
    input_size: tuple[int, int, int],
    notices: dict[str, str],
) -> int | None:
    """Bytes, or None and a notice where the network cannot do what the measurement needs."""
    try:
        # only what has no memory of its own may be left in another state
        is_spare = measure is forward_peak or all(param.is_meta for param in trial.parameters())
        spare = trial if is_spare else copy.deepcopy(trial)
        return measure(spare, image_maker(spare, input_size))
    except Exception as error:  # as above
        what = "the most memory at once" if measure is forward_peak else "the memory of training"
        notices[what] = f"{what} could not be measured: {first_line(error)}"
        return None


def first_line(error: BaseException | None) -> str:
    """The first line of an error's message."""
    return (str(error).splitlines() or [type(error).__name__])[0]
