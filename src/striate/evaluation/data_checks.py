"""Everything that deserves a look in a source before training: summary, near duplicates, flawed images, shortcuts,
imbalance.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from striate.data.checks.flaws import flaws
from striate.data.checks.groups import GroupSummary, summarize_groups
from striate.data.checks.image_statistics import SIDE, ImageStatistics
from striate.data.checks.near_duplicates import NearPair, grouped, near_pairs
from striate.data.checks.shortcuts import Shortcut, find_shortcuts
from striate.data.dataset import Dataset
from striate.data.decoding import MAX_PIXELS
from striate.data.readers.columns import Columns
from striate.data.readers.table import NO_COLUMNS
from striate.data.summary import DataSummary, summarize
from striate.progress import Track, track_silently
from striate.tasks.intervals import wilson_interval

LARGE_IMBALANCE = 10


@dataclass(frozen=True)
class DataChecks:
    """The findings, images by the names that the source gives them.

    `near_duplicates` are groups of images that are one another resized, encoded anew, turned, mirrored, brightened or
    cropped a little, byte-identical ones (in `summary.copies`) aside; `near_leaks` are those in several splits,
    `near_conflicts` those of several classes. `image_flaws`: kind -> images. `imbalance` is the size of the largest
    class by that of the smallest that has images. Where images have many objects, or a class for each pixel, there are
    no conflicts and shortcuts, and `imbalance` is 1.
    """

    summary: DataSummary
    near_duplicates: tuple[tuple[str, ...], ...]
    near_leaks: tuple[tuple[str, ...], ...]
    near_conflicts: tuple[tuple[str, ...], ...]
    image_flaws: dict[str, tuple[str, ...]]
    shortcuts: tuple[Shortcut, ...]
    imbalance: float
    groups: GroupSummary | None = None
    group_columns: Columns = NO_COLUMNS

    @property
    def notices(self) -> tuple[str, ...]:
        """What else one should know, in words."""
        if self.imbalance < LARGE_IMBALANCE:
            return ()
        return (
            f"the largest class has {self.imbalance:.0f} times as many images as the smallest; see --class-weights "
            "and --balanced-sampling",
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values, those of the summary among them."""
        own = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        del own["summary"], own["group_columns"]
        groups = None if self.groups is None else dataclasses.asdict(self.groups)
        shortcuts = [dataclasses.asdict(each) for each in self.shortcuts]
        return {**self.summary.to_json(), **own, "shortcuts": shortcuts, "groups": groups}


def check_data(
    dataset: Dataset,
    *,
    track: Track = track_silently,
    max_pixels: int = MAX_PIXELS,
    group_by: str | None = None,
    columns: Columns = NO_COLUMNS,
) -> DataChecks:
    """Decode every image once, and look for all of it. What is kept of an image are some 1,200 bytes.

    `dataset` is what `open_source` gives; images of more than `max_pixels` pixels count as broken. `group_by` (a
    column, "folder" or a pattern) also looks for groups that the given splits divide, `columns` being those of its CSV.
    """
    groups = None if group_by is None else summarize_groups(dataset, group_by, columns=columns)
    statistics: list[ImageStatistics | None] = []
    summary = summarize(
        dataset, track=track, max_pixels=max_pixels, on_statistics=lambda _, each: statistics.append(each)
    )
    names = [dataset.images.name(index) for index in range(len(dataset))]
    blank = np.zeros((SIDE, SIDE), np.uint8)
    pairs = near_pairs(np.stack([blank if each is None else each.grey for each in statistics]))
    near = _near_groups(pairs, names, summary)

    def named(chosen: list[list[int]]) -> tuple[tuple[str, ...], ...]:
        return tuple(tuple(names[place] for place in group) for group in chosen)

    has_one_class = dataset.objects is None and dataset.masks is None
    labels = dataset.labels if has_one_class else np.zeros(len(dataset), np.int64)
    counts = np.bincount(labels, minlength=1)
    counts = counts[counts > 0]
    return DataChecks(
        summary=summary,
        near_duplicates=named(near),
        near_leaks=named([group for group in near if len(np.unique(dataset.given_splits[group])) > 1]),
        near_conflicts=named([group for group in near if len(np.unique(labels[group])) > 1]),
        image_flaws={
            kind: tuple(names[place] for place in places) for kind, places in flaws(statistics).items() if places
        },
        shortcuts=tuple(find_shortcuts(statistics, names, labels, wilson_interval)),
        imbalance=float(counts.max() / counts.min()) if len(counts) else 1.0,
        groups=groups,
        group_columns=columns,
    )


def _near_groups(pairs: list[NearPair], names: list[str], summary: DataSummary) -> list[list[int]]:
    """Groups of near duplicates in which not all are the same bytes."""
    copy_of = {name: group[0] for group in summary.copies for name in group}
    return [group for group in grouped(pairs) if len({copy_of.get(names[place], names[place]) for place in group}) > 1]
