"""Before a long run: measure how this machine computes it fastest, say so, and remember it for the next one."""

import dataclasses
import hashlib
import json
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from striate.data.cache import cache_dir, write_atomically
from striate.data.parallel import num_processors
from striate.data.stored_values import stored_count, stored_flag, stored_list, stored_number, stored_text
from striate.errors import InputError
from striate.processor import processor
from striate.progress import Log, Track, track_silently
from striate.recipes.choices import Choices
from striate.recipes.prepare import Prepared
from striate.tasks.model import gpu_name
from striate.training.loader import Loader
from striate.training.precision import has_fast_bf16
from striate.training.recipe import check_precision
from striate.training.speed.autotune import (
    MakeFabric,
    Mode,
    ModeTiming,
    choose_mode,
    measure_modes,
    possible_modes,
)
from striate.version import __version__

SMALL_MACS = 20_000_000
"""Multiply-adds of one image below which a single thread is worth a try."""


@dataclass(frozen=True)
class ModeChoice:
    """The chosen compute mode and its reason: measured now, or earlier on this machine."""

    mode: Mode
    timings: tuple[dict[str, Any], ...]
    was_remembered: bool

    @property
    def image_s(self) -> float | None:
        """Seconds an image of the mode that was chosen; None where it was not timed."""
        own = asdict(self.mode)
        row = next((row for row in self.timings if own.items() <= row.items()), None)
        return 1 / row["images_per_s"] if row is not None and row["images_per_s"] else None

    def to_json(self) -> dict[str, Any]:
        """Plain values, as run.json has them under "mode"."""
        return {"chosen": str(self.mode), "remembered": self.was_remembered, "timings": list(self.timings)}


def with_fastest_mode(
    prepared: Prepared,
    loader: Loader,
    choices: Choices,
    device: torch.device,
    make_fabric: MakeFabric,
    log: Log,
    track: Track = track_silently,
) -> tuple[Prepared, ModeChoice | None]:
    """The run in its fastest mode; as it is, and None, where it is short or all was chosen by hand.

    A choice is kept in the cache by processor, network, sizes and versions, so that the same run made again on the same
    machine is computed alike.
    """
    recipe, entry = prepared.recipe, prepared.entry
    if recipe.views > 0:
        return prepared, None  # only the last layers are trained
    modes = possible_modes(
        recipe,
        device,
        has_fast_bf16=has_fast_bf16(device),
        thread_counts=(1, torch.get_num_threads()) if entry.macs < SMALL_MACS else (),
        forced=frozenset(field.name for field in dataclasses.fields(Mode) if getattr(choices, field.name) is not None),
    )
    num_images = len(loader.train) * recipe.epochs
    path = _memory_path(prepared, modes, device, num_images)
    was_remembered, timings = True, _recall(path, modes)
    if timings is None:
        was_remembered = False
        timings = measure_modes(
            prepared.network,
            recipe,
            loader,
            modes,
            make_fabric,
            head=entry.head,
            log=log,
            track=track,
        )
    if not timings:
        return prepared, None
    mode = choose_mode(timings, num_images)
    if not was_remembered:
        _remember(path, timings)
    log(_line(mode, timings, was_remembered))
    choice = ModeChoice(mode, tuple(timing.to_json() for timing in timings), was_remembered)
    return dataclasses.replace(prepared, recipe=mode.applied_to(recipe)), choice


def _line(mode: Mode, timings: tuple[ModeTiming, ...], was_remembered: bool) -> str:
    """The measured modes, fastest first."""
    ranked = sorted(timings, key=lambda timing: -(timing.images_per_s or 0))
    found = " · ".join(f"{timing.mode}: {_figure(timing)}" for timing in ranked)
    when = "as measured before on this machine" if was_remembered else "measured on this machine"
    return f"{when}, images/s: {found}; taking {mode}"


def _figure(timing: ModeTiming) -> str:
    if timing.images_per_s is None:
        return f"not possible ({timing.reason})"
    return f"{timing.images_per_s:,.0f}" + (f", but {timing.reason}" if timing.reason else "")


def _memory_path(prepared: Prepared, modes: tuple[Mode, ...], device: torch.device, num_images: int) -> Path:
    """Where what is measured for such a run on this machine is kept."""
    recipe = prepared.recipe
    settled = {
        "format": 3,  # the earlier ones held compiled modes
        "machine": [*processor(), num_processors(), gpu_name(device) or device.type],
        "versions": [__version__, version("torch")],
        "network": [
            prepared.entry.name,
            prepared.entry.title,
            sum(param.numel() for param in prepared.network.parameters()),
        ],
        "input": [prepared.preprocessing.channels, *prepared.preprocessing.crop_size, recipe.batch_size],
        "recipe": [recipe.optimizer.name, recipe.freeze, recipe.accumulate_steps],
        "modes": [asdict(mode) for mode in modes],
        "length": len(str(num_images)),
    }
    name = hashlib.sha256(json.dumps(settled, sort_keys=True).encode()).hexdigest()[:32]
    return cache_dir() / "modes" / f"{name}.json"


def _recall(path: Path, modes: tuple[Mode, ...]) -> tuple[ModeTiming, ...] | None:
    """What was measured of these modes before; None where there is nothing that can be read, or something else."""
    try:
        rows = stored_list(json.loads(path.read_bytes()))
        timings = tuple(_timing(row) for row in rows)
    except (OSError, ValueError, TypeError, KeyError, RecursionError, InputError):
        return None
    return timings if [timing.mode for timing in timings] == list(modes) else None


def _timing(row: dict[str, Any]) -> ModeTiming:
    mode = Mode(
        precision=check_precision(row["precision"]),
        use_channels_last=stored_flag(row["use_channels_last"]),
        num_threads=stored_count(row["num_threads"]),
        use_cuda_graphs=stored_flag(row["use_cuda_graphs"]),
    )
    images_per_s, reason = row["images_per_s"], row["reason"]
    return ModeTiming(
        mode,
        None if images_per_s is None else stored_number(images_per_s, above=0),
        None if reason is None else stored_text(reason),
    )


def _remember(path: Path, timings: tuple[ModeTiming, ...]) -> None:
    """A cache that cannot be written is no reason to stop."""
    try:
        write_atomically(path, json.dumps([timing.to_json() for timing in timings], indent=1).encode())
    except OSError:
        return
