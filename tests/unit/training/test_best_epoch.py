"""Which epoch is kept, by hand."""

import pytest

from striate.training.best_epoch import BestEpoch, is_better
from striate.training.recipe import ScheduleConfig
from training_cases import Found, Recorder, tiny_recipe, train_tiny


def kept(figures, *, schedule, num_images):
    """The epoch that a run with these validation accuracies and losses keeps."""
    best, top = None, 0.0
    for epoch, (accuracy, loss) in enumerate(figures, start=1):
        if is_better(best, accuracy, loss, top_score=top, num_images=num_images, schedule=schedule):
            best = BestEpoch(epoch, accuracy, loss)
        top = max(top, accuracy)
    return best.epoch


@pytest.mark.parametrize("schedule", ["constant", "step", "plateau"])
def test_the_most_accurate_is_kept_and_of_equals_the_one_with_the_lower_loss(schedule):
    assert kept([(0.8, 1.0), (0.9, 0.5), (0.9, 0.6), (0.89, 0.1)], schedule=schedule, num_images=100) == 2
    assert kept([(0.8, 1.0), (0.9, 0.5), (0.9, 0.4)], schedule=schedule, num_images=100) == 3


@pytest.mark.parametrize("schedule", ["linear", "cosine", "one_cycle"])
def test_where_the_rate_falls_to_zero_the_latest_within_a_standard_error_is_kept(schedule):
    # of 0.9 and 100 images a standard error is 0.03
    assert kept([(0.8, 1.0), (0.9, 0.5), (0.88, 0.6)], schedule=schedule, num_images=100) == 3
    assert kept([(0.8, 1.0), (0.9, 0.5), (0.86, 0.1)], schedule=schedule, num_images=100) == 2
    assert kept([(0.8, 1.0), (0.9, 0.5), (0.88, 0.6)], schedule=schedule, num_images=10_000) == 2
    assert (
        kept([(0.9, 0.5), (0.88, 0.6), (0.86, 0.6), (0.88, 0.9)], schedule=schedule, num_images=100) == 4
    )  # no creeping
    assert kept([(1.0, 0.1), (0.99, 0.1)], schedule=schedule, num_images=100) == 1  # a share of 1 has no error


def test_epochs_say_whether_they_are_kept(tmp_path, monkeypatch):
    figures = iter([(0.5, 1.0), (0.9, 0.8), (0.2, 0.7)])
    monkeypatch.setattr("striate.training.session.validate", lambda *_, **__: Found(*next(figures)))
    recorder = Recorder()
    _, result = train_tiny(tmp_path, tiny_recipe(schedule=ScheduleConfig("cosine")), observer=recorder)
    assert [record["is_kept"] for record in recorder.records] == [True, True, False]
    assert result.best.epoch == 2
