"""MNIST with 5 % of its labels flipped: of the images ranked first, how many are flipped ones; the same probabilities
for striate and cleanlab.
"""

from pathlib import Path
from typing import Any

import numpy as np

from striate.data.opening import Access, open_data, pack_data
from striate.evaluation.confident_learning import rank_labels
from striate.evaluation.label_errors import PIXELS, pixel_rows, signed_roots
from striate.evaluation.nearest import out_of_fold_votes
from striate.evaluation.out_of_fold import out_of_fold_probabilities, stratified_folds

NUM_IMAGES, FRACTION, NUM_FOLDS = 20_000, 0.05, 5


def measure(data: Path) -> dict[str, Any]:
    """Precision at the number flipped, of striate's order, cleanlab's filter, and cleanlab's quality of labels."""
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    access = Access(data_dir=str(data / "mnist"))
    opened = open_data("mnist", access)
    packed = pack_data(opened, PIXELS, access)
    draw = np.random.default_rng(0)
    indices = np.sort(draw.permutation(np.flatnonzero(opened.dataset.given_splits == 0))[:NUM_IMAGES])
    labels = opened.dataset.labels[indices].copy()
    flipped = draw.permutation(len(labels))[: round(FRACTION * len(labels))]
    labels[flipped] = (labels[flipped] + draw.integers(1, 10, len(flipped))) % 10
    rows = pixel_rows(packed, indices)
    folds = stratified_folds(labels, np.arange(len(labels)), NUM_FOLDS, seed=0)
    fitted = out_of_fold_probabilities(rows, labels, folds, 10)
    probabilities = (fitted + out_of_fold_votes(signed_roots(rows), labels, folds, 10)) / 2
    orders = {
        "striate errors": rank_labels(probabilities, labels).order,
        "cleanlab, find_label_issues": find_label_issues(
            labels, probabilities, return_indices_ranked_by="self_confidence", n_jobs=1
        ),
        "cleanlab, normalized margin": np.argsort(
            get_label_quality_scores(labels, probabilities, method="normalized_margin"), kind="stable"
        ),
        "plain self-confidence": np.argsort(probabilities[np.arange(len(labels)), labels], kind="stable"),
    }
    precision = {
        name: float(np.isin(order[: len(flipped)], flipped).sum() / len(flipped)) for name, order in orders.items()
    }
    return {
        "num_images": len(labels),
        "num_flipped": len(flipped),
        "num_folds": NUM_FOLDS,
        "precision_at_number_flipped": precision,
        "num_listed": {name: len(order) for name, order in orders.items()},
    }
