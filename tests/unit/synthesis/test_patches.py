"""Textures pixel by pixel: the tree against brute force, waves against scan order, pixels that are the sample's."""

import numpy as np
import pytest

from striate.errors import InputError
from striate.synthesis import patches
from striate.synthesis.patches import PatchConfig, causal_offsets, synthesize_from_patches
from striate.synthesis.tree_vq import build_tree, nearest, nearest_of_all
from striate.synthesis.watching import Watch


@pytest.fixture
def vectors() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(500, 6)).astype(np.float32)


def test_every_vector_finds_itself(vectors):
    tree = build_tree(vectors)
    assert nearest(tree, vectors).tolist() == list(range(500))


def test_others_find_one_nearly_as_near_as_brute_force(vectors):
    queries = vectors[::3] + np.random.default_rng(1).normal(0, 0.2, (167, 6)).astype(np.float32)
    found, best = nearest(build_tree(vectors), queries), nearest_of_all(vectors, queries)
    distances, least = (np.linalg.norm(vectors[each] - queries, axis=1) for each in (found, best))
    assert (distances >= least - 1e-6).all()
    assert (found == best).mean() > 0.7
    assert distances.mean() < 1.4 * least.mean()
    whole = build_tree(vectors, leaf_size=500)  # one leaf: nothing but brute force
    assert nearest(whole, queries).tolist() == best.tolist()


def test_equal_vectors_make_one_leaf():
    tree = build_tree(np.ones((50, 3), dtype=np.float32))
    assert len(tree.children) == 1
    assert nearest(tree, np.zeros((2, 3), dtype=np.float32)).shape == (2,)


def test_every_vector_is_in_one_leaf(vectors):
    tree = build_tree(vectors)
    leaves = tree.members[tree.children[:, 0] < 0]
    assert sorted({int(each) for row in leaves for each in row}) == list(range(500))
    assert sum(len(set(row.tolist())) for row in leaves) == 500


def test_the_neighbourhood_is_what_is_made_already():
    assert causal_offsets(1).tolist() == [[-1, -1], [-1, 0], [-1, 1], [0, -1]]
    assert len(causal_offsets(3)) == 24


def test_waves_give_what_scan_order_gives(monkeypatch):
    sample = np.random.default_rng(2).integers(0, 256, (24, 26, 3), dtype=np.uint8)
    sample[::3] //= 3
    config = PatchConfig((19, 23), radius_px=2, num_levels=2)
    made = synthesize_from_patches(sample, config).pixels

    def one_by_one(size, _radius):
        return [(np.array([y]), np.array([x])) for y in range(size[0]) for x in range(size[1])]

    monkeypatch.setattr(patches, "_waves", one_by_one)
    assert np.array_equal(synthesize_from_patches(sample, config).pixels, made)


def test_pixels_are_the_samples_and_the_seed_decides():
    sample = np.random.default_rng(3).integers(0, 256, (30, 30, 3), dtype=np.uint8)
    one, again = (synthesize_from_patches(sample, PatchConfig((25, 40), radius_px=2)).pixels for _ in range(2))
    assert one.shape == (25, 40, 3)
    assert {tuple(each) for each in one.reshape(-1, 3)} <= {tuple(each) for each in sample.reshape(-1, 3)}
    assert np.array_equal(one, again)
    assert not np.array_equal(one, synthesize_from_patches(sample, PatchConfig((25, 40), radius_px=2, seed=1)).pixels)


def test_stripes_stay_stripes():
    sample = np.zeros((48, 48, 1), dtype=np.uint8)
    sample[:, ::4] = sample[:, 1::4] = 255
    made = synthesize_from_patches(sample, PatchConfig((40, 40), num_levels=2)).pixels[8:, 8:, 0]
    assert (made == made[-1]).mean() > 0.95
    assert (made[-1] != np.roll(made[-1], 2)).mean() > 0.8
    assert (made[-1] == np.roll(made[-1], 4)).mean() > 0.8


def test_wrong_requests_are_named():
    with pytest.raises(InputError, match="sample has 6x9 pixels but neighbourhoods of 9x9"):
        synthesize_from_patches(np.zeros((6, 9, 3), np.uint8), PatchConfig((20, 20)))
    with pytest.raises(InputError, match="radius must be 1 to 16"):
        PatchConfig((20, 20), radius_px=0)


def test_a_texture_that_is_stopped_has_the_size_asked_for():
    sample = np.random.default_rng(3).integers(0, 256, (30, 30, 3), dtype=np.uint8)
    result = synthesize_from_patches(sample, PatchConfig((25, 40), radius_px=2), watch=Watch(should_stop=lambda: True))
    assert result.was_stopped
    assert result.pixels.shape == (25, 40, 3)
