"""Features of many images laid out on a plane: principal components, and t-SNE. N images, D features."""

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from striate.errors import InputError

_COMPONENTS_FOR_TSNE = 50


def project(features: np.ndarray, *, seed: int = 0) -> dict[str, np.ndarray]:
    """{"pca", "tsne"}: places (N, 2) in [0, 1] of features (N, D), by the two first principal components and by t-SNE
    (van der Maaten & Hinton 2008) of the first 50; distances keep their proportions. Raises InputError for fewer than
    three images.
    """
    if len(features) < 3:
        raise InputError(f"a map needs at least 3 images but there are {len(features)}")
    components = PCA(min(_COMPONENTS_FOR_TSNE, *features.shape), random_state=seed).fit_transform(features)
    flat = components[:, :2] if components.shape[1] > 1 else np.pad(components, ((0, 0), (0, 1)))
    perplexity = min(30.0, (len(features) - 1) / 3)
    embedded = TSNE(2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(
        components.astype(np.float32)
    )
    return {"pca": _in_unit_square(flat), "tsne": _in_unit_square(embedded)}


def _in_unit_square(places: np.ndarray) -> np.ndarray:
    low, high = places.min(axis=0), places.max(axis=0)
    spread = max(float((high - low).max()), 1e-12)
    return np.asarray((places - (low + high) / 2) / spread + 0.5)
