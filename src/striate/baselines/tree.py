"""A decision tree on pixels, and the smallest change that leads to another leaf. N images, D pixel values, K classes.

The tree is scikit-learn's. Papernot, McDaniel & Goodfellow 2016 (arXiv:1605.07277, algorithm 2) search the leaves near
the one that an image falls into; here all leaves are searched, so that no smaller change of the largest pixel value
exists.
"""

from dataclasses import dataclass

import numpy as np
from sklearn.tree import DecisionTreeClassifier


@dataclass(frozen=True, eq=False)
class Tree:
    """Nodes in an order where parents come first. `left`, `right` (n,): children, -1 at leaves. An image goes left
    where its value `features[node]` is at most `thresholds[node]` (float32). `classes` (n,) are the majorities.
    """

    left: np.ndarray
    right: np.ndarray
    features: np.ndarray
    thresholds: np.ndarray
    classes: np.ndarray
    num_classes: int

    def leaves_of(self, pixels: np.ndarray) -> np.ndarray:
        """The leaf of each row of pixels (N, D) float32, (N,)."""
        nodes = np.zeros(len(pixels), np.int64)
        while (inner := self.left[nodes] >= 0).any():
            rows = np.flatnonzero(inner)
            own = nodes[rows]
            goes_left = pixels[rows, self.features[own]] <= self.thresholds[own]
            nodes[rows] = np.where(goes_left, self.left[own], self.right[own])
        return nodes

    def votes(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels (N, D) float32 -> a one for the class of the leaf (N, K) float32."""
        result: np.ndarray = np.eye(self.num_classes, dtype=np.float32)[self.classes[self.leaves_of(pixels)]]
        return result


def fit_tree(pixels: np.ndarray, labels: np.ndarray, num_classes: int, *, seed: int = 0) -> Tree:
    """The tree that scikit-learn grows on pixels (N, D) with labels (N,), at least three images a leaf."""
    fitted = DecisionTreeClassifier(min_samples_leaf=3, random_state=seed).fit(pixels, labels)
    grown = fitted.tree_
    return Tree(
        grown.children_left.astype(np.int64),
        grown.children_right.astype(np.int64),
        np.maximum(grown.feature, 0).astype(np.int64),
        _down(grown.threshold),
        fitted.classes_[grown.value[:, 0].argmax(axis=1)].astype(np.int64),
        num_classes,
    )


def nearest_other_leaf(tree: Tree, pixels: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Pixels (N, D) float32 in [0, 1], each moved into the leaf of a class that is not its label, by the least largest
    change.

    Images whose tree has no leaf of another class stay as they are.
    """
    distances = np.zeros((len(tree.left), len(pixels)), np.float32)
    parents = np.full(len(tree.left), -1)
    for node in np.flatnonzero(tree.left >= 0):
        values, threshold = pixels[:, tree.features[node]], tree.thresholds[node]
        distances[tree.left[node]] = np.maximum(distances[node], values - threshold)
        distances[tree.right[node]] = np.maximum(distances[node], _above(threshold) - values)
        parents[[tree.left[node], tree.right[node]]] = node
    leaves = np.flatnonzero(tree.left < 0)
    distances[leaves] = np.where(tree.classes[leaves][:, None] == labels, np.inf, distances[leaves])
    chosen = leaves[distances[leaves].argmin(axis=0)]
    result = pixels.copy()
    for row, leaf in enumerate(chosen):
        if np.isfinite(distances[leaf, row]):
            _enter(tree, parents, leaf, result[row])
    return result


def _enter(tree: Tree, parents: np.ndarray, leaf: int, pixels: np.ndarray) -> None:
    """Move the pixels (D,) into the leaf, in place; each of its conditions is met by the nearest value that does."""
    child, node = leaf, parents[leaf]
    while node >= 0:
        feature, threshold = tree.features[node], tree.thresholds[node]
        if child == tree.left[node]:
            pixels[feature] = min(pixels[feature], threshold)
        else:
            pixels[feature] = max(pixels[feature], _above(threshold))
        child, node = node, parents[node]


def _down(values: np.ndarray) -> np.ndarray:
    """The largest float32 numbers that are not above float64 ones: float32 numbers compare with both alike."""
    rounded = values.astype(np.float32)
    return np.where(rounded > values, np.nextafter(rounded, np.float32(-np.inf)), rounded).astype(np.float32)


def _above(threshold: np.float32) -> np.float32:
    return np.nextafter(threshold, np.float32(np.inf))
