"""Updates that a device makes in its own time: the processor goes on to the next, and reads the figures some updates
later.

A fast device would else stand still while the processor launches one kernel after the other and waits for each loss. An
update whose loss or gradient is not finite is held off by the device itself, as is every one after it: PyTorch's fused
optimisers look at a flag there. And forward and backward pass are launched at once, as a CUDA graph, when they have run
kernel by kernel a few times and the graph was seen to compute the same.
"""

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer

from striate.progress import Log, log_nothing
from striate.tasks.task import Objective, each_tensor, tensors_of
from striate.training.muon import Muon
from striate.training.randomness import renew_streams, seed_device
from striate.training.step import Batch, StepResult, gradients, read_figures

MAX_PENDING = 16
"""So many updates may be under way before the oldest is waited for."""
NUM_WARM_STEPS = 3
"""Batches of one shape that are computed kernel by kernel before their graph is made: libraries set themselves up
meanwhile.
"""
TOLERANCE = 0.02
"""Relative tolerance of loss and gradient by the graph: a device's sums have no fixed order."""
LARGEST_SHARE = 0.4
"""A graph keeps memory of its own, so a step that takes more than this share of the device's has none."""


@dataclass(frozen=True)
class Update:
    """An update under way: the place in the run that was given with it, and its figures, see `step.gradients`."""

    place: str
    figures: Tensor
    num_images: int
    is_done: torch.cuda.Event | None

    def result(self, model: nn.Module) -> StepResult:
        """Its figures; waits for them. Raises NonFiniteLoss."""
        if self.is_done is not None:
            self.is_done.synchronize()
        return read_figures(self.figures, self.num_images, model)


class AsynchronousSteps:
    """Makes the updates of `model`, set up by `fabric`, in one process. `can_queue` says for which runs."""

    def __init__(
        self,
        model: nn.Module,
        loss_fn: Objective,
        optimizer: Optimizer,
        fabric: Fabric,
        *,
        max_grad_norm: float,
        use_graphs: bool,
        log: Log = log_nothing,
    ) -> None:
        self.model = model
        self.loss_fn = loss_fn
        self.optimizer = optimizer
        self.fabric = fabric
        self.max_grad_norm = max_grad_norm
        self.use_graphs = use_graphs and fabric.device.type == "cuda"
        self.log = log
        self.pending: deque[Update] = deque()
        self.graph: _Graph | None = None
        self._last_shape: tuple[torch.Size, ...] | None = None
        self._num_alike = 0
        self._is_halted = torch.zeros((), device=fabric.device)
        optimizer.found_inf = self._is_halted  # type: ignore[attr-defined]

    def update(self, batches: Sequence[Batch], *, seed: int, place: str) -> None:
        """As `train_step`, but nothing is raised: figures and any NonFiniteLoss come from what `done` gives."""
        figures = self._gradients(batches, seed)
        self.fabric.strategy.precision.optimizer_step(self.optimizer)
        event = None
        if self.fabric.device.type == "cuda":
            figures, event = figures.to("cpu", non_blocking=True), torch.cuda.Event()
            event.record()
        self.pending.append(Update(place, figures, sum(len(batch.images) for batch in batches), event))

    def done(self, *, wait: bool = False) -> list[Update]:
        """The updates that are over and were not given yet, in order; with `wait` all of them."""
        over = []
        while self.pending and (wait or len(self.pending) > MAX_PENDING or _is_over(self.pending[0])):
            over.append(self.pending.popleft())
        return over

    def _gradients(self, batches: Sequence[Batch], seed: int) -> Tensor:
        """The figures, with the gradients left in .grad and the flag raised where they are not finite."""
        if len(batches) > 1 or not self.use_graphs:
            return self._kernel_by_kernel(batches, seed)
        (batch,) = batches
        if self.graph is not None and self.graph.fits(batch):
            return self.graph.replay(batch, seed, self.fabric.device)
        shape = _shapes(batch)
        self._num_alike = self._num_alike + 1 if shape == self._last_shape else 1
        self._last_shape = shape
        if self._num_alike > NUM_WARM_STEPS:
            return self._make_graph(batch, seed)
        before = _processor_randomness(seed)
        figures = self._kernel_by_kernel(batches, seed)
        if _processor_randomness() != before:
            self._without_graphs("the network draws numbers on the processor")
        return figures

    def _kernel_by_kernel(self, batches: Sequence[Batch], seed: int) -> Tensor:
        self.optimizer.zero_grad(set_to_none=True)
        seed_device(self.fabric.device, seed)
        return self._compute(batches)

    def _compute(self, batches: Sequence[Batch]) -> Tensor:
        figures = gradients(self.model, batches, self.loss_fn, self.optimizer, self.fabric, self.max_grad_norm)
        is_bad = figures.isfinite().all().logical_not()
        self._is_halted.copy_(torch.maximum(self._is_halted, is_bad.to(self._is_halted)))
        return figures

    def _make_graph(self, batch: Batch, seed: int) -> Tensor:
        """The figures by a new graph; by the old way where there can be none, or it computes something else."""
        device = self.fabric.device
        if (
            torch.cuda.max_memory_allocated(device)
            > LARGEST_SHARE * torch.cuda.get_device_properties(device).total_memory
        ):
            self._without_graphs("a step takes too much of the GPU's memory to keep some for a graph")
            return self._kernel_by_kernel([batch], seed)
        self.graph = None  # lets go of its memory
        buffers = [(buffer, buffer.clone()) for buffer in self.model.buffers()]

        def put_back() -> None:
            for buffer, value in buffers:
                buffer.copy_(value)

        expected = self._kernel_by_kernel([batch], seed)
        put_back()
        self.optimizer.zero_grad(set_to_none=True)
        try:
            graph = _Graph(batch, self._compute, [param for param in self.model.parameters() if param.requires_grad])
            figures = graph.replay(batch, seed, device)
            if torch.allclose(figures[[0, 2, 3]], expected[[0, 2, 3]], rtol=TOLERANCE, equal_nan=True):
                self.graph = graph
                return figures.clone()
            reason = "a graph of its kernels computes something else"
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            renew_streams(device)
        put_back()
        self._without_graphs(reason)
        return self._kernel_by_kernel([batch], seed)

    def _without_graphs(self, reason: str) -> None:
        self.use_graphs, self.graph = False, None
        self.log(f"the steps go without CUDA graphs: {reason}")


