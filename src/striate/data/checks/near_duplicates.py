"""Near duplicates: images that are one another resized, encoded anew, turned by quarters, mirrored, cropped a little or
brightened.

A 63-bit perceptual hash proposes pairs: signs of the lowest frequencies of the discrete cosine transform of 32 x 32
grey pixels (Zauner 2010). Mirroring and turning only changes signs and places of frequencies, so that the hashes of all
eight orientations follow from one transform. The correlation of pixels confirms a pair, where it stands out from that
with other images of the set. N images.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from striate.data.checks.image_statistics import SIDE

_FREQUENCIES = 8
_NUM_BITS = _FREQUENCIES**2 - 1
_MOST_COMPARED = 6_000
"""Up to so many images every hash is compared with every other, also of cropped images; beyond, tables of parts of the
hash propose.
"""
_NEAR_BITS, _TABLE_BITS = 14, 8
_NUM_TABLES, _KEY_BITS = 14, 16
_LARGEST_BUCKET = 200
"""Larger buckets hold images without features of their own, such as black ones."""
_LOOKED_AT_ONCE = 4_000_000
_LEAST_CORRELATION, _LEAST_ROUGH = 0.94, 0.75
"""What makes a pair, and what a window must reach for others about it to be tried."""
_DISTINCT = 0.1
"""A pair's distance, 1 - correlation, is at most this fraction of that to what the images are usually like."""
_MOST_SAMPLED, _NUM_ALIKE, _FEWEST_USUAL = 1_000, 5, 20
_LENGTHS, _SHIFTS = (27.2, 28.8, 30.4), (-1.6, -0.8, 0.0, 0.8, 1.6)
_LEAST_SPREAD = 4.0
_CUT = 0.1
_PAIRS_AT_ONCE = 4_000
Orientation: TypeAlias = tuple[tuple[int, int], bool]
Window: TypeAlias = tuple[slice, slice]
_MIRRORS = ((0, 0), (0, 1), (1, 0), (1, 1))
ORIENTATIONS: tuple[Orientation, ...] = tuple(
    (mirrors, is_turned) for is_turned in (False, True) for mirrors in _MIRRORS
)
"""((mirrored vertically, mirrored horizontally), rows and columns exchanged before)."""


@dataclass(frozen=True)
class NearPair:
    """Images `first` < `second` by their places, and the correlation of their pixels, the one laid over the other."""

    first: int
    second: int
    correlation: float


def near_pairs(greys: np.ndarray) -> list[NearPair]:
    """The pairs of near duplicates among grey images (N, 32, 32) uint8, sorted. Images without contrast have none."""
    spreads = greys.reshape(len(greys), -1).std(axis=1)
    rows = np.flatnonzero(spreads >= _LEAST_SPREAD)
    if len(rows) < 2:
        return []
    greys = greys[rows]
    usual = _Usual(greys)
    found: dict[tuple[int, int], float] = {}
    for pairs, orientation, window in _proposed(greys):
        correlations = _correlations(greys, pairs, orientation, window)
        near = np.flatnonzero(correlations >= (_LEAST_CORRELATION if window is None else _LEAST_ROUGH))
        pairs, correlations = pairs[near], correlations[near]
        if not len(pairs):
            continue
        others = usual.of(pairs)
        if window is not None:
            for place in np.flatnonzero((correlations < _LEAST_CORRELATION) & (correlations > others)).tolist():
                first, second = greys[pairs[place]]
                correlations[place] = _best_cut(first, second, orientation, window)
        are_alike = (correlations >= _LEAST_CORRELATION) & (1 - correlations <= _DISTINCT * (1 - others))
        for pair, value in zip(rows[pairs[are_alike]].tolist(), correlations[are_alike].tolist(), strict=True):
            key = (min(pair), max(pair))
            found[key] = max(value, found.get(key, 0.0))
    return [NearPair(*pair, found[pair]) for pair in sorted(found)]


class _Usual:
    """How alike an image is to others of its set: its fifth largest correlation with a thousand of them, in any
    orientation.

    Sets whose images are all alike, such as digits, have no near duplicates but those that stand out from this. Fewer
    than twenty images tell nothing of what is usual.
    """

    def __init__(self, greys: np.ndarray) -> None:
        self.greys = greys
        self.sample = np.unique(np.linspace(0, len(greys) - 1, min(_MOST_SAMPLED, len(greys))).astype(np.int64))
        self.known = np.full(len(greys), np.nan if len(greys) >= _FEWEST_USUAL else 0.0)

    def of(self, pairs: np.ndarray) -> np.ndarray:
        """Of pairs (n, 2) the larger of their two images' (n,)."""
        wanted = np.unique(pairs)
        wanted = wanted[np.isnan(self.known[wanted])]
        sample = _standard(self.greys[self.sample])
        for start in range(0, len(wanted), _PAIRS_AT_ONCE):
            rows = wanted[start : start + _PAIRS_AT_ONCE]
            best = np.full((len(rows), len(sample)), -1.0, np.float32)
            for orientation in ORIENTATIONS:
                np.maximum(best, _standard(turned_pixels(self.greys[rows], orientation)) @ sample.T, out=best)
            best[rows[:, None] == self.sample] = -1
            self.known[rows] = np.partition(best, -_NUM_ALIKE, axis=1)[:, -_NUM_ALIKE]
        result: np.ndarray = self.known[pairs].max(axis=1)
        return result


