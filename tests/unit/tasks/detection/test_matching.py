"""When two lists of detections say the same, and mistakes by kind, on hand-sized cases."""

import numpy as np
import pytest

from striate.tasks.detection.average_precision import Truths
from striate.tasks.detection.matching import largest_differences, same_detections
from striate.tasks.detection.mistakes import sort_mistakes
from striate.tasks.detection.values import NUM_DETECTIONS, VALUES_EACH, Found


def values(*rows) -> np.ndarray:
    """Rows of x1, y1, x2, y2, score, class of two."""
    result = np.zeros((1, NUM_DETECTIONS, VALUES_EACH))
    for place, (*box, score, label) in enumerate(rows):
        result[0, place] = [*box, score, label / 2]
    return result.reshape(1, -1)


ONE, OTHER = (0.1, 0.1, 0.5, 0.5, 0.9, 0), (0.6, 0.6, 0.9, 0.9, 0.8, 1)


def test_order_and_what_is_below_the_threshold_do_not_matter():
    swapped = values((*OTHER[:4], 0.9, 1), (*ONE[:4], 0.8, 0))
    assert same_detections(values(ONE, OTHER), swapped, 2, 0.3).all()
    assert same_detections(values(ONE, OTHER), values(ONE, OTHER, (0, 0, 0.1, 0.1, 0.2, 1)), 2, 0.3).all()
    assert largest_differences(swapped, values(ONE, OTHER), 2, 0.3) == pytest.approx(0.1)


@pytest.mark.parametrize(
    "changed",
    [values(ONE), values(ONE, (*OTHER[:5], 0)), values(ONE, (0.5, 0.6, 0.8, 0.9, 0.8, 1)), values()],
    ids=["missing", "another class", "another place", "none"],
)
def test_a_missing_a_moved_and_a_renamed_object_are_told(changed):
    assert not same_detections(changed, values(ONE, OTHER), 2, 0.3).any()
    assert not same_detections(values(ONE, OTHER), changed, 2, 0.3).any()


def test_what_suppression_may_settle_either_way_is_no_difference():
    double = (0.1, 0.1, 0.5, 0.32, 0.7, 0)  # overlaps the first by 0.55
    assert same_detections(values(ONE, OTHER), values(ONE, OTHER, double), 2, 0.3).all()
    assert largest_differences(values(ONE, OTHER), values(ONE, OTHER, double), 2, 0.3) == 0


def test_mistakes_by_kind():
    boxes = np.array([[0, 0, 0.2, 0.2], [0.4, 0, 0.6, 0.2], [0.8, 0, 1, 0.2], [0, 0.8, 0.2, 1], [0.4, 0.8, 0.6, 1]])
    truths = Truths((10, 10), boxes, np.array([0, 0, 0, 0, -1]), np.array([False] * 4 + [True]))
    found = Found(
        np.array(
            [
                [0, 0, 0.2, 0.2],  # right
                [0, 0, 0.2, 0.19],  # double
                [0.4, 0, 0.6, 0.2],  # class
                [0.8, 0, 1, 0.08],  # place: IoU 0.4
                [0.0, 0.8, 0.2, 0.86],  # both: IoU 0.3, other class
                [0.3, 0.4, 0.5, 0.6],  # background
                [0.42, 0.82, 0.58, 0.98],  # in an ignored region
            ]
        ),
        np.linspace(0.9, 0.5, 7),
        np.array([0, 0, 1, 0, 1, 1, 1]),
    )
    own = sort_mistakes(truths, found)
    assert own.counts == {"class": 1, "place": 1, "both": 1, "double": 1, "background": 1, "missed": 1}
    assert (own.num_right, own.num_objects) == (1, 4)
