"""What every network of striate promises, asked of any network: each promise is tried, none is taken on trust."""

import copy
import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from striate.errors import InputError, StriateError
from striate.inspection.describe import network_and_size
from striate.inspection.layers import first_line, record, refuse_lazy, without_memory
from striate.networks.restore import keeping_randomness
from striate.progress import Log, log_nothing

NOISE = 0.02
"""Deviation of what is put where weights are zero, so that zeros by design (the last scale of a block) stop no
gradient.
"""
ACTIVATIONS = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.GLU,
    nn.Sigmoid, nn.LogSigmoid, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh, nn.Hardshrink, nn.Softshrink, nn.Tanhshrink,
    nn.Tanh, nn.Softplus, nn.Softsign, nn.Threshold,
)  # fmt: skip

_SUM_TOLERANCE = 1e-4
"""How near to 1 the sum of a row of probabilities is, in 16 bits too."""


@dataclass(frozen=True)
class NetworkCheck:
    """One promise, whether it was kept, and a line with what was found."""

    name: str
    passed: bool
    detail: str


class _Broken(Exception):
    """A promise that was not kept; the text says how."""


def check_network(
    network: nn.Module | str | Path,
    input_size: tuple[int, int, int] | None = None,
    *,
    num_classes: int | None = None,
    use_export: bool = True,
    use_compile: bool = False,
    seed: int = 0,
    log: Log = log_nothing,
) -> list[NetworkCheck]:
    """Each promise of a network from images (N, C, H, W) to logits (N, K), and whether this one keeps it.

    `network` and `input_size` (C, H, W) are as for `describe`; K must be `num_classes` where that is given. Exporting
    and compiling take seconds to minutes. Images are noise drawn with `seed`. Work is done on copies: the network comes
    back as it was, and so do torch's random generators. One that cannot answer at all, or has lazy layers without
    shapes, gets that one result.
    Raises
    InputError for unknown names, illegal sizes and networks on the meta device.

    Without `use_export` and `use_compile` (off by default, since it takes longest) those two are left out.
    """
    network, size = network_and_size(network, input_size, has_values=True, log=log)
    try:
        refuse_lazy(network)
    except InputError as error:  # each copy would get weights of its own
        return [NetworkCheck("logits", passed=False, detail=str(error))]
    if any(param.is_meta for param in network.parameters()):
        raise InputError('weights are needed for checks but are on the meta device; build without device="meta"')
    trial = _Trial(network, size, seed)
    promises: list[tuple[str, Callable[[_Trial], str]]] = [
        ("batch independence", _check_independence),
        ("finite", _check_finite),
        ("gradients", _check_gradients),
        ("save and load", _check_saving),
        ("copies", _check_copies),
        ("evaluation", _check_evaluation),
        ("training mode", _check_training_mode),
        ("randomness", _check_randomness),
        ("activations", _check_activations),
        ("channels last", _check_channels_last),
    ]
    promises += [("export", _check_export)] * use_export + [("compile", _check_compile)] * use_compile
    # a GPU's convolutions round to ten bits otherwise, which no comparison here is made for
    exact = torch.backends.cudnn.flags(enabled=torch.backends.cudnn.enabled, deterministic=True, allow_tf32=False)
    with (
        keeping_randomness(network),
        torch.inference_mode(False),
        torch.enable_grad(),
        exact,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # of exporting, mostly: what matters is in the results
        first = _result("logits", lambda trial: _check_logits(trial, num_classes), trial)
        if not first.passed and not trial.can_answer:
            return [first]
        return [first, *(_result(name, check, trial) for name, check in promises)]


class _Trial:
    """The network under trial, and copies of it to do anything with."""

    def __init__(self, network: nn.Module, size: tuple[int, int, int], seed: int) -> None:
        self.network, self.size, self.seed = network, size, seed
        self.can_answer = False
        param = next((p for p in network.parameters() if p.is_floating_point()), torch.empty(0))
        self.device, self.dtype = param.device, param.dtype

    def images(self, num_images: int, *, seed: int = 0) -> Tensor:
        """Noise of deviation 1 (N, C, H, W), of which fewer images are the first ones of more."""
        generator = torch.Generator().manual_seed(self.seed + seed)
        each = [torch.randn(1, *self.size, generator=generator) for _ in range(num_images)]
        return torch.cat(each).to(self.device, self.dtype)

    @contextmanager
    def spare(self, *, is_training: bool = False) -> Iterator[nn.Module]:
        """A network like the one on trial, in evaluation mode unless asked; what is done to it leaves no trace."""
        try:
            spare = copy.deepcopy(self.network)
        except Exception:
            with _swapped(self.network):  # the check of copies says that it cannot be copied
                yield self.network.train(is_training)
        else:
            yield spare.train(is_training)

    def answer(self, num_images: int = 3) -> Tensor:
        """The logits in evaluation mode."""
        with self.spare() as spare, torch.no_grad():
            return _logits(spare(self.images(num_images)))


def _result(name: str, check: Callable[[_Trial], str], trial: _Trial) -> NetworkCheck:
    try:
        return NetworkCheck(name, True, check(trial))
    except _Broken as broken:
        return NetworkCheck(name, False, str(broken))
    except Exception as error:  # whatever a stranger's module raises is an answer too
        return NetworkCheck(name, False, f"{type(error).__name__}: {first_line(error)}")


def _check_logits(trial: _Trial, num_classes: int | None) -> str:
    """One row of numbers for each image, in both modes; auxiliary logits in training mode only."""
    shapes = []
    for num_images, is_training in ((1, False), (3, False), (3, True)):
        with trial.spare(is_training=is_training) as spare, torch.no_grad():
            answer = spare(trial.images(num_images))
        trial.can_answer = True
        if is_training:
            answer = getattr(answer, "logits", answer)  # beside those of auxiliary heads
        mode = "training" if is_training else "evaluation"
        if not isinstance(answer, Tensor):
            raise _Broken(f"logits (N, K) are expected but in {mode} mode it answers a {type(answer).__name__}")
        if answer.ndim != 2 or answer.shape[0] != num_images or not answer.is_floating_point():
            raise _Broken(
                f"logits ({num_images}, K) are expected of {num_images} images but in {mode} mode it answers "
                f"{tuple(answer.shape)} of {str(answer.dtype).removeprefix('torch.')}"
            )
        _refuse_probabilities(answer)
        shapes.append(answer.shape[1])
    if len(set(shapes)) > 1:
        raise _Broken(f"it answers {shapes[0]} classes in evaluation mode but {shapes[2]} in training mode")
    if num_classes is not None and shapes[0] != num_classes:
        raise _Broken(f"{num_classes} classes are expected but it answers {shapes[0]}")
    return f"(N, {shapes[0]}) for 1 and 3 images"


def _refuse_probabilities(answer: Tensor) -> None:
    """Raise _Broken where every row of (N, K) sums to 1 without a negative number, or its exponentials do: no logits do
    that.
    """
    answer = answer.double()
    ones = torch.ones(len(answer), dtype=torch.float64, device=answer.device)
    if answer.shape[1] < 2:
        return
    if (answer >= 0).all() and torch.allclose(answer.sum(dim=1), ones, atol=_SUM_TOLERANCE):
        raise _Broken(
            "it answers probabilities, each row summing to 1; leave the softmax out: the loss and predict have their "
            "own"
        )
    if torch.allclose(answer.exp().sum(dim=1), ones, atol=_SUM_TOLERANCE):
        raise _Broken(
            "it answers logarithms of probabilities; leave the log-softmax out: the loss and predict have their own"
        )


def _check_independence(trial: _Trial) -> str:
    """An image's answer does not depend on its neighbours in the batch."""
    together = trial.answer(3)
    with trial.spare() as spare, torch.no_grad():
        alone = torch.cat([_logits(spare(image[None])) for image in trial.images(3)])
    return _same(alone, together, "of an image alone and beside others")


def _check_finite(trial: _Trial) -> str:
    """Numbers, and not overflow, also where products are computed in bfloat16."""
    if not trial.answer().isfinite().all():
        raise _Broken("the answer to noise of deviation 1 is not finite")
    with trial.spare() as spare, torch.no_grad(), torch.autocast(trial.device.type, dtype=torch.bfloat16):
        coarse = _logits(spare(trial.images(3)))
    if not coarse.isfinite().all():
        raise _Broken("the answer is finite in float32 but not under bfloat16 autocast")
    return "in float32 and under bfloat16 autocast"


def _check_gradients(trial: _Trial) -> str:
    """Each trainable parameter gets a gradient that is finite and, for one batch or another, not zero."""
    unreached: set[str] | None = None
    for seed in (0, 1):
        with trial.spare(is_training=True) as spare:
            names = [name for name, param in spare.named_parameters() if param.requires_grad]
            for param in spare.parameters():
                param.grad = None
                if not param.any():
                    nn.init.normal_(param, std=NOISE)
            torch.manual_seed(trial.seed + seed)
            outputs = [leaf for leaf in tree_leaves(spare(trial.images(4, seed=seed))) if isinstance(leaf, Tensor)]
            loss = sum((output.float() * torch.randn_like(output.float())).sum() for output in outputs)
            assert isinstance(loss, Tensor)
            loss.backward()
            grads = {name: spare.get_parameter(name).grad for name in names}
        if broken := [name for name, grad in grads.items() if grad is not None and not grad.isfinite().all()]:
            raise _Broken(f"the gradient is not finite for {_some(broken)}")
        missing = {name for name, grad in grads.items() if grad is None or not grad.any()}
        unreached = missing if unreached is None else unreached & missing
        if not unreached:
            return f"reach all {len(names)} trainable tensors"
    raise _Broken(f"no gradient reaches {_some(sorted(unreached or ()))}")


def _check_saving(trial: _Trial) -> str:
    """The state dictionary, written and read without pickled code, brings every answer back."""
    expected = trial.answer()
    with trial.spare() as spare:
        file = io.BytesIO()
        torch.save(spare.state_dict(), file)
    file.seek(0)
    with trial.spare() as other, torch.no_grad():
        attributes = _spoil(other)
        other.load_state_dict(torch.load(file, weights_only=True), strict=True)
        found = _logits(other(trial.images(3)))
    if not torch.equal(found, expected):
        lost = f"; tensors that are neither parameters nor buffers: {_some(attributes)}" if attributes else ""
        raise _Broken(f"the answers differ after saving and loading the state dictionary{lost}")
    return "the state dictionary brings the same answers back"


def _spoil(network: nn.Module) -> list[str]:
    """Put other numbers into all weights, statistics and tensors kept as attributes; the names of the latter."""
    kept = {id(tensor) for tensor in (*network.parameters(), *network.buffers())}
    attributes = []
    for name, module in network.named_modules():
        for key, value in vars(module).items():
            if isinstance(value, Tensor) and value.is_floating_point() and id(value) not in kept and value.is_leaf:
                attributes.append(f"{name}.{key}".lstrip("."))
                value.add_(1)
        own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
        temporary = {id(module._buffers[key]) for key in module._non_persistent_buffers_set}
        for tensor in own:
            if tensor.is_floating_point() and id(tensor) not in temporary:
                tensor.add_(1)
    return attributes


def _check_copies(trial: _Trial) -> str:
    """A deep copy answers the same and shares no memory."""
    duplicate = copy.deepcopy(trial.network).eval()
    own = {param.untyped_storage().data_ptr() for param in trial.network.parameters() if param.numel()}
    shared = [name for name, param in duplicate.named_parameters() if param.untyped_storage().data_ptr() in own]
    if shared:
        raise _Broken(f"a deep copy shares memory with the network: {_some(shared)}")
    with _swapped(trial.network), torch.no_grad():
        expected = _logits(trial.network.eval()(trial.images(3)))
    with torch.no_grad():
        return _same(_logits(duplicate(trial.images(3))), expected, "of the network and its deep copy")


def _check_evaluation(trial: _Trial) -> str:
    """Evaluation mode reaches every module, changes no number, draws none at random, and repeats itself."""
    with trial.spare() as spare, torch.no_grad():
        if active := [name or "the network itself" for name, module in spare.named_modules() if module.training]:
            raise _Broken(f"eval() leaves in training mode: {_some(active)}")
        state = {name: value.clone() for name, value in spare.state_dict().items() if isinstance(value, Tensor)}
        generator = torch.get_rng_state()
        first, second = (_logits(spare(trial.images(3))) for _ in range(2))
        if changed := [
            name for name, value in spare.state_dict().items() if name in state and not value.equal(state[name])
        ]:
            raise _Broken(f"answering in evaluation mode changes {_some(changed)}")
    _same(second, first, "of two runs in evaluation mode")
    if not torch.equal(generator, torch.get_rng_state()):
        raise _Broken("answering in evaluation mode draws random numbers")
    return "repeats itself and changes nothing"


def _check_training_mode(trial: _Trial) -> str:
    """Training mode differs from evaluation only in dropout, batch statistics and the like, and moves no weight."""
    expected = trial.answer()
    with trial.spare(is_training=True) as spare, torch.no_grad():
        before = {name: param.clone() for name, param in spare.named_parameters()}
        spare(trial.images(3))
        if moved := [name for name, param in spare.named_parameters() if not param.equal(before[name])]:
            raise _Broken(f"answering in training mode changes weights: {_some(moved)}")
    with trial.spare(is_training=True) as spare, torch.no_grad():
        known = [module for module in spare.modules() if _has_modes(module)]
        for module in known:
            module.training = False
        if _is_same(_logits(spare(trial.images(3))), expected):
            return f"differs from evaluation in dropout and batch statistics only, {len(known)} layers"
        culprits = []
        for name, module in spare.eval().named_modules():
            module.training = not _has_modes(module)
            if not _is_same(_logits(spare(trial.images(3))), expected):
                culprits.append(name or "the network itself")
            module.training = False
    raise _Broken(f"beside dropout and batch statistics these answer otherwise in training mode: {_some(culprits)}")


def _check_randomness(trial: _Trial) -> str:
    """In training mode, torch's seed decides everything."""
    first, second = (_seeded_answer(trial) for _ in range(2))
    _same(first, second, "of two runs in training mode with the same seed")
    return "the same seed gives the same answers in training mode"


def _seeded_answer(trial: _Trial) -> Tensor:
    with trial.spare(is_training=True) as spare, torch.no_grad():
        torch.manual_seed(trial.seed)
        return _logits(spare(trial.images(3)))


def _check_activations(trial: _Trial) -> str:
    """Each activation is a module of its own, called once, and nothing writes into what another layer has made."""
    with trial.spare() as spare:
        try:
            recorder = record(without_memory(spare), trial.size)
        except StriateError:
            raise
        except Exception:
            recorder = record(spare, trial.size)
        activations = {name: module for name, module in spare.named_modules() if isinstance(module, ACTIVATIONS)}
    if shared := [f"{name} ({recorder.calls[name]} times)" for name in activations if recorder.calls[name] > 1]:
        raise _Broken(f"an activation must be called once, so that what it does can be told apart: {_some(shared)}")
    in_place = [name for name, module in activations.items() if getattr(module, "inplace", False)]
    if in_place := [*dict.fromkeys([*in_place, *recorder.in_place])]:
        raise _Broken(f"works in place on what another layer has made: {_some(in_place)}")
    return f"{len(activations)} activation modules, each called at most once, nothing in place"


def _check_channels_last(trial: _Trial) -> str:
    """The layout in memory, of images or of weights too, changes nothing."""
    expected = trial.answer()
    images = trial.images(3).contiguous(memory_format=torch.channels_last)
    with trial.spare() as spare, torch.no_grad():
        _same(_logits(spare(images)), expected, "to images in channels-last layout and others")
        last = _logits(spare.to(memory_format=torch.channels_last)(images))
    return _same(last, expected, "in channels-last layout and otherwise")


def _check_export(trial: _Trial) -> str:
    """torch.export makes a program that answers the same, for other batch sizes too where it can."""
    with trial.spare() as spare, torch.no_grad():
        program = torch.export.export(spare, (trial.images(2),), dynamic_shapes=({0: torch.export.Dim.AUTO},)).module()
        found = _same(_logits(program(trial.images(2))), trial.answer(2), "of torch.export's program and the network")
        try:
            _same(_logits(program(trial.images(3))), trial.answer(3), "of torch.export's program and the network")
        except Exception:
            return f"{found}; for batches of 2 only"
    return found


def _check_compile(trial: _Trial) -> str:
    with trial.spare() as spare, torch.no_grad():
        found = _logits(torch.compile(spare)(trial.images(3)))
    return _same(found, trial.answer(), "of the compiled and the eager network")


def _has_modes(module: nn.Module) -> bool:
    """Whether a module is meant to act otherwise in training: it has statistics of batches, or drops something."""
    if isinstance(module, nn.modules.batchnorm._NormBase | nn.RReLU):
        return True
    shares = [value for key, value in vars(module).items() if "drop" in key or "survival" in key or key == "p"]
    return any(isinstance(value, float) and 0 < value <= 1 for value in shares)


@contextmanager
def _swapped(network: nn.Module) -> Iterator[None]:
    """The network itself, with copies of its weights and statistics in their places until the end."""
    modules = [(module, module.training, dict(module._buffers)) for module in network.modules()]
    params = [(param, param.data, param.grad, param.requires_grad) for param in network.parameters()]
    try:
        for param, data, _, _ in params:
            param.data, param.grad = data.clone(), None
        for module, _, buffers in modules:
            module._buffers.update({name: each if each is None else each.clone() for name, each in buffers.items()})
        yield
    finally:
        for param, data, grad, requires_grad in params:
            param.data, param.grad = data, grad
            param.requires_grad_(requires_grad)
        for module, mode, buffers in modules:
            module.training = mode
            module._buffers.update(buffers)


def _logits(answer: Any) -> Tensor:
    """The logits in whatever a network answers: the first tensor there is."""
    tensors = [leaf for leaf in tree_leaves(answer) if isinstance(leaf, Tensor)]
    if not tensors:
        raise _Broken(f"there is no tensor in the {type(answer).__name__} that it answers")
    return tensors[0]


def _same(found: Tensor, expected: Tensor, what: str) -> str:
    """A line with the largest difference; _Broken where that is more than rounding can do."""
    difference, largest = _difference(found, expected)
    if not _is_same(found, expected):
        raise _Broken(f"the answers {what} differ by up to {difference:.2g} where the largest is {largest:.2g}")
    return f"the answers {what} differ by at most {difference:.2g}"


def _is_same(found: Tensor, expected: Tensor) -> bool:
    """Equal but for rounding: sums in another order."""
    difference, largest = _difference(found, expected)
    return difference <= max(1e-4, 64 * torch.finfo(expected.dtype).eps) * largest + 1e-12


def _difference(found: Tensor, expected: Tensor) -> tuple[float, float]:
    if found.shape != expected.shape:
        raise _Broken(f"the answer is {tuple(found.shape)} where {tuple(expected.shape)} is expected")
    largest = expected.double().abs()
    is_equal = (found == expected) | (found.isnan() & expected.isnan())  # infinities too
    differences = (found.double() - expected.double()).abs().masked_fill(is_equal, 0)
    return differences.max().item(), largest.masked_fill(~largest.isfinite(), 0).max().item()


def _some(names: list[str]) -> str:
    """The first few of a list, and how many more there are."""
    shown = ", ".join(names[:4])
    return f"{shown} and {len(names) - 4} more" if len(names) > 4 else shown
