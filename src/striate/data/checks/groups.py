"""Groups of images that belong together, beside the splits that the source gives."""

from dataclasses import dataclass

import numpy as np

from striate.data.dataset import NO_SPLIT, SPLITS, Dataset
from striate.data.image_groups import EMPTY, NO_MATCH, group_numbers, image_groups
from striate.data.readers.columns import Columns
from striate.data.readers.table import NO_COLUMNS

UNASSIGNED = "unassigned"


@dataclass(frozen=True)
class SplitGroup:
    """A group with images in several splits, and how many in each."""

    name: str
    num_images: dict[str, int]


@dataclass(frozen=True)
class GroupSummary:
    """The groups by `by`: how many there are, the largest, and those `across` several of the given splits, the largest
    first.

    `num_without` images have no group. `single_group_classes` have all their images in one group, so that no split
    which keeps groups whole can both train on them and test them.
    """

    by: str
    num_groups: int
    num_without: int
    largest: str
    largest_num_images: int
    across: tuple[SplitGroup, ...]
    single_group_classes: tuple[str, ...]


def summarize_groups(dataset: Dataset, by: str, *, columns: Columns = NO_COLUMNS) -> GroupSummary:
    """What the groups of a source are, and whether its splits divide any. Raises InputError as `image_groups` does."""
    own = np.array(image_groups(dataset, by, columns=columns), dtype=object)
    has_group = ~np.isin(own, [NO_MATCH, EMPTY])
    names, numbers = group_numbers([str(group) for group in own[has_group]])
    sizes = np.bincount(numbers, minlength=len(names))
    splits, labels = dataset.given_splits[has_group], dataset.labels[has_group]
    across = []
    for number in np.argsort(-sizes, kind="stable").tolist():
        found, counts = np.unique(splits[numbers == number], return_counts=True) if sizes[number] > 1 else ((), ())
        if len(found) > 1:
            called = [UNASSIGNED if split == NO_SPLIT else SPLITS[split] for split in found]
            across.append(SplitGroup(names[number], dict(zip(called, map(int, counts), strict=True))))
    pairs = np.unique(np.stack([labels, numbers]), axis=1)
    num_groups_of = np.bincount(pairs[0], minlength=len(dataset.class_names))
    alone = np.setdiff1d(np.flatnonzero(num_groups_of == 1), dataset.labels[~has_group])
    largest = int(sizes.argmax()) if len(sizes) else -1
    return GroupSummary(
        by=by,
        num_groups=len(names),
        num_without=int((~has_group).sum()),
        largest="" if largest < 0 else names[largest],
        largest_num_images=0 if largest < 0 else int(sizes[largest]),
        across=tuple(across),
        single_group_classes=tuple(dataset.class_names[label] for label in alone),
    )
