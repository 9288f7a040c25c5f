"""Evaluating a network whose answers are written on its images."""

import json

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from striate.data.dataset import NO_SPLIT, Dataset
from striate.data.packed import PackedImages
from striate.data.preprocessing import Preprocessing
from striate.errors import DataError, InputError, NonFiniteLoss
from striate.evaluation.evaluate_network import evaluate
from striate.tasks.classification.figures import Evaluation
from striate.tasks.classification.task import Classification, ClassLabels
from striate.tasks.labels import map_labels

PREPROCESSING = Preprocessing(1, 4, (4, 4), (0.0,), (1.0,), scale=1.0)
TASK = Classification(("a", "b", "c"))


class Written(nn.Module):
    """Logits (N, K) are the first K pixels of each image, divided by ten."""

    def __init__(self, num_classes: int = 3) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.norm = nn.BatchNorm2d(1, affine=False)  # eval mode must be on, else it would change both answers and state

    def forward(self, images: Tensor) -> Tensor:
        return self.norm(images).flatten(1)[:, : self.num_classes] / 10


def images_saying(logits: list[list[int]]) -> PackedImages:
    rows = np.zeros((len(logits), 16), np.uint8)
    rows[:, : len(logits[0])] = logits
    return PackedImages.from_images(list(rows.reshape(-1, 4, 4, 1)))


LOGITS = [[20, 0, 0], [0, 20, 0], [0, 50, 0], [0, 0, 20]]
LABELS = np.array([0, 1, 0, 2])


def run(logits: list[list[int]] = LOGITS, labels: np.ndarray = LABELS, **settings: object) -> Evaluation:
    packed = images_saying(logits)
    names = tuple("abcdefgh"[: len(logits[0])])
    indices = settings.pop("indices", np.arange(len(logits)))
    annotations, task = ClassLabels(labels), Classification(names)
    return evaluate(Written(len(logits[0])), PREPROCESSING, packed, indices, annotations, task, **settings)  # type: ignore


def test_the_figures() -> None:
    evaluation = run()
    assert evaluation.num_images == 4
    assert evaluation.top1_accuracy == 0.75
    assert evaluation.top5 is None
    assert evaluation.confusion.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]
    right, wrong = np.log(1 + 2 * np.exp(-2)), np.log(2 + np.exp(5))
    assert evaluation.negative_log_likelihood == pytest.approx((3 * right + wrong) / 4, rel=1e-5)


def test_the_worst_mistakes_come_first() -> None:
    evaluation = run([*LOGITS, [0, 9, 0], [30, 0, 0]], np.array([0, 1, 0, 2, 2, 1]))
    assert [mistake.index for mistake in evaluation.mistakes] == [2, 5, 4]
    worst = evaluation.mistakes[0]
    assert (worst.label, worst.predicted) == ("a", "b")
    assert worst.probability == pytest.approx(np.exp(5) / (np.exp(5) + 2), rel=1e-5)
    assert worst.label_probability == pytest.approx(1 / (np.exp(5) + 2), rel=1e-4)
    assert worst.loss == pytest.approx(-np.log(worst.label_probability))


def test_examples_of_what_is_right_and_least_certain() -> None:
    """Of each class the surest correct answer; the lowest confidences, right or wrong."""
    evaluation = run([*LOGITS, [0, 9, 0], [30, 0, 0], [40, 0, 0]], np.array([0, 1, 0, 2, 2, 1, 0]))
    correct, unsure = evaluation.examples["correct"], evaluation.examples["least_certain"]
    assert [each.index for each in correct] == [6, 1, 3]
    assert all(each.label == each.predicted for each in correct)
    assert [each.index for each in unsure] == [4, 0, 1, 3, 5, 6, 2]
    assert (unsure[0].label, unsure[0].predicted) == ("c", "b")


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_batches_change_nothing(batch_size: int) -> None:
    assert run(batch_size=batch_size).to_json() == run().to_json()


def test_indices_choose_the_images() -> None:
    evaluation = run(indices=np.array([1, 2]))
    assert (evaluation.num_images, evaluation.top1_accuracy) == (2, 0.5)
    assert evaluation.mistakes[0].index == 2


def test_broken_images_are_no_mistakes() -> None:
    packed = images_saying(LOGITS)
    broken = PackedImages(packed.pixels, packed.offsets, packed.shapes, 1, True, broken={2: "is cut off"})
    evaluation = evaluate(Written(), PREPROCESSING, broken, np.arange(4), ClassLabels(LABELS), TASK)
    assert (evaluation.num_images, evaluation.top1_accuracy) == (3, 1.0)
    with pytest.raises(InputError, match="there is no readable image to evaluate on"):
        evaluate(Written(), PREPROCESSING, broken, np.array([2]), ClassLabels(LABELS), TASK)


def test_top5_is_there_for_more_than_five_classes() -> None:
    logits = [[60, 50, 40, 30, 20, 10], [60, 50, 40, 30, 20, 10]]
    evaluation = run(logits, np.array([4, 5]))
    assert evaluation.top5 is not None
    assert evaluation.top5.value == 0.5
    assert evaluation.to_json()["top5_interval"] == list(evaluation.top5.interval)