class _Graph:
    """Forward and backward pass on one shape of batch, which a device replays. Gradients have their places in it."""

    def __init__(self, batch: Batch, compute: Callable[[Sequence[Batch]], Tensor], params: list[nn.Parameter]) -> None:
        self.batch = Batch(batch.images.clone(), each_tensor(batch.targets, torch.Tensor.clone), batch.share)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, capture_error_mode="thread_local"):  # images are prepared in other threads
            self.figures = compute([self.batch])
        self.gradients = [(param, param.grad) for param in params]

    def fits(self, batch: Batch) -> bool:
        """Whether the batch has the shape that the graph is made for."""
        return _shapes(batch) == _shapes(self.batch)

    def replay(self, batch: Batch, seed: int, device: torch.device) -> Tensor:
        """The figures of this batch; they are written over by the next."""
        self.batch.images.copy_(batch.images)
        for own, given in zip(tensors_of(self.batch.targets), tensors_of(batch.targets), strict=True):
            own.copy_(given)
        seed_device(device, seed)
        self.graph.replay()
        for param, gradient in self.gradients:
            param.grad = gradient
        return self.figures


def _shapes(batch: Batch) -> tuple[torch.Size, ...]:
    """The shapes of images and targets."""
    return (batch.images.shape, *(tensor.shape for tensor in tensors_of(batch.targets)))


def can_run_asynchronously(optimizer: Optimizer, fabric: Fabric) -> bool:
    """Whether updates need not be waited for: in one process on a CUDA device, by an optimiser that the device can hold
    off, and without the scaling of 16-bit losses, which decides from each update how the next is scaled.
    """
    can_hold_off = isinstance(optimizer, SGD | Adam | Muon)
    is_fused = can_hold_off and bool(optimizer.defaults.get("use_fused" if isinstance(optimizer, Muon) else "fused"))
    is_scaled = getattr(fabric.strategy.precision, "scaler", None) is not None
    return fabric.device.type == "cuda" and fabric.world_size == 1 and is_fused and not is_scaled


def _is_over(update: Update) -> bool:
    return update.is_done is None or update.is_done.query()


def _processor_randomness(seed: int | None = None) -> tuple[bytes, object]:
    """Where the streams of the processor stand, once they were started with `seed`."""
    if seed is not None:
        torch.default_generator.manual_seed(seed)
    return torch.get_rng_state().numpy().tobytes(), random.getstate()
