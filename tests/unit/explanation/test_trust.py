"""Sanity check, deletion and insertion curves, pointing game, cut-out: on networks and maps whose results are known."""

import numpy as np
import pytest
import torch
from torch import nn

from explanation_cases import TwoModules
from striate.errors import InputError
from striate.explanation.curves import blur, deletion_and_insertion, edge_map, mean_interval, random_map, summarise
from striate.explanation.cutout import cut_out, on_nothing
from striate.explanation.methods import METHODS, Method, find_methods
from striate.explanation.pointing import energy_inside, pointing_game, points_at
from striate.explanation.sanity import check_sanity, rank_correlation


def test_a_map_that_ignores_the_weights_is_found_and_one_that_follows_them_is_not():
    network, images, labels = TwoModules(), torch.randn(4, 3, 16, 16), torch.tensor([0, 1, 2, 3])
    blind = Method("blind", lambda _network, images, classes: edge_map(images), "none")  # noqa: ARG005
    before = [param.clone() for param in network.parameters()]
    checks = check_sanity(
        network, images, labels, [blind, *find_methods(["saliency", "gradient_x_input"])], num_stages=3
    )
    assert checks[0].similarities == pytest.approx((1, 1, 1))
    assert not checks[0].depends_on_weights
    assert checks[1].layers == ("head", "second", "first")
    assert checks[1].similarities[-1] < 0.8  # the border stays the border
    assert all(torch.equal(one, other) for one, other in zip(before, network.parameters(), strict=True))
    assert checks[0].to_json()["stages"][0] == {"layer": "head", "rank_correlation": pytest.approx(1)}


def test_rank_correlation_by_hand():
    assert rank_correlation(np.array([[1.0, 2, 3]]), np.array([[-10.0, 20, -30]])) == pytest.approx(1)
    assert rank_correlation(np.array([[1.0, 2, 3]]), np.array([[3.0, 2, 1]])) == pytest.approx(-1)
    assert np.isnan(rank_correlation(np.ones((1, 3)), np.array([[3.0, 2, 1]])))


def test_curves_of_a_network_that_counts_pixels():
    """Two classes, the first one's logit the number of white pixels: deleting white ones first is the steepest way
    down.
    """

    class Counting(nn.Module):
        def forward(self, images):
            count = images.sum(dim=(1, 2, 3))
            return torch.stack([count, 4 - count], dim=1)

    images = torch.zeros(1, 1, 4, 4)
    images[0, 0, 0] = 1
    labels = torch.zeros(1, dtype=torch.int64)
    good = deletion_and_insertion(Counting(), images, images[:, 0], labels, num_steps=4)
    probability = torch.tensor([4.0, 0, 0, 0, 0]).mul(2).sub(4).sigmoid().numpy()
    np.testing.assert_allclose(good.deletion[0], probability, rtol=1e-5)
    bad = deletion_and_insertion(Counting(), images, -images[:, 0], labels, num_steps=4)
    np.testing.assert_allclose(bad.deletion[0], [probability[0]] * 4 + [probability[-1]], rtol=1e-5)
    assert good.areas()[0][0] == pytest.approx((probability[0] / 2 + probability[1:4].sum() + probability[4] / 2) / 4)
    assert good.insertion[0, 0] < good.insertion[0, 1] == pytest.approx(good.insertion[0, -1], abs=0.05)
    row = summarise("good", [good, bad])
    assert row["num_images"] == 2
    assert row["deletion_area"] == pytest.approx(np.mean([good.areas()[0], bad.areas()[0]]))
    with pytest.raises(InputError, match="expected maps"):
        deletion_and_insertion(Counting(), images, torch.zeros(1, 2, 2), labels)


def test_intervals_and_baselines():
    assert mean_interval(np.array([1.0, 3.0])) == pytest.approx((2, 2 - 1.96, 2 + 1.96))
    images = torch.zeros(2, 3, 8, 8)
    images[:, :, :, 4:] = 1
    edges = edge_map(images)
    assert edges[0, 0].tolist() == [0, 0, 0, 12, 12, 0, 0, 0]
    assert torch.equal(random_map(images, seed=3), random_map(images, seed=3))
    smooth = blur(images)
    assert smooth.mean() == pytest.approx(0.5, abs=1e-5)
    assert 0 < smooth[0, 0, 0, 3] < 0.5 < smooth[0, 0, 0, 4] < 1


def test_pointing_game_on_paper():
    plane = np.zeros((20, 20))
    plane[4, 6] = 1  # its centre at x = 6.5, y = 4.5
    assert points_at(plane, np.array([[6, 4, 7, 5]]), tolerance_px=0)
    assert not points_at(plane, np.array([[8, 4, 9, 5]]), tolerance_px=1.4)
    assert points_at(plane, np.array([[8, 4, 9, 5]]), tolerance_px=1.5)
    assert pointing_game(
        [plane, plane, plane], [np.array([[0, 0, 7, 5]]), np.zeros((0, 4)), np.array([[9, 9, 12, 12]])], tolerance_px=0
    ) == (1, 2)
    plane[10, 10] = 3
    assert energy_inside(plane, np.array([[10, 10, 11, 11]])) == 0.75
    with pytest.raises(InputError, match="at least one box"):
        points_at(plane, np.zeros((0, 4)))


def test_an_object_of_one_colour_is_cut_out():
    pixels = np.full((60, 80, 3), (30, 60, 200), np.uint8) + np.random.default_rng(0).integers(
        0, 8, (60, 80, 3), np.uint8
    )
    pixels[20:45, 30:60] = (230, 200, 40)
    plane = np.zeros((15, 20), np.float32)
    plane[6:9, 9:13] = 1
    mask = cut_out(pixels, plane)
    truth = np.zeros((60, 80), bool)
    truth[20:45, 30:60] = True
    assert (mask & truth).sum() / (mask | truth).sum() > 0.9
    rgba = on_nothing(pixels, mask)
    assert rgba.shape == (60, 80, 4)
    assert set(np.unique(rgba[..., 3])) == {0, 255}
    with pytest.raises(InputError, match="the same everywhere"):
        cut_out(pixels, np.ones((4, 4)))


def test_every_method_says_how_its_maps_are_shown():
    for method in METHODS:
        plane = method.to_plane(np.array([[[1.0, -2.0]], [[-3.0, 1.0]]]))
        assert plane.tolist() == ([[-2, -1]] if method.plane == "sum" else [[3, 2]])


def test_rank_correlation_is_scipys_with_ties() -> None:
    from scipy.stats import spearmanr

    rng = np.random.default_rng(3)
    for places in (4, 30, 400):
        one, other = rng.integers(0, places // 2, (2, places, 1)).astype(float)
        assert rank_correlation(one, other) == pytest.approx(spearmanr(one.ravel(), other.ravel()).statistic, abs=1e-12)
