"""Splits into training, validation and test images: the owner's splits where given, else drawn by the
seed.

The draw depends on the seed and on the images' bytes alone, not on the order in which files are listed: within a
class, images are ordered by a keyed hash of their bytes, the first go to test, the next to validation. Byte-identical
images count as one and stay together. Each class gives in proportion to its size (largest remainders), and keeps at
least one image for training.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from striate.data.dataset import NO_SPLIT, SPLITS, Dataset, Splits
from striate.data.grouped_splits import draw_parts, join_groups
from striate.errors import DataError, InputError

_TRAIN, _VALIDATION, _TEST = range(3)
_NUM_NAMED = 3


def split_dataset(
    dataset: Dataset,
    hashes: np.ndarray,
    usable: np.ndarray,
    *,
    seed: int,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.1,
    least_classes: int = 2,
    groups: np.ndarray | None = None,
    num_folds: int = 0,
    fold: int = 0,
) -> Splits:
    """The splits of the usable images; `hashes` (N, 16) uint8 from `hash_images`, `usable` (N,) bool.

    An own test or validation split is kept as it is. Missing ones are drawn from the training images, fractions of the
    number of different images, at least one image each; but where the owner gives validation and no test, there is
    none. Images without a given split, beside others that have one, count as training images. Left out, with a notice:
    training and validation images identical to a test image, and training images identical to a validation image.
    Identical images with different labels are drawn for training only.

    `groups` (N,) int64 number the images that belong together: none of them is drawn into two splits, and those of the
    given splits that are on both sides are left out as identical ones are. With `num_folds` the test images are those
    of fold `fold` (1 to `num_folds`) of a cross-validation, whose folds are all training images; a test split that is
    given is left aside.

    Raises DataError when fewer than `least_classes` have images, a class has none to train on, or there are too few to
    validate.
    """
    if not (validation_fraction >= 0 and test_fraction >= 0 and validation_fraction + test_fraction < 1):
        raise InputError(
            f"validation and test fractions must be 0 or more and leave images to train on "
            f"but are {validation_fraction:g} and {test_fraction:g}"
        )
    usable = usable & hashes.any(axis=1)
    _check_classes(dataset, usable, least_classes)
    copies = _number_copies(hashes)
    notices = _conflict_notices(dataset, copies, usable)
    assigned = np.where(usable, _own_splits(dataset, usable, notices), NO_SPLIT)
    _leave_out_leaks(dataset, copies, assigned, notices, "identical to")
    units = copies
    if groups is not None:
        units = np.full(len(dataset), -1)
        units[usable] = join_groups(copies[usable], groups[usable])
        _leave_out_leaks(dataset, units, assigned, notices, "in one group with")
    if num_folds and (given := assigned == _TEST).any():
        notices.append(
            f"left aside, the test part of the source: {_examples(dataset, given)}; evaluate on it at the end"
        )
        assigned[given] = NO_SPLIT
    _check_training(dataset, assigned)
    has_own_validation, has_own_test = (bool((assigned == split).any()) for split in (_VALIDATION, _TEST))
    wanted_test = 0.0 if has_own_validation or has_own_test else test_fraction
    wanted_validation = 0.0 if has_own_validation else validation_fraction
    if groups is None and not num_folds:
        _draw(dataset, hashes, copies, assigned, seed, {_TEST: wanted_test, _VALIDATION: wanted_validation}, notices)
    else:
        keys = [_keyed(seed, bytes(row)) for row in hashes]
        if num_folds:
            parts = _draw_groups(dataset, units, keys, assigned, (1 / num_folds,) * num_folds)
            assigned[parts == fold - 1] = _TEST
            wanted_test = 0.0
        fractions = (1 - wanted_test - wanted_validation, wanted_validation, wanted_test)
        if sum(fractions[1:]):
            parts = _draw_groups(dataset, units, keys, assigned, fractions, first_has_all=True)
            for split in (_VALIDATION, _TEST):
                assigned[parts == split] = split
    notices += _missing_class_notices(dataset, assigned)
    if not (assigned == _TEST).any():
        notices.append("there is no test split: figures on validation flatter, because it also chooses the best epoch")
    train, validation, test = (np.flatnonzero(assigned == split).astype(np.int64) for split in range(len(SPLITS)))
    return Splits(train=train, validation=validation, test=test, notices=tuple(notices))


def digest(splits: Splits) -> str:
    """64 hexadecimal digits that stand for which image is in which split."""
    state = hashlib.sha256()
    for name in SPLITS:
        indices = splits[name].astype("<i8")
        state.update(f"{name} {len(indices)}\0".encode())
        state.update(indices.tobytes())
    return state.hexdigest()


def find_copies(hashes: np.ndarray, among: np.ndarray) -> list[np.ndarray]:
    """Groups of two or more byte-identical images, of those with `among` (N,) true: sorted indices, by the first."""
    copies = _number_copies(hashes)
    indices = np.flatnonzero(among & hashes.any(axis=1))
    indices = indices[np.argsort(copies[indices], kind="stable")]
    starts = np.flatnonzero(np.diff(copies[indices])) + 1
    groups = [group for group in np.split(indices, starts) if len(group) > 1]
    return sorted(groups, key=lambda group: int(group[0]))


def _number_copies(hashes: np.ndarray) -> np.ndarray:
    """(N,) a number for each image, the same for identical ones."""
    rows = np.ascontiguousarray(hashes).view(np.dtype((np.void, hashes.shape[1])))[:, 0]
    return np.unique(rows, return_inverse=True)[1].reshape(-1)


def _own_splits(dataset: Dataset, usable: np.ndarray, notices: list[str]) -> np.ndarray:
    """(N,) the given splits, with everything in training that has none, which is noted."""
    without = usable & (dataset.given_splits == NO_SPLIT)
    if without.any() and not without[usable].all():
        notices.append(f"{_examples(dataset, without)} have no split in the source and count as training images")
    return np.where(dataset.given_splits == NO_SPLIT, _TRAIN, dataset.given_splits).astype(np.int64)


def _leave_out_leaks(dataset: Dataset, copies: np.ndarray, assigned: np.ndarray, notices: list[str], how: str) -> None:
    """Take out of `assigned` what is also in the split that evaluates it, and note it."""
    for kept, left in ((_TEST, _VALIDATION), (_TEST, _TRAIN), (_VALIDATION, _TRAIN)):
        leaks = (assigned == left) & np.isin(copies, copies[assigned == kept])
        if leaks.any():
            assigned[leaks] = NO_SPLIT
            notices.append(f"left out of {SPLITS[left]}, {how} images of {SPLITS[kept]}: {_examples(dataset, leaks)}")


def _draw_groups(
    dataset: Dataset,
    units: np.ndarray,
    keys: list[bytes],
    assigned: np.ndarray,
    fractions: tuple[float, ...],
    *,
    first_has_all: bool = False,
) -> np.ndarray:
    """(N,) the part of each training image, -1 for all others."""
    pool = np.flatnonzero(assigned == _TRAIN)
    parts = np.full(len(dataset), -1)
    parts[pool] = draw_parts(
        dataset.labels[pool], units[pool], [keys[index] for index in pool], fractions, first_has_all=first_has_all
    )
    return parts


@dataclass(frozen=True)
class _Pool:
    """Different images of one class that may be drawn, in the order in which they are: numbers of copies."""

    class_name: str
    copies: Sequence[int]

    @property
    def capacity(self) -> int:
        """Number that can be given away with one left to train on."""
        return max(0, len(self.copies) - 1)


def _draw(
    dataset: Dataset,
    hashes: np.ndarray,
    copies: np.ndarray,
    assigned: np.ndarray,
    seed: int,
    fractions: Mapping[int, float],
    notices: list[str],
) -> None:
    """Move training images, in `assigned`, to the splits with a fraction above 0, test first, and note what falls
    short.
    """
    if not any(fractions.values()):
        return
    pools = _pools(dataset, hashes, copies, assigned == _TRAIN, seed)
    num_different = sum(len(pool.copies) for pool in pools)
    capacity = sum(pool.capacity for pool in pools)
    wanted = {split: max(1, int(share * num_different + 0.5)) if share else 0 for split, share in fractions.items()}
    kept_back = min(1, wanted[_VALIDATION])
    if capacity < kept_back:
        raise DataError(
            f"{dataset.source} has too few images: no class has two different ones, so none can be set apart to "
            "validate; add images, or give some in a folder val"
        )
    num_test = min(wanted[_TEST], capacity - kept_back)
    num_validation = min(wanted[_VALIDATION], capacity - num_test)
    if num_test < wanted[_TEST]:
        notices.append(f"too few images to set {wanted[_TEST]} apart for test: {num_test} are")
    for_test = _allocate(pools, [pool.capacity for pool in pools], num_test, seed)
    left = [pool.capacity - taken for pool, taken in zip(pools, for_test, strict=True)]
    for_validation = _allocate(pools, left, num_validation, seed)
    destination = np.full(copies.max() + 1, _TRAIN)
    for pool, first, second in zip(pools, for_test, for_validation, strict=True):
        destination[list(pool.copies[:first])] = _TEST
        destination[list(pool.copies[first : first + second])] = _VALIDATION
    drawn = assigned == _TRAIN
    assigned[drawn] = destination[copies[drawn]]


def _pools(dataset: Dataset, hashes: np.ndarray, copies: np.ndarray, among: np.ndarray, seed: int) -> list[_Pool]:
    """Number of images that each class can give, in the order of class names; identical images with several labels
    belong to none.
    """
    labels_of: dict[int, set[int]] = {}
    key_of: dict[int, bytes] = {}
    for index in np.flatnonzero(among):
        number = int(copies[index])
        labels_of.setdefault(number, set()).add(int(dataset.labels[index]))
        if number not in key_of:
            key_of[number] = _keyed(seed, bytes(hashes[index]))
    of_class: dict[str, list[int]] = {}
    for number, labels in labels_of.items():
        if len(labels) == 1:
            of_class.setdefault(dataset.class_names[min(labels)], []).append(number)
    return [_Pool(name, sorted(of_class[name], key=key_of.__getitem__)) for name in sorted(of_class)]


def _allocate(pools: Sequence[_Pool], capacities: Sequence[int], total: int, seed: int) -> list[int]:
    """Divide `total` over the classes: in proportion, by largest remainders, within the capacities."""
    num_all = sum(len(pool.copies) for pool in pools)
    shares = [min(len(pool.copies) * total // num_all, room) for pool, room in zip(pools, capacities, strict=True)]
    order = sorted(
        range(len(pools)),
        key=lambda i: (-(len(pools[i].copies) * total % num_all), _keyed(seed, pools[i].class_name.encode())),
    )
    left = total - sum(shares)
    while left:
        for i in order:
            if left and shares[i] < capacities[i]:
                shares[i] += 1
                left -= 1
    return shares


def _keyed(seed: int, data: bytes) -> bytes:
    """A number drawn for `data` by the seed, as bytes that sort like it."""
    return hashlib.blake2b(data, digest_size=16, key=str(seed).encode()[:64]).digest()


def _check_classes(dataset: Dataset, usable: np.ndarray, least_classes: int) -> None:
    if not usable.any():
        raise DataError(f"{dataset.source}: none of its {len(dataset)} images can be read")
    present = np.unique(dataset.labels[usable])
    if len(present) < least_classes:
        raise DataError(
            f"{dataset.source} has images of one class only, {dataset.class_names[present[0]]!r}; "
            "training needs at least two classes, each in a folder of its own"
        )


def _check_training(dataset: Dataset, assigned: np.ndarray) -> None:
    """Raise DataError where a class is to be evaluated that was never trained on."""
    for split in (_TEST, _VALIDATION):
        lacking = np.setdiff1d(dataset.labels[assigned == split], dataset.labels[assigned == _TRAIN])
        if len(lacking):
            raise DataError(
                f"{dataset.source}: {SPLITS[split]} has images of {_named(dataset, lacking)} but train has none of its "
                "own; move some to train or take them out"
            )


def _missing_class_notices(dataset: Dataset, assigned: np.ndarray) -> list[str]:
    """A line for each split that lacks classes: training of all, the others of those trained on; none where pixels have
    them.
    """
    if dataset.masks is not None:
        return []
    trained = np.unique(dataset.labels[assigned == _TRAIN])
    all_classes = np.arange(len(dataset.class_names))
    notices = []
    for split, expected in ((_TRAIN, all_classes), (_VALIDATION, trained), (_TEST, trained)):
        missing = np.setdiff1d(expected, dataset.labels[assigned == split])
        if len(missing) and (assigned == split).any():
            notices.append(f"{SPLITS[split]} has no image of {_named(dataset, missing)}")
    return notices


def _conflict_notices(dataset: Dataset, copies: np.ndarray, usable: np.ndarray) -> list[str]:
    """A line on identical images that carry different labels, if there are any."""
    pairs = np.unique(np.stack([copies[usable], dataset.labels[usable]]), axis=1)
    numbers, counts = np.unique(pairs[0], return_counts=True)
    conflicting = usable & np.isin(copies, numbers[counts > 1])
    return [f"identical images with different labels: {_examples(dataset, conflicting)}"] if conflicting.any() else []


def _examples(dataset: Dataset, chosen: np.ndarray) -> str:
    """The number of images and the names of the first few: 12 images (a.jpg, b.jpg, c.jpg, ...)."""
    indices = np.flatnonzero(chosen)
    names = [dataset.images.name(int(index)) for index in indices[:_NUM_NAMED]]
    return f"{len(indices)} image{'s' * (len(indices) > 1)} ({_shortened(names, len(indices))})"


def _named(dataset: Dataset, labels: np.ndarray) -> str:
    """The class, or how many classes and the names of the first few: 12 classes ('a', 'b', 'c', ...)."""
    names = [repr(dataset.class_names[label]) for label in labels[:_NUM_NAMED]]
    return f"class {names[0]}" if len(labels) == 1 else f"{len(labels)} classes ({_shortened(names, len(labels))})"


def _shortened(names: list[str], total: int) -> str:
    return ", ".join([*names, "..."] if total > len(names) else names)
