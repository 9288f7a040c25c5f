"""Randomness that is a function of where the run stands, so that nothing about it need be remembered.

Every random choice draws from a stream seeded with the run's seed and the place (epoch and batch, or step). A run
that is taken up again makes the same choices as one that never stopped.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def seed_for(*place: int | str) -> int:
    """A seed in [0, 2^63) that differs from place to place: `seed_for(seed, "dropout", step, rank)`."""
    digest = hashlib.blake2b(repr(place).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator_for(*place: int | str) -> torch.Generator:
    """A generator on the CPU, seeded for the place."""
    return torch.Generator().manual_seed(seed_for(*place))


def seed_device(device: torch.device, seed: int) -> None:
    """Seed the streams that layers such as dropout draw from: the CPU's and, where it is another, that of `device`."""
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        getattr(torch, device.type).manual_seed(seed)


def renew_streams(device: torch.device) -> None:
    """Give a CUDA device a generator anew: one that a CUDA graph was to hold when its making failed cannot be drawn
    from any more.
    """
    index = torch.cuda.current_device() if device.index is None else device.index
    torch.cuda.default_generators[index].graphsafe_set_state(torch.Generator(device).graphsafe_get_state())


@contextmanager
def preserved_randomness(device: torch.device) -> Iterator[None]:
    """Torch's global streams on the CPU and on `device` are afterwards as they were before, also after an error."""
    backend = None if device.type == "cpu" else getattr(torch, device.type)
    cpu_state = torch.get_rng_state()
    device_state = None if backend is None else backend.get_rng_state()
    try:
        yield
    finally:
        torch.set_rng_state(cpu_state)
        if backend is not None:
            backend.set_rng_state(device_state)
