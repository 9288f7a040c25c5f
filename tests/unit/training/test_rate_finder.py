import copy
import json

import numpy as np
import pytest
import torch

from striate.errors import InputError
from striate.training.rate_finder import HIGHEST_RATE, LOWEST_RATE, find_rate, suggest_rate
from striate.training.recipe import OptimizerConfig
from training_cases import TinyNet, cpu_fabric, tiny_feed, tiny_recipe


def test_the_scan_rises_in_equal_ratios_and_leaves_no_trace():
    network = TinyNet()
    before, random = copy.deepcopy(network.state_dict()), torch.get_rng_state()
    scan = find_rate(network, tiny_recipe(), tiny_feed(), fabric=cpu_fabric(), num_steps=40)
    ratios = np.diff(np.log(scan.rates))
    assert scan.rates[0] == LOWEST_RATE
    assert ratios == pytest.approx(np.log(HIGHEST_RATE / LOWEST_RATE) / 39)
    assert len(scan.rates) == len(scan.losses) <= 40
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert json.loads(json.dumps(scan.to_json()))["suggested_learning_rate"] == scan.suggested_learning_rate


def test_the_rate_found_trains():
    recipe = tiny_recipe(optimizer=OptimizerConfig("sgd", learning_rate=1.0))
    scan = find_rate(TinyNet(), recipe, tiny_feed(), fabric=cpu_fabric())
    assert 1e-3 < scan.suggested_learning_rate < 2.0


def test_the_scan_ends_where_the_loss_explodes():
    recipe = tiny_recipe(optimizer=OptimizerConfig("momentum", learning_rate=1.0))
    scan = find_rate(TinyNet(), recipe, tiny_feed(), fabric=cpu_fabric())
    assert scan.rates[-1] < HIGHEST_RATE


def test_the_suggestion_is_a_tenth_of_the_rate_with_the_lowest_loss():
    rates = [10.0**exponent for exponent in range(-6, 2)]
    assert suggest_rate(rates, [2.0, 2.0, 1.9, 1.0, 0.8, 0.7, 3.0, 9.0]) == pytest.approx(0.01)
    assert suggest_rate(rates, [2.0] * 8) is None
    assert suggest_rate(rates, [2.0 + n for n in range(8)]) is None


def test_lbfgs_has_no_rate_to_scan_for():
    with pytest.raises(
        InputError, match=r"^lbfgs finds its steps by a line search, so there is no rate to scan for; keep"
    ):
        find_rate(TinyNet(), tiny_recipe(optimizer=OptimizerConfig("lbfgs")), tiny_feed(), fabric=cpu_fabric())
