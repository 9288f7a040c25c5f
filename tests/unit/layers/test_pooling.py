"""Max pooling on the lectures' 5x5 image, and fractional max pooling on paper, by loops and where torch has the
same.
"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from striate.errors import InputError
from striate.layers import pooling
from striate.layers.gradient_check import check_gradients
from striate.layers.pooling import FractionalMaxPool2d, draw_borders, fractional_max_pool

IMAGE = torch.tensor([[2.0, 4, 8, 3, 6], [9, 3, 4, 2, 5], [5, 4, 6, 3, 1], [2, 3, 1, 3, 4], [2, 7, 4, 5, 7]])[
    None, None
]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_overlapping_max_pooling_of_the_lectures():
    assert F.max_pool2d(IMAGE, 3, stride=1)[0, 0].tolist() == [[9, 8, 8], [9, 6, 6], [7, 7, 7]]


def test_gradients_of_overlapping_windows_add_up_at_the_maximum():
    image = IMAGE.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(F.max_pool2d(image, 3, stride=1).sum(), image)
    expected = torch.zeros(5, 5)
    expected[1, 0] = expected[0, 2] = expected[2, 2] = expected[4, 1] = 2
    expected[4, 4] = 1
    assert torch.equal(gradient[0, 0], expected)


def use_borders(monkeypatch, rows, columns):
    given_borders = iter([rows, columns])
    monkeypatch.setattr(pooling, "draw_borders", lambda *_: next(given_borders))


def test_fractional_pooling_on_paper(monkeypatch):
    """Steps 2, 1, 2 down and 1, 2, 2 across: rows 01 2 34, columns 0 12 34."""
    use_borders(monkeypatch, [0, 2, 3, 5], [0, 1, 3, 5])
    pooled, indices = fractional_max_pool(IMAGE, (3, 3), is_overlapping=False)
    assert pooled[0, 0].tolist() == [[9, 8, 6], [5, 6, 3], [2, 7, 7]]
    assert indices[0, 0, 0].tolist() == [5, 2, 4]
    use_borders(monkeypatch, [0, 2, 3, 4], [0, 1, 3, 4])
    pooled, _ = fractional_max_pool(IMAGE, (3, 3), is_overlapping=True)  # rows 012 23 34, columns 01 123 34
    assert pooled[0, 0].tolist() == [[9, 8, 6], [5, 6, 4], [7, 7, 7]]


def test_gradients_of_overlapping_regions_add_up(monkeypatch):
    use_borders(monkeypatch, [0, 2, 3, 4], [0, 1, 3, 4])
    image = IMAGE.clone().requires_grad_()
    pooled, _ = fractional_max_pool(image, (3, 3), is_overlapping=True)
    (gradient,) = torch.autograd.grad(pooled.sum(), image)
    assert gradient.sum() == 9
    assert gradient[0, 0, 4, 1] == 2  # the 7 lies in the third row's first and second region


@given(
    size=st.integers(2, 40),
    share=st.floats(0.01, 1),
    sequence=st.sampled_from(["random", "pseudorandom"]),
    is_overlapping=st.booleans(),
    seed=st.integers(0, 1000),
)
@settings(max_examples=200, deadline=None)
def test_borders_have_two_neighbouring_steps_and_reach_the_end(size, share, sequence, is_overlapping, seed):
    total = size - is_overlapping
    num_regions = max(1, int(share * total))
    borders = draw_borders(size, num_regions, sequence, is_overlapping, seeded(seed))
    assert (borders[0], borders[-1], len(borders)) == (0, total, num_regions + 1)
    steps = np.diff(borders)
    assert set(steps.tolist()) <= {total // num_regions, -(-total // num_regions)}


def test_random_steps_clump_and_pseudorandom_ones_do_not():
    """Half ones, half twos: spread evenly no step comes three times in a row; shuffled, it does sooner or later."""
    assert all(longest_repeat("pseudorandom", seed) < 3 for seed in range(50))
    assert any(longest_repeat("random", seed) > 4 for seed in range(50))


def longest_repeat(sequence, seed):
    steps = np.diff(draw_borders(60, 40, sequence, False, seeded(seed)))
    return max(len(part) for part in np.split(steps, np.flatnonzero(np.diff(steps)) + 1))


def test_every_start_is_drawn():
    """10 pixels in 7 regions, alpha 10 / 7: seven different pseudo-random sequences, and far more random ones."""
    drawn = {sequence: set() for sequence in ("random", "pseudorandom")}
    generator = seeded()
    for sequence, found in drawn.items():
        for _ in range(200):
            found.add(tuple(draw_borders(10, 7, sequence, False, generator)))
    assert len(drawn["pseudorandom"]) == 7
    assert len(drawn["random"]) == 35  # 7 choose 3


@pytest.mark.parametrize("sequence", ["random", "pseudorandom"])
@pytest.mark.parametrize("is_overlapping", [False, True])
def test_against_loops(sequence, is_overlapping):
    maps = torch.randn(2, 3, 9, 11, generator=seeded(1))
    pooled, indices = fractional_max_pool(
        maps, (6, 7), sequence=sequence, is_overlapping=is_overlapping, generator=seeded(2)
    )
    again = seeded(2)
    rows = draw_borders(9, 6, sequence, is_overlapping, again)
    columns = draw_borders(11, 7, sequence, is_overlapping, again)
    for i in range(6):
        for j in range(7):
            bottom, right = rows[i + 1] + is_overlapping, columns[j + 1] + is_overlapping
            assert torch.equal(pooled[:, :, i, j], maps[:, :, rows[i] : bottom, columns[j] : right].amax((2, 3)))
    assert torch.equal(maps.flatten(2).gather(2, indices.flatten(2)), pooled.flatten(2))


@pytest.mark.parametrize("sequence", ["random", "pseudorandom"])
def test_whole_factors_are_torchs_max_pooling(sequence):
    """Disjoint by 2 and 3, overlapping by 2 (3x3 at stride 2) and by 1 (2x2 at stride 1): nothing is left to chance."""
    maps = torch.randn(2, 3, 12, 12, generator=seeded(1))
    for size, is_overlapping, kernel_size, stride in ((6, False, 2, 2), (4, False, 3, 3), (11, True, 2, 1)):
        pooled, indices = fractional_max_pool(maps, (size, size), sequence=sequence, is_overlapping=is_overlapping)
        expected, where = F.max_pool2d(maps, kernel_size, stride=stride, return_indices=True)
        assert torch.equal(pooled, expected)
        assert torch.equal(indices, where)
    odd = maps[..., :11, :11]
    assert torch.equal(fractional_max_pool(odd, (5, 5))[0], F.max_pool2d(odd, 3, stride=2))


def test_analytic_gradient_is_the_numerical_one():
    maps = torch.randn(1, 2, 7, 7, generator=seeded(3))
    checked = check_gradients(FractionalMaxPool2d(2**0.5), maps, max_entries=98)
    assert checked.worst.relative_error < 1e-7


def test_the_generator_decides_and_the_module_takes_torchs():
    maps = torch.randn(1, 1, 30, 30, generator=seeded(3))
    first, _ = fractional_max_pool(maps, (20, 20), generator=seeded(4))
    again, _ = fractional_max_pool(maps, (20, 20), generator=seeded(4))
    assert torch.equal(first, again)
    layer = FractionalMaxPool2d(1.5, sequence="random", is_overlapping=False)
    assert repr(layer) == "FractionalMaxPool2d(1.5, sequence='random', is_overlapping=False)"
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(1)
        answers = [layer(maps) for _ in range(2)]
        torch.default_generator.manual_seed(1)
        assert torch.equal(layer(maps), answers[0])
    assert answers[0].shape == (1, 1, 20, 20)
    assert not torch.equal(*answers)


def test_refusals():
    with pytest.raises(InputError, match="5 pixels give between 1 and 4 overlapping regions, not 5"):
        fractional_max_pool(IMAGE, (5, 5))
    with pytest.raises(InputError, match="5 pixels give between 1 and 5 disjoint regions, not 6"):
        fractional_max_pool(IMAGE, (6, 5), is_overlapping=False)
    with pytest.raises(InputError, match="sequence must be 'random' or 'pseudorandom' but is 'even'"):
        fractional_max_pool(IMAGE, (3, 3), sequence="even")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"ratio must be at least 1 but is 0\.5"):
        FractionalMaxPool2d(0.5)
