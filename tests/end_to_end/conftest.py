"""The command line in this process, and small folders of real image files to use it on."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from striate.cli.app import main


@dataclass(frozen=True)
class Outcome:
    """How a command ended and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def refused(self) -> str:
        """The one line of a request that could not be met."""
        assert self.code == 2, (self.code, self.out, self.err)
        assert "Traceback" not in self.err
        errors = [line for line in self.err.splitlines() if line.startswith("Error: ")]
        assert len(errors) == 1, self.err
        assert self.err.rstrip().splitlines()[-1] == errors[0], self.err
        return errors[0]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Nothing is read from or written to the user's cache; relative run folders lie in the test's own."""
    monkeypatch.setenv("STRIATE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def striate_command(monkeypatch, capsys) -> Callable[..., Outcome]:
    """`striate_command("train", folder)` runs it as the shell would."""

    def run(*words: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["striate", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main()
        written = capsys.readouterr()
        return Outcome(stop.value.code or 0, written.out, written.err)

    return run


def striped(height: int, width: int, is_across: bool, seed: int, channels: int = 3) -> Image.Image:
    """Stripes along or across, of random phase, with noise: easy to tell apart, no two alike."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    wave = np.sin((rows if is_across else columns) * 0.8 + rng.uniform(0, 6.28))
    pixels = 127 + 90 * wave[..., None] + rng.normal(0, 12, (height, width, channels))
    pixels = np.clip(pixels, 0, 255).astype(np.uint8)
    return Image.fromarray(pixels if channels == 3 else pixels[..., 0])


def write_folder(
    folder: Path, counts: dict[str, int], *, size: tuple[int, int] = (32, 32), seed: int = 0, channels: int = 3
) -> Path:
    """A subfolder of PNG files for each class; every second class has its stripes across."""
    for number, (name, count) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True)
        for place in range(count):
            image = striped(*size, number % 2 == 0, seed + 1000 * number + place, channels)
            image.save(folder / name / f"{place:03}.png")
    return folder


@pytest.fixture
def stripes(tmp_path) -> Path:
    """Two classes of twenty grey images, 32 x 32."""
    return write_folder(tmp_path / "stripes", {"across": 20, "along": 20}, channels=1)
