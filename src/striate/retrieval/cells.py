"""Cells for an approximate search of many images: rows near one of M centres lie together, and a search looks into a
few cells only (an inverted file, Jegou et al. 2011, "Product quantization for nearest neighbor search", section IV, its
rows stored whole). Centres are scikit-learn's k-means. N images, D features, n queries.
"""

import math

import numpy as np

from striate.errors import InputError
from striate.evaluation.nearest import most_similar
from striate.progress import Track, track_silently

EXACT_UP_TO = 1_000_000
"""Images up to which a search compares all."""
NUM_PROBES = 16
"""Cells that a search looks into."""
_SAMPLED_A_CELL = 40
_BLOCK_BYTES = 64_000_000


def usual_num_cells(num_images: int) -> int:
    """0 up to EXACT_UP_TO images, and then about the root of their number."""
    return 0 if num_images <= EXACT_UP_TO else round(math.sqrt(num_images))


def fit_cells(
    features: np.ndarray, num_cells: int, metric: str, *, seed: int = 0, track: Track = track_silently
) -> tuple[np.ndarray, np.ndarray]:
    """Centres (M, D) float32 and the cell of each row of features (N, D): (N,). InputError unless 1 <= M <= N.

    For cosines rows and centres are of length one. K-means sees a sample of rows.
    """
    from sklearn.cluster import MiniBatchKMeans

    if not 1 <= num_cells <= len(features):
        raise InputError(f"the number of cells must lie in [1, {len(features)}], the images, but is {num_cells}")
    rng = np.random.default_rng(seed)
    most = num_cells * _SAMPLED_A_CELL
    chosen = np.arange(len(features)) if len(features) <= most else np.sort(rng.choice(len(features), most, False))
    sample = directed(features[chosen], metric)
    means = MiniBatchKMeans(
        num_cells, init="random", batch_size=min(4096, len(sample)), n_init=1, max_iter=20, random_state=seed
    )
    means.fit(sample)
    centers = directed(means.cluster_centers_, metric)
    step = max(1, _BLOCK_BYTES // (4 * max(num_cells, features.shape[1])))
    starts = range(0, len(features), step)
    parts = []
    for start in track(starts, "sorting into cells", len(starts)):
        parts.append(_distances(directed(features[start : start + step], metric), centers).argmin(axis=1))
    return centers, np.concatenate(parts)


def search_cells(
    features: np.ndarray,
    centers: np.ndarray,
    stops: np.ndarray,
    queries: np.ndarray,
    count: int,
    metric: str,
    *,
    num_probes: int = NUM_PROBES,
) -> tuple[np.ndarray, np.ndarray, float]:
    """The most similar rows among those of the `num_probes` cells nearest to each query (n, D), as `most_similar` gives
    them: places and values (n, count), and the mean fraction of rows that were compared. More cells are looked into
    where these hold fewer than `count`.
    """
    if num_probes < 1:
        raise InputError(f"the number of cells to look into must be at least 1 but is {num_probes}")
    if not 1 <= count <= len(features):
        raise InputError(f"the number of neighbours must lie in [1, {len(features)}] but is {count}")
    starts = np.concatenate([[0], stops[:-1]])
    order = np.argsort(_distances(directed(queries, metric), centers), axis=1, kind="stable")
    places = np.empty((len(queries), count), np.int64)
    values = np.empty((len(queries), count))
    num_compared = 0
    for row, (query, cells) in enumerate(zip(queries, order, strict=True)):
        num_rows = np.cumsum(stops[cells] - starts[cells])
        num_cells = max(min(num_probes, len(cells)), int(np.searchsorted(num_rows, count)) + 1)
        chosen = np.sort(np.concatenate([np.arange(starts[cell], stops[cell]) for cell in cells[:num_cells]]))
        found, values[row : row + 1] = most_similar(features[chosen], query[None], count, metric)
        places[row] = chosen[found[0]]
        num_compared += len(chosen)
    return places, values, num_compared / (len(features) * max(1, len(queries)))


def directed(rows: np.ndarray, metric: str) -> np.ndarray:
    """Rows (n, D) float32, of length one for cosines."""
    rows = np.asarray(rows, np.float32)
    if metric != "cosine":
        return rows
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    result: np.ndarray = rows / np.maximum(lengths, np.finfo(np.float32).tiny)
    return result


def _distances(rows: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Squared distances (n, M) but for what is the same for all centres."""
    result: np.ndarray = np.einsum("md,md->m", centers, centers) - 2 * rows @ centers.T
    return result