def grouped(pairs: list[NearPair]) -> list[list[int]]:
    """Images joined by pairs, as groups of two or more, each sorted."""
    parent: dict[int, int] = {}

    def root(place: int) -> int:
        while parent.setdefault(place, place) != place:
            parent[place] = parent[parent[place]]
            place = parent[place]
        return place

    for pair in pairs:
        parent[root(pair.second)] = root(pair.first)
    groups: dict[int, list[int]] = {}
    for place in sorted(parent):
        groups.setdefault(root(place), []).append(place)
    return sorted(groups.values())


def transform(greys: np.ndarray) -> np.ndarray:
    """The lowest frequencies of the discrete cosine transform (type II): (N, h, w) -> (N, 8, 8) float32."""
    rows, columns = (_cosines(extent) for extent in greys.shape[1:])
    return np.einsum("ur,nrc,vc->nuv", rows, greys.astype(np.float32), columns, optimize=True)


def signs_of(frequencies: np.ndarray) -> np.ndarray:
    """(N, 8, 8) -> signs (N, 63) of all but the mean, -1 or 1."""
    flat = frequencies.reshape(len(frequencies), -1)[:, 1:]
    return np.where(flat > 0, np.float32(1), np.float32(-1))


def oriented(frequencies: np.ndarray, orientation: Orientation) -> np.ndarray:
    """The frequencies (N, 8, 8) of the mirrored or transposed image: a mirror changes the sign of odd ones."""
    (vertical, horizontal), is_transposed = orientation
    turned = frequencies.transpose(0, 2, 1) if is_transposed else frequencies
    odd = np.where(np.arange(_FREQUENCIES) % 2, -1, 1).astype(np.float32)
    if vertical:
        turned = turned * odd[:, None]
    return turned * odd if horizontal else turned


def turned_pixels(greys: np.ndarray, orientation: Orientation) -> np.ndarray:
    """The images (N, h, w) themselves in an orientation."""
    (vertical, horizontal), is_transposed = orientation
    turned = greys.transpose(0, 2, 1) if is_transposed else greys
    turned = turned[:, ::-1] if vertical else turned
    return turned[:, :, ::-1] if horizontal else turned


def _proposed(greys: np.ndarray) -> Iterator[tuple[np.ndarray, Orientation, Window | None]]:
    """Pairs of places (n, 2) whose hashes are near, the first image in an orientation, whole or cut to a window."""
    if len(greys) > _MOST_COMPARED:
        for orientation, pairs in proposed_by_tables(transform(greys)):
            for portion in _portions(pairs):
                yield portion, orientation, None
        return
    stored = signs_of(transform(greys))
    near = _NUM_BITS - 2 * _NEAR_BITS  # of the product of signs
    for window in (None, *_windows(SIDE)):
        frequencies = transform(greys if window is None else greys[:, window[0], window[1]])
        for orientation in ORIENTATIONS:
            hits = np.argwhere(signs_of(oriented(frequencies, orientation)) @ stored.T >= near)
            hits = hits[hits[:, 0] < hits[:, 1]] if window is None else hits[hits[:, 0] != hits[:, 1]]
            for portion in _portions(hits):
                yield portion, orientation, window


def proposed_by_tables(frequencies: np.ndarray) -> Iterator[tuple[Orientation, np.ndarray]]:
    """Pairs (n, 2) whose hashes, of frequencies (N, 8, 8), differ in at most 8 bits, for each orientation of the first;
    found through tables of 16 of the bits each. Of pairs that differ in 3 bits all but some in a thousand are found, of
    those in 6 about nine in ten.
    """
    stored = signs_of(frequencies) > 0
    rng = np.random.default_rng(0)
    packed = _packed(stored)
    chosen = [rng.permutation(_NUM_BITS)[:_KEY_BITS] for _ in range(_NUM_TABLES)]
    orders = [np.argsort(_keys(stored, bits), kind="stable") for bits in chosen]
    for orientation in ORIENTATIONS:
        queries = signs_of(oriented(frequencies, orientation)) > 0
        asked_for = _packed(queries)
        pairs = [np.zeros((0, 2), np.int64)]
        for bits, order in zip(chosen, orders, strict=True):
            for asked, other in _same_key(_keys(queries, bits), _keys(stored, bits)[order], order):
                is_near = (asked < other) & (np.bitwise_count(asked_for[asked] ^ packed[other]) <= _TABLE_BITS)
                pairs.append(np.stack([asked[is_near], other[is_near]], axis=1))
        yield orientation, np.unique(np.concatenate(pairs), axis=0)


