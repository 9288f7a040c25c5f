import pytest

from striate.training.recipe import ScheduleConfig
from striate.training.schedules import ONE_CYCLE_END, ONE_CYCLE_START, Plateau, rate_factor


def factors(config, num_steps):
    return [rate_factor(config, step, num_steps) for step in range(num_steps)]


def test_constant_is_one_everywhere():
    assert factors(ScheduleConfig("constant"), 5) == [1.0] * 5


def test_warmup_rises_in_equal_parts_and_leaves_the_rest_to_the_schedule():
    assert factors(ScheduleConfig("constant", warmup=0.4), 10) == [0.25, 0.5, 0.75, 1, 1, 1, 1, 1, 1, 1]


def test_step_multiplies_at_each_milestone():
    config = ScheduleConfig("step", factor=0.1, milestones=(0.5, 0.75))
    assert factors(config, 8) == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01])


def test_linear_falls_in_equal_parts_to_its_last_above_zero():
    assert factors(ScheduleConfig("linear"), 4) == [1, 0.75, 0.5, 0.25]
    assert factors(ScheduleConfig("linear", warmup=0.5), 8) == [0.25, 0.5, 0.75, 1, 1, 0.75, 0.5, 0.25]


def test_cosine_starts_at_one_is_half_in_the_middle_and_ends_near_zero():
    values = factors(ScheduleConfig("cosine"), 100)
    assert values[0] == 1
    assert values[50] == pytest.approx(0.5)
    assert 0 < values[-1] < 0.001


def test_one_cycle_rises_to_the_peak_and_falls_to_almost_nothing():
    values = factors(ScheduleConfig("one_cycle", rise=0.3), 100)
    assert values[0] == pytest.approx(ONE_CYCLE_START)
    assert values[29] == 1
    assert values[-1] == pytest.approx(ONE_CYCLE_END)
    assert values[:30] == sorted(values[:30])
    assert values[29:] == sorted(values[29:], reverse=True)


@pytest.mark.parametrize("name", ["constant", "step", "linear", "cosine", "one_cycle", "plateau"])
@pytest.mark.parametrize("num_steps", [1, 2, 3])
def test_shortest_runs_have_usable_rates(name, num_steps):
    assert all(0 < factor <= 1 for factor in factors(ScheduleConfig(name), num_steps))


@pytest.mark.parametrize("rise", [0.0, 1.0])
def test_one_cycle_may_only_fall_or_only_rise(rise):
    values = factors(ScheduleConfig("one_cycle", rise=rise), 10)
    assert values == sorted(values, reverse=rise == 0.0)


def test_plateau_lowers_the_rate_after_more_than_patience_epochs_without_a_new_best():
    config = ScheduleConfig("plateau", factor=0.5, patience=1)
    plateau, seen = Plateau(), []
    for loss in [1.0, 0.9, 0.9, 0.9, 0.8, 0.85, 0.8]:
        plateau.observe(loss, config)
        seen.append(plateau.factor)
    assert seen == [1, 1, 1, 0.5, 0.5, 0.5, 0.25]