def test_of_equal_logits_the_first_is_the_answer() -> None:
    evaluation = run([[5, 5, 5], [5, 5, 5]], np.array([0, 2]))
    assert evaluation.confusion.tolist() == [[1, 0, 0], [0, 0, 0], [1, 0, 0]]
    assert evaluation.top1_accuracy == 0.5


def test_json_is_plain_and_has_the_public_keys() -> None:
    document = run().to_json()
    assert {"num_images", "top1_accuracy", "top1_interval", "top5_accuracy", "per_class"} <= document.keys()
    assert list(document["per_class"][0])[:5] == ["name", "precision", "recall", "f1", "support"]
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    document["mistakes"][0]["name"] = "photo.jpg"
    assert "name" not in run().to_json()["mistakes"][0]


def test_classes_absent_from_the_split_are_null() -> None:
    document = run(indices=np.array([0, 1]), labels=np.array([0, 1, 0, 2])).to_json()
    assert document["per_class"][2] == {
        "name": "c", "precision": None, "recall": None, "f1": None, "support": 0, "num_predicted": 0,
    }  # fmt: skip


def test_the_network_comes_back_as_it_was() -> None:
    network = Written().train()
    evaluate(network, PREPROCESSING, images_saying(LOGITS), np.arange(4), ClassLabels(LABELS), TASK)
    assert network.training
    assert network.norm.training
    assert network.norm.num_batches_tracked == 0
    network.norm.eval()
    with pytest.raises(InputError):
        evaluate(network, PREPROCESSING, images_saying(LOGITS), np.arange(4), ClassLabels(LABELS + 5), TASK)
    assert network.training
    assert not network.norm.training


def test_labels_out_of_range() -> None:
    with pytest.raises(InputError, match=r"labels must lie in \[0, 2\] but run from 0 to 3"):
        run(labels=np.array([0, 1, 0, 3]))


def test_answers_that_are_not_finite_are_no_figures() -> None:
    class Overflow(Written):
        def forward(self, images: Tensor) -> Tensor:
            logits = super().forward(images)
            return torch.where(logits == 5.0, torch.inf, logits)

    class NotANumber(Written):
        def forward(self, images: Tensor) -> Tensor:
            logits = super().forward(images)
            return torch.where(logits == 5.0, torch.nan, logits)

    for network in (Overflow(), NotANumber()):
        network.norm.eps = 1e-12
        with pytest.raises(NonFiniteLoss, match="the network answers image 2 with NaN or infinity"):
            evaluate(network, PREPROCESSING, images_saying(LOGITS), np.arange(4), ClassLabels(LABELS), TASK)


def test_sixteen_bit_arithmetic() -> None:
    evaluation = run(autocast_dtype=torch.bfloat16)
    assert evaluation.top1_accuracy == 0.75


def dataset(class_names: tuple[str, ...], labels: list[int], *, has_index_labels: bool = False) -> Dataset:
    return Dataset(
        source="photos", kind="folder", class_names=class_names, images=None, labels=np.array(labels),  # type: ignore[arg-type]
        given_splits=np.full(len(labels), NO_SPLIT, np.int8), has_index_labels=has_index_labels,
    )  # fmt: skip


def test_labels_travel_by_name() -> None:
    mapped = map_labels(dataset(("bee", "wasp", "ant"), [0, 2, 0]), ("ant", "bee"))
    assert mapped.tolist() == [1, 0, 1]


def test_unknown_classes_are_named_with_near_misses() -> None:
    with pytest.raises(DataError) as caught:
        map_labels(dataset(("Ants", "bee", "wasps"), [0, 1, 2]), ("ants", "bee"))
    assert str(caught.value) == (
        "photos has the classes 'Ants', 'wasps', which the model does not know; "
        "'Ants' may be 'ants'; rename them in the source"
    )
    with pytest.raises(DataError, match="which the model does not know; it knows 'ants', 'bee'; rename"):
        map_labels(dataset(("lorry",), [0]), ("ants", "bee"))


def test_numbers_are_outputs_where_names_are_unknown() -> None:
    told: list[str] = []
    mapped = map_labels(dataset(("0", "2", "10"), [0, 1, 1]), ("ant", "bee", "cat"), log=told.append)
    assert mapped.tolist() == [0, 2, 2]
    assert told == ["photos names its classes by number, the model by name: the numbers are taken as its outputs"]


def test_numbers_that_are_names_are_names() -> None:
    assert map_labels(dataset(("7", "3"), [0, 1]), ("3", "7")).tolist() == [1, 0]


def test_index_columns_are_outputs() -> None:
    source = dataset(("tench", "crane (1)", "crane (2)"), [2, 0, 1], has_index_labels=True)
    assert map_labels(source, ("tench", "crane", "crane bird")).tolist() == [2, 0, 1]
    with pytest.raises(
        DataError, match="photos names its classes by numbers up to 2 but the model has the outputs 0 to 1"
    ):
        map_labels(source, ("ant", "bee"))