def _same_key(wanted: np.ndarray, keys: np.ndarray, order: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Places that ask for a key and places that have it, one pair a row, in portions; `keys` are sorted, those of
    `order`.
    """
    start = np.searchsorted(keys, wanted, "left")
    count = np.searchsorted(keys, wanted, "right") - start
    count[count > _LARGEST_BUCKET] = 0
    for part in np.array_split(np.arange(len(wanted)), 1 + int(count.sum()) // _LOOKED_AT_ONCE):
        asked = np.repeat(part, count[part])
        before = np.repeat(np.cumsum(count[part]) - count[part], count[part])
        yield asked, order[np.repeat(start[part], count[part]) + np.arange(len(asked)) - before]


def _correlations(greys: np.ndarray, pairs: np.ndarray, orientation: Orientation, window: Window | None) -> np.ndarray:
    """The correlation (n,) of the first images of pairs (n, 2), in an orientation and cut to a window, with the
    second.
    """
    first = greys[pairs[:, 0]]
    if window is not None:
        first = _enlarged(first[:, window[0], window[1]])
    return (_standard(turned_pixels(first, orientation)) * _standard(greys[pairs[:, 1]])).sum(axis=1)


def _best_cut(first: np.ndarray, second: np.ndarray, orientation: Orientation, window: Window) -> float:
    """The largest correlation of two images, the first cut to windows of several sizes about the given one."""
    target = _standard(second[None])[0]
    best = -1.0
    for length in _LENGTHS:
        rows, columns = (
            np.stack(
                [_stretching(float(np.clip(side.start + shift, 0, SIDE - length)), length, SIDE) for shift in _SHIFTS]
            )
            for side in window
        )
        cut = np.einsum("air,rc,bjc->abij", rows, first.astype(np.float32), columns, optimize=True)
        turned = turned_pixels(cut.reshape(-1, SIDE, SIDE), orientation)
        best = max(best, float((_standard(turned) @ target).max()))
    return best


def _windows(side: int) -> list[Window]:
    """Nine windows with a tenth of each side cut away."""
    cut = round(_CUT * side)
    spans = [slice(start, start + side - cut) for start in (0, cut // 2, cut)]
    return [(row, column) for row in spans for column in spans]


def _enlarged(greys: np.ndarray) -> np.ndarray:
    """Images (n, h, w) bilinearly stretched to 32 x 32."""
    rows, columns = (_stretching(0.0, extent, extent) for extent in greys.shape[1:])
    return np.einsum("ir,nrc,jc->nij", rows, greys.astype(np.float32), columns, optimize=True)


def _stretching(start: float, length: float, extent: int) -> np.ndarray:
    """The matrix (32, extent) that stretches the pixels from `start` on to 32 by linear interpolation."""
    places = np.clip(start + (np.arange(SIDE) + 0.5) * length / SIDE - 0.5, 0, extent - 1)
    low = np.minimum(places.astype(int), extent - 2)
    matrix = np.zeros((SIDE, extent), np.float32)
    matrix[np.arange(SIDE), low] = 1 - (places - low)
    matrix[np.arange(SIDE), low + 1] += places - low
    return matrix


def _standard(greys: np.ndarray) -> np.ndarray:
    """Pixels (n, 1024) with mean 0 and length 1."""
    flat = greys.reshape(len(greys), -1).astype(np.float32)
    flat = flat - flat.mean(axis=1, keepdims=True)
    result: np.ndarray = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)
    return result


def _cosines(extent: int) -> np.ndarray:
    """(8, extent): the lowest cosines over so many pixels."""
    places = (np.arange(extent) + 0.5) / extent
    return np.cos(np.pi * np.arange(_FREQUENCIES)[:, None] * places).astype(np.float32)


def _packed(bits: np.ndarray) -> np.ndarray:
    """Bits (N, 63) as (N,) uint64."""
    padded = np.pad(bits, ((0, 0), (0, 64 - bits.shape[1])))
    return np.ascontiguousarray(np.packbits(padded, axis=1)).view(np.uint64)[:, 0]


def _keys(bits: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """The chosen 16 of bits (N, 63) as (N,) uint16."""
    return np.ascontiguousarray(np.packbits(bits[:, chosen], axis=1)).view(np.uint16)[:, 0]


def _portions(pairs: np.ndarray) -> Iterator[np.ndarray]:
    """Pairs in portions."""
    for start in range(0, len(pairs), _PAIRS_AT_ONCE):
        yield pairs[start : start + _PAIRS_AT_ONCE]
