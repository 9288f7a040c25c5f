"""Ways of computing: which are tried, which is taken, and that none changes what is computed."""

import copy
import dataclasses

import pytest
import torch
from torch import nn

from striate.errors import InputError
from striate.training.recipe import OptimizerConfig
from striate.training.speed import autotune as modes_module
from striate.training.speed.autotune import (
    Mode,
    ModeTiming,
    _Trial,
    choose_mode,
    measure_modes,
    possible_modes,
)
from training_cases import TinyNet, cpu_fabric, tiny_feed, tiny_recipe

CPU = torch.device("cpu")
PLAIN = Mode("32-true", False, 1)
FAST = Mode("bf16-mixed", True, 1)


def make_fabric(precision):
    return cpu_fabric(precision=precision)


def possible(recipe, **changes):
    values = {"has_fast_bf16": True, "thread_counts": (1, 2), "forced": frozenset()}
    return possible_modes(recipe, CPU, **{**values, **changes})


def test_every_choice_left_open_is_tried_and_the_recipes_own_mode_is_first():
    recipe = tiny_recipe(precision="bf16-mixed", use_channels_last=True, num_threads=2)
    found = possible(recipe)
    assert found[0] == Mode("bf16-mixed", True, 2)
    assert len(found) == len(set(found)) == 8
    assert len(possible(recipe, has_fast_bf16=False)) == 4
    assert {mode.precision for mode in possible(recipe, forced=frozenset({"precision"}))} == {"bf16-mixed"}
    assert {mode.num_threads for mode in possible(recipe, forced=frozenset({"num_threads"}))} == {2}


def test_where_everything_is_settled_nothing_is_tried():
    assert (
        possible(tiny_recipe(num_threads=1), forced=frozenset({"precision", "use_channels_last", "num_threads"})) == ()
    )
    assert possible(tiny_recipe(num_threads=1, use_compile=True)) == ()


def test_lbfgs_stays_in_32_bits():
    recipe = tiny_recipe(num_threads=1, optimizer=OptimizerConfig("lbfgs", learning_rate=1.0))
    assert {mode.precision for mode in possible(recipe)} == {"32-true"}


def test_the_fastest_that_agrees_is_taken():
    timings = (
        ModeTiming(PLAIN, 100.0),
        ModeTiming(dataclasses.replace(PLAIN, num_threads=2), 150.0),
        ModeTiming(FAST, 900.0, reason="its loss is 3 where it should be 2"),
        ModeTiming(dataclasses.replace(FAST, num_threads=2), None, reason="RuntimeError: no kernel"),
    )
    assert choose_mode(timings, 10_000).num_threads == 2


def test_a_lead_within_the_noise_does_not_move_a_run():
    assert choose_mode((ModeTiming(PLAIN, 100.0), ModeTiming(FAST, 104.0)), 10_000) == PLAIN
    assert choose_mode((ModeTiming(PLAIN, 100.0), ModeTiming(FAST, 106.0)), 10_000) == FAST


@pytest.fixture
def long_run(monkeypatch):
    monkeypatch.setattr(modes_module, "LONG_RUN_S", 0.0)


def test_short_runs_are_not_measured():
    told = []
    found = measure_modes(TinyNet(), tiny_recipe(), tiny_feed(), (PLAIN, FAST), make_fabric, log=told.append)
    assert (found, told) == ((), [])


def test_a_run_that_only_seems_long_on_a_few_images_is_not_measured(monkeypatch):
    judged = []

    def image_s(_, mode, batch_size):
        judged.append((mode, batch_size))
        return 1.0 if batch_size == modes_module.FEWEST_IMAGES else 1e-4

    recipe = tiny_recipe(batch_size=20)
    monkeypatch.setattr(modes_module, "LEAST_BUDGET_S", 30.0)
    monkeypatch.setattr(_Trial, "image_s", image_s)
    assert measure_modes(TinyNet(), recipe, tiny_feed(), (PLAIN, FAST), make_fabric) == ()
    assert judged == [(PLAIN, modes_module.FEWEST_IMAGES), (PLAIN, 20)]


@pytest.mark.usefixtures("long_run")
def test_measuring_finds_figures_for_each_and_leaves_everything_alone():
    network, told = TinyNet(), []
    before, streams, threads = copy.deepcopy(network.state_dict()), torch.get_rng_state(), torch.get_num_threads()
    timings = measure_modes(network, tiny_recipe(), tiny_feed(), (PLAIN, FAST), make_fabric, log=told.append)
    assert [timing.mode for timing in timings] == [PLAIN, FAST]
    assert all(timing.images_per_s > 0 and timing.reason is None for timing in timings)
    assert len(told) == 1
    assert "--no-measure leaves it out" in told[0]
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert not any(param.grad is not None for param in network.parameters())
    assert torch.equal(streams, torch.get_rng_state())
    assert torch.get_num_threads() == threads


class WrongInBf16(nn.Module):
    """A network that one arithmetic computes wrongly."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(64, 3)

    def forward(self, images):
        logits = self.fc(images.flatten(1))
        return logits * 7 if logits.dtype == torch.bfloat16 else logits


@pytest.mark.usefixtures("long_run")
def test_a_mode_whose_loss_strays_is_not_taken():
    timings = measure_modes(WrongInBf16(), tiny_recipe(), tiny_feed(), (PLAIN, FAST), make_fabric)
    assert timings[0].reason is None
    assert timings[1].reason.startswith("its loss is ")
    assert choose_mode(timings, 10**9) == PLAIN


class FailsInChannelsLast(TinyNet):
    def forward(self, images):
        if self.conv2.weight.is_contiguous(memory_format=torch.channels_last) and self.conv2.weight.stride(1) == 1:
            raise RuntimeError("no kernel for this layout\nat line 7")
        return super().forward(images)


@pytest.mark.usefixtures("long_run")
def test_a_mode_that_fails_is_a_row_with_its_reason():
    timings = measure_modes(FailsInChannelsLast(), tiny_recipe(), tiny_feed(), (PLAIN, FAST), make_fabric)
    assert (timings[1].images_per_s, timings[1].reason) == (None, "RuntimeError: no kernel for this layout")
    assert choose_mode(timings, 10**9) == PLAIN


@pytest.mark.parametrize("mode", [Mode("32-true", True, 2), Mode("bf16-mixed", True, 1)], ids=str)
def test_modes_round_differently_and_compute_the_same(mode):
    trial = _Trial(TinyNet(), tiny_recipe(), tiny_feed(), make_fabric, None)
    plain, other = (trial.steps(each, 8, num_steps=3) for each in (PLAIN, mode))
    tolerance = 1e-5 if mode.precision == "32-true" else 2e-2
    assert other.losses == pytest.approx(plain.losses, rel=tolerance)


@pytest.mark.parametrize(
    "rest",
    [{"precision": "16-mixed"}, {"accumulate_steps": 2}, {"optimizer": OptimizerConfig("lbfgs", learning_rate=1.0)}],
)
def test_cuda_graphs_need_an_update_that_is_alike_each_time(rest):
    with pytest.raises(
        InputError, match="they go without --accumulate-steps and precision 16-mixed, and with the optimisers adam, "
    ):
        tiny_recipe(**{"use_cuda_graphs": True} | rest)
