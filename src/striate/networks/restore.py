"""Use a network for a while and restore it: mode, gradients, randomness, also after an error."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import nn


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """The network in evaluation mode; every module gets its own mode back, also after an error.

    float32 is computed as such meanwhile: a GPU's convolutions would else keep three digits of every factor (TF32), and
    answer otherwise than the CPU.
    """
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        with exact_float32():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """The network in evaluation mode, its parameters without gradients, gradients by inputs enabled, compiled parts run
    as written.

    So only what lies between an output and the images is kept for the backward pass. All is as before afterwards.
    """
    trainable = [param for param in network.parameters() if param.requires_grad]
    try:
        for param in trainable:
            param.requires_grad_(False)
        with torch.inference_mode(False), torch.enable_grad(), evaluating(network), running_as_written(network):
            yield
    finally:
        for param in trainable:
            param.requires_grad_(True)


@contextmanager
def running_as_written(network: nn.Module) -> Iterator[None]:
    """Parts that torch.compile wraps run without it: compiled code calls no hooks and cannot be followed."""
    is_compiled = any(hasattr(each, "_orig_mod") or each._compiled_call_impl for each in network.modules())
    with torch.compiler.set_stance("force_eager") if is_compiled else nullcontext():
        yield


@contextmanager
def exact_float32() -> Iterator[None]:
    """No convolution on a GPU rounds the factors of float32 products; afterwards as before."""
    convolutions = torch.backends.cudnn.conv  # type: ignore[attr-defined]
    before = convolutions.fp32_precision
    convolutions.fp32_precision = "ieee"
    try:
        yield
    finally:
        convolutions.fp32_precision = before


@contextmanager
def keeping_randomness(network: nn.Module) -> Iterator[None]:
    """Torch's random generators, on the CPU and where the network is, come back as they were, also after an error."""
    devices = {param.device.index for param in network.parameters() if param.device.type == "cuda"}
    with torch.random.fork_rng(devices=sorted(devices)):
        yield
