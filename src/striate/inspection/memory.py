"""Memory of the activations of one image: the most at once while a network answers, and what training keeps.

Both count what PyTorch's eager operators make, each piece of memory once, and the image; not parameters, buffers and
what operators use for themselves while they run. Attention is counted by its plain formula, with all scores.
"""

import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from striate.networks.restore import evaluating

_SMALL_BATCH = 2
"""Of one image, statistics of a batch may not exist."""


def forward_peak(network: nn.Module, make_images: Callable[[int], Tensor]) -> int:
    """Most bytes alive at once while one image is answered, in evaluation mode and without gradients.

    A tensor lives from the operator that makes it until nothing refers to it any more, as PyTorch frees it. The image
    and the answer are among what lives; at an operator, both its inputs and its outputs are. `make_images(n)` makes
    n images (n, C, H, W) on the device of the network.
    """
    with torch.inference_mode(False), torch.no_grad(), evaluating(network), _plain_attention():
        image = make_images(1)
        alive = _Alive(network, image)
        with alive:
            network(image)
    return alive.peak


def training_bytes(network: nn.Module, make_images: Callable[[int], Tensor]) -> int:
    """Bytes that each image of a batch adds to what lives between the forward and the backward pass of training.

    That is what autograd has saved for the backward pass, the image and the answers, each piece of memory once. It is
    measured as what one more image adds, so that what a batch has once (its statistics) does not count; the state
    of the network's layers (dropout, frozen parameters) counts as it is. The network is put into training mode and its
    running statistics change: give a copy.
    """
    return _kept_for_backward(network, make_images(_SMALL_BATCH + 1)) - _kept_for_backward(
        network, make_images(_SMALL_BATCH)
    )


class _Alive(TorchDispatchMode):
    """Bytes of memory that operators have made and that is still in use: `now`, and the most there were."""

    def __init__(self, network: nn.Module, image: Tensor) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._sizes: dict[int, int] = {}
        self._watches: dict[int, weakref.ref[Any]] = {}
        for tensor in (*network.parameters(), *network.buffers()):
            self._sizes[tensor.untyped_storage()._cdata] = 0  # outlives the run
        self._meet(image)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(output):
            if isinstance(leaf, Tensor):
                self._meet(leaf)
        return output

    def _meet(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self._sizes:
            self._sizes[key] = storage.nbytes()
            self._watches[key] = weakref.ref(storage, partial(self._part, key))
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)

    def _part(self, key: int, _: object) -> None:
        self.now -= self._sizes.pop(key)
        del self._watches[key]


def _kept_for_backward(network: nn.Module, images: Tensor) -> int:
    """Bytes that live when the forward pass of training has ended."""
    network.train()
    own = {tensor.untyped_storage()._cdata for tensor in (*network.parameters(), *network.buffers())}
    kept: dict[int, Any] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage  # held, so that no other comes to its place
        return tensor

    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
    ):
        output = network(images)
    for leaf in (images, *tree_leaves(output)):
        if isinstance(leaf, Tensor):
            keep(leaf)
    return sum(storage.nbytes() for storage in kept.values())


class _plain_attention:
    """PyTorch's encoder layers take no short cut of their own while this lasts."""

    def __enter__(self) -> None:
        self._was = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)

    def __exit__(self, *_: object) -> None:
        torch.backends.mha.set_fastpath_enabled(self._was)
