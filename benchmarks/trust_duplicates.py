"""Near duplicates planted among 800 photos of flowers, looked for by striate, imagededup and cleanvision."""

import itertools
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from striate.data.readers.sources import open_source
from striate.evaluation.data_checks import check_data

NUM_PLANTED = 100


def _cropped(image: Image.Image, draw: np.random.Generator) -> Image.Image:
    """A tenth of each side less, at a random place."""
    left, top = draw.random(2) * 0.1 * np.array(image.size)
    return image.crop((int(left), int(top), int(left + 0.9 * image.width), int(top + 0.9 * image.height)))


KINDS: dict[str, Callable[[Image.Image, np.random.Generator], Image.Image]] = {
    "resized to half": lambda image, _: image.resize((image.width // 2, image.height // 2)),
    "JPEG quality 30": lambda image, _: image,
    "turned by 90": lambda image, _: image.transpose(Image.Transpose.ROTATE_90),
    "turned by 180": lambda image, _: image.transpose(Image.Transpose.ROTATE_180),
    "turned by 270": lambda image, _: image.transpose(Image.Transpose.ROTATE_270),
    "mirrored": lambda image, _: ImageOps.mirror(image),
    "1.3 times as bright": lambda image, _: Image.eval(image, lambda value: min(255, int(1.3 * value))),
    "0.7 times as bright": lambda image, _: Image.eval(image, lambda value: int(0.7 * value)),
    "cropped by a tenth": _cropped,
    "cropped and mirrored": lambda image, draw: ImageOps.mirror(_cropped(image, draw)),
}
Pairs = set[frozenset[str]]


def measure(data: Path) -> dict[str, Any]:
    """Of each kind, how many of a hundred copies every tool joins to their originals; pairs of different photos."""
    originals = sorted((data / "flowers").rglob("*.jpg"))
    clean: dict[str, list[list[str]]] = {}
    found: dict[str, Any] = {"num_photos": len(originals), "num_planted": NUM_PLANTED, "kinds": {}}
    draw = np.random.default_rng(0)
    chosen = np.sort(draw.permutation(len(originals))[:NUM_PLANTED]).tolist()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "photos"
        folder.mkdir()
        for number, path in enumerate(originals):
            shutil.copy(path, folder / f"{number:04d}.jpg")
        for tool, search in TOOLS.items():
            pairs, seconds = search(folder)
            clean[tool] = sorted(sorted(pair) for pair in pairs)
            found[f"{tool}: seconds on the photos alone"] = round(seconds, 1)
        for place, (kind, change) in enumerate(KINDS.items()):
            for number in chosen:
                with Image.open(originals[number]) as image:
                    changed = change(image.convert("RGB"), draw)
                changed.save(folder / f"{number:04d}-{place}.jpg", quality=30 if kind.startswith("JPEG") else 90)
        for tool, search in TOOLS.items():
            pairs, seconds = search(folder)
            own = {frozenset(pair) for pair in clean[tool]}
            recall = {
                kind: sum(_is_joined(f"{number:04d}.jpg", f"{number:04d}-{place}.jpg", pairs) for number in chosen)
                for place, kind in enumerate(KINDS)
            }
            wrong = {pair for pair in pairs if len({name[:4] for name in pair}) == 2} - own
            found["kinds"][tool] = recall
            found[f"{tool}: seconds"] = round(seconds, 1)
            known = {frozenset(name[:4] for name in pair) for pair in own}
            found[f"{tool}: pairs of different photos with copies among them"] = len(
                [pair for pair in wrong if frozenset(name[:4] for name in pair) not in known]
            )
    found["pairs among the photos themselves"] = {
        tool: [[str(originals[int(name[:4])].relative_to(data / "flowers")) for name in pair] for pair in pairs][:20]
        for tool, pairs in clean.items()
    }
    found["number of pairs among the photos themselves"] = {tool: len(pairs) for tool, pairs in clean.items()}
    return found


def _is_joined(first: str, second: str, pairs: Pairs) -> bool:
    return frozenset((first, second)) in pairs


def _striate(folder: Path) -> tuple[Pairs, float]:
    began_at = time.perf_counter()
    source = folder.with_suffix(".csv")
    source.write_text("path,label\n" + "".join(f"{path.name},x\n" for path in sorted(folder.glob("*.jpg"))))
    dataset = open_source(str(source), columns=_below(folder))
    checks = check_data(dataset)
    groups = (*checks.near_duplicates, *checks.summary.copies)
    return {frozenset(pair) for group in groups for pair in itertools.combinations(group, 2)}, _since(began_at)


def _below(folder: Path) -> Any:
    from striate.data.readers.columns import Columns

    return Columns(root=str(folder))


def _imagededup(folder: Path) -> tuple[Pairs, float]:
    from imagededup.methods import PHash

    began_at = time.perf_counter()
    found = PHash(verbose=False).find_duplicates(image_dir=str(folder))
    return {frozenset((name, other)) for name, others in found.items() for other in others}, _since(began_at)


def _cleanvision(folder: Path) -> tuple[Pairs, float]:
    from cleanvision import Imagelab

    began_at = time.perf_counter()
    lab = Imagelab(data_path=str(folder), verbose=False)
    lab.find_issues({"near_duplicates": {}, "exact_duplicates": {}}, n_jobs=1, verbose=False)
    sets = [each for kind in ("near_duplicates", "exact_duplicates") for each in lab.info[kind]["sets"]]
    return {
        frozenset((Path(first).name, Path(second).name))
        for group in sets
        for first, second in itertools.combinations(group, 2)
    }, _since(began_at)


def _since(began_at: float) -> float:
    return time.perf_counter() - began_at


TOOLS = {"striate": _striate, "imagededup PHash": _imagededup, "cleanvision": _cleanvision}
