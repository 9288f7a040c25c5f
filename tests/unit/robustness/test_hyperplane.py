"""The smallest change onto a hyperplane: by hand, and as linear or quadratic programmes solved by SciPy."""

import pytest
import torch
from scipy.optimize import linprog, minimize

from striate.robustness.hyperplane import change_onto
from striate.robustness.norms import L1_NORM, L2_NORM, LINF, NORMS


def test_by_hand():
    """x + 2y = 1.5 from (0.2, 0.3): 0.7 is lacking."""
    points, weights, offsets = torch.tensor([[0.2, 0.3]]), torch.tensor([[1.0, 2.0]]), torch.tensor([-1.5])
    found = {norm.name: change_onto(points, weights, offsets, norm)[0].tolist() for norm in NORMS.values()}
    assert found["linf"] == pytest.approx([0.7 / 3, 0.7 / 3])
    assert found["l2"] == pytest.approx([0.14, 0.28])
    assert found["l1"] == pytest.approx([0, 0.35])


def test_a_bound_is_met_and_the_rest_goes_on():
    """y has room for 0.1 alone; x must do the other 0.5."""
    points, weights, offsets = torch.tensor([[0.2, 0.9]]), torch.tensor([[1.0, 2.0]]), torch.tensor([-2.7])
    for norm in NORMS.values():
        assert change_onto(points, weights, offsets, norm)[0].tolist() == pytest.approx([0.5, 0.1])


def test_out_of_reach_goes_as_far_as_it_can():
    points, weights, offsets = torch.tensor([[0.2, 0.9]]), torch.tensor([[1.0, -2.0]]), torch.tensor([-7.0])
    for norm in NORMS.values():
        assert change_onto(points, weights, offsets, norm)[0].tolist() == pytest.approx([0.8, -0.9])


@pytest.mark.parametrize("norm", [LINF, L2_NORM, L1_NORM], ids=lambda norm: norm.name)
def test_against_a_solver(norm):
    points, weights = torch.rand(20, 6), torch.randn(20, 6)
    weights[:5, 2] = 0
    goals = torch.rand(20, 6)  # a point within the range that lies on the plane, so that it can be reached
    offsets = -(weights * goals).sum(dim=1)
    changes = change_onto(points, weights, offsets, norm)
    assert (points + changes).min() >= -1e-6
    assert (points + changes).max() <= 1 + 1e-6
    torch.testing.assert_close(((points + changes) * weights).sum(dim=1), -offsets, atol=1e-5, rtol=0)
    for row in range(20):
        point, weight, wanted = points[row].double(), weights[row].double(), -offsets[row].double()
        bounds = [(-value, 1 - value) for value in point.tolist()]
        assert norm.size(changes[row : row + 1]).item() == pytest.approx(
            smallest(norm.name, weight.numpy(), (wanted - weight @ point).item(), bounds), abs=1e-4
        )


def smallest(norm, weight, wanted, bounds):
    """The size of the best change by SciPy."""
    count = len(weight)
    if norm == "l2":
        equality = {"type": "eq", "fun": lambda d: weight @ d - wanted, "jac": lambda _d: weight}
        start = [0.0] * count
        done = minimize(lambda d: d @ d, start, jac=lambda d: 2 * d, bounds=bounds, constraints=[equality], tol=1e-12)
        return float(done.fun**0.5)
    extra = count if norm == "l1" else 1
    costs = [0.0] * count + [1.0] * extra
    limits = []
    for place in range(count):
        for sign in (1, -1):  # +-d_i <= t
            row = [0.0] * (count + extra)
            row[place], row[count + (place if norm == "l1" else 0)] = sign, -1
            limits.append(row)
    done = linprog(
        costs, A_ub=limits, b_ub=[0] * len(limits), A_eq=[[*weight, *[0] * extra]], b_eq=[wanted],
        bounds=[*bounds, *[(0, None)] * extra],
    )  # fmt: skip
    return done.fun
