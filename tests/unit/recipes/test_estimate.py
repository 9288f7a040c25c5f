"""What is said of a run before it starts."""

import pytest

from striate.recipes.estimate import in_words
from striate.recipes.mode_choice import ModeChoice
from striate.training.speed.autotune import Mode


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (3, "some seconds"),
        (38, "about 40 s"),
        (372, "about 6 min"),
        (9_000, "about 2.5 h"),
        (200_000, "about 2.3 days"),
    ],
)
def test_a_span_in_words(seconds, words):
    assert in_words(seconds) == words


def test_what_was_measured_is_the_estimate():
    rows = tuple(
        {"precision": "32-true", "use_channels_last": layout, "num_threads": 1, "use_cuda_graphs": False,
         "images_per_s": speed, "reason": None}
        for layout, speed in ((False, None), (True, 50.0))
    )  # fmt: skip
    assert ModeChoice(Mode("32-true", True, 1), rows, False).image_s == 1 / 50
    assert ModeChoice(Mode("32-true", False, 1), rows, False).image_s is None
    assert ModeChoice(Mode("bf16-mixed", False, 1), rows, False).image_s is None
