"""Borrow a network for a while and give it back as it was."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """The network in evaluation mode; every module gets its own mode back, also after an error.

    float32 is computed as such meanwhile: a GPU's convolutions would else keep three digits of every factor (TF32), and answer
    otherwise than the CPU.
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
