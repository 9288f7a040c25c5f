"""Tree-structured vector quantisation: a nearly nearest vector in logarithmic time (Gersho & Gray 1992; Wei & Levoy
2000, section 3.1).

M vectors, D numbers each, Q queries.
"""

from dataclasses import dataclass

import numpy as np

_LLOYD_STEPS = 6
_LEAF_SIZE = 8


@dataclass(frozen=True, eq=False)
class Tree:
    """A binary tree over vectors (M, D) float32.

    `children` (T, 2) are node numbers, -1 in leaves; `centres` (T, D) are the means of the vectors below; `members` (T,
    L) are numbers of vectors in leaves, the last one repeated to fill the row.
    """

    vectors: np.ndarray
    children: np.ndarray
    centres: np.ndarray
    members: np.ndarray


def build_tree(vectors: np.ndarray, *, leaf_size: int = _LEAF_SIZE) -> Tree:
    """Split vectors (M, D) in two by Lloyd's algorithm again and again until at most `leaf_size` are left together."""
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    children: list[list[int]] = []
    centres: list[np.ndarray] = []
    members: list[np.ndarray] = []

    def add(numbers: np.ndarray) -> int:
        children.append([-1, -1])
        centres.append(vectors[numbers].mean(axis=0))
        members.append(np.resize(numbers[-1:], leaf_size))
        return len(children) - 1

    waiting = [(add(np.arange(len(vectors))), np.arange(len(vectors)))]
    while waiting:
        node, numbers = waiting.pop()
        halves = _split(vectors[numbers]) if len(numbers) > leaf_size else None
        if halves is None:
            kept = numbers[:leaf_size]  # more only where all are equal
            members[node] = np.concatenate((kept, np.full(leaf_size - len(kept), kept[-1])))
            continue
        for side, (is_inside, centre) in enumerate(halves):
            inside = numbers[is_inside]
            children[node][side] = add(inside)
            centres[children[node][side]] = centre
            waiting.append((children[node][side], inside))
    return Tree(vectors, np.array(children), np.stack(centres), np.stack(members))


def nearest(tree: Tree, queries: np.ndarray) -> np.ndarray:
    """For queries (Q, D) the numbers (Q,) of vectors close to each: down the nearer child, then the nearest in the
    leaf.

    A query that equals one of the vectors finds it, or its equal.
    """
    nodes = np.zeros(len(queries), dtype=np.int64)
    while True:
        below = tree.children[nodes]  # (Q, 2)
        is_inner = below[:, 0] >= 0
        if not is_inner.any():
            break
        rows = np.flatnonzero(is_inner)
        distances = np.square(tree.centres[below[rows]] - queries[rows, None]).sum(axis=2)
        nodes[rows] = below[rows, (distances[:, 1] < distances[:, 0]).astype(np.int64)]
    candidates = tree.members[nodes]  # (Q, L)
    distances = np.square(tree.vectors[candidates] - queries[:, None]).sum(axis=2)
    return candidates[np.arange(len(queries)), distances.argmin(axis=1)]


def nearest_of_all(vectors: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """The numbers (Q,) of the truly nearest of vectors (M, D), by comparing with every one."""
    return np.array([np.square(vectors - query).sum(axis=1).argmin() for query in queries])


def _split(vectors: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]] | None:
    """Two groups, as masks (M,), with the centres that tell them apart; None where all vectors are equal.

    It begins along the coordinate of the largest variance. Every vector lies with the centre that is nearer to it.
    """
    axis = int(vectors.var(axis=0).argmax())
    is_high = vectors[:, axis] > vectors[:, axis].mean()
    if not is_high.any() or is_high.all():
        return None
    for step in range(_LLOYD_STEPS):
        low, high = vectors[~is_high].mean(axis=0), vectors[is_high].mean(axis=0)
        moved = np.square(vectors - high).sum(axis=1) < np.square(vectors - low).sum(axis=1)
        is_settled = step > 0 and np.array_equal(moved, is_high)
        is_high = moved
        if not is_high.any() or is_high.all():
            return None
        if is_settled:
            break
    return [(~is_high, low), (is_high, high)]
