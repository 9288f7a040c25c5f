"""Thousands of images pass through in the same memory, computed while others are decoded and answers are taken."""

import json
import os
import threading
import time

import numpy as np
import pytest
from PIL import Image

from striate.cli.answers import write_json, write_table
from striate.data.preprocessing import Preprocessing
from striate.engines.measuring import resident_bytes
from striate.tasks.classification.predictions import ClassProbability, Prediction, best_classes
from striate.tasks.classification.task import Classification
from striate.tasks.predictions import PredictionError, answer_each, name_images

TASK = Classification(("a", "b"))

PREPROCESSING = Preprocessing(3, 32, (32, 32), (0.0,) * 3, (1.0,) * 3)


def undecided(pixels: np.ndarray) -> np.ndarray:
    return np.full((len(pixels), 2), 0.5, np.float32)


@pytest.mark.skipif(resident_bytes() is None, reason="the system does not say how much memory a process holds")
def test_memory_does_not_grow_with_the_number_of_files(tmp_path):
    """Four thousand files. The pixels of an image take 3 kB and an answer over 500 bytes: kept, they would be 10 MB."""
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "0.png")
    for number in range(1, 4000):
        os.link(tmp_path / "0.png", tmp_path / f"{number}.png")
    answers = answer_each(name_images(tmp_path), PREPROCESSING, TASK, undecided, top=2, batch_size=32)
    marks = [resident_bytes() for number, _ in enumerate(answers, start=1) if number in (1000, 4000)]
    assert marks[1] - marks[0] < 6e6


def test_computing_goes_on_while_an_answer_is_used():
    """The second batch is computed, in one other thread, although only the first answer has been taken."""
    begun, computed_in = threading.Semaphore(0), set()

    def run(pixels: np.ndarray) -> np.ndarray:
        computed_in.add(threading.get_ident())
        begun.release()
        return undecided(pixels)

    images = (np.zeros((8, 8, 3), np.uint8) for _ in range(12))
    answers = answer_each(name_images(images), PREPROCESSING, TASK, run, top=1, batch_size=4)
    next(answers)
    for _ in range(2):
        assert begun.acquire(timeout=5)
    assert len(list(answers)) == 11
    assert len(computed_in) == 1
    assert threading.get_ident() not in computed_in


def test_leaving_early_ends_the_threads():
    images = iter([np.zeros((8, 8, 3), np.uint8)] * 400)
    before = threading.active_count()
    answers = answer_each(name_images(images), PREPROCESSING, TASK, undecided, top=1, batch_size=4)
    next(answers)
    answers.close()
    stop = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < stop:
        time.sleep(0.01)
    assert threading.active_count() == before


def test_what_an_engine_raises_reaches_the_caller():
    def broken(_: np.ndarray) -> np.ndarray:
        raise RuntimeError("no such instruction")

    images = name_images([np.zeros((8, 8, 3), np.uint8)])
    with pytest.raises(RuntimeError, match="no such instruction"):
        list(answer_each(images, PREPROCESSING, TASK, broken, top=1, batch_size=4))


def test_not_a_number_is_an_error_of_that_image_alone():
    def half_broken(pixels: np.ndarray) -> np.ndarray:
        answers = undecided(pixels)
        answers[0, 1] = np.nan
        return answers

    images = name_images([np.zeros((8, 8, 3), np.uint8)] * 2)
    first, second = answer_each(images, PREPROCESSING, TASK, half_broken, top=1, batch_size=4)
    assert isinstance(first, PredictionError)
    assert "NaN" in first.reason
    assert isinstance(second, Prediction)


def test_of_equal_classes_the_first_is_best():
    shares, indices = best_classes(np.array([[0.2, 0.4, 0.4], [0.1, 0.1, 0.8]]), 2)
    assert indices.tolist() == [[1, 2], [2, 0]]
    assert shares.tolist() == [[0.4, 0.4], [0.8, 0.1]]
    assert best_classes(np.ones((1, 2)), 5)[1].tolist() == [[0, 1]]


@pytest.mark.parametrize("top", [1, 5, 20, 21, 200])
def test_of_many_classes_the_best_are_those_that_sorting_gives(top: int) -> None:
    probabilities = np.random.default_rng(0).integers(0, 40, (50, 200)).astype(np.float32)  # with many ties
    shares, indices = best_classes(probabilities, top)
    by_sorting = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
    np.testing.assert_array_equal(indices, by_sorting)
    np.testing.assert_array_equal(shares, np.take_along_axis(probabilities, by_sorting, axis=1))


def answer(path: str) -> Prediction:
    return Prediction(path, (ClassProbability("a", 0, 0.75), ClassProbability("b", 1, 0.25)))


def test_one_document_however_the_answers_come(capsys):
    """Errors between predictions stand at the end; names that are no UTF-8 are written strictly and come back as they
    were.
    """
    name = os.fsdecode(b"photo \xff.png")
    given = [PredictionError("x.png", "is empty"), answer("1.png"), PredictionError(name, "is cut off"), answer(name)]
    assert write_json(iter(given), {"engine": {"name": "torch"}})
    written = capsys.readouterr().out
    written.encode("utf-8")  # raises where a terminal would
    assert json.loads(written) == {
        "engine": {"name": "torch"},
        "predictions": [given[1].to_json(), given[3].to_json()],
        "errors": [{"path": "x.png", "reason": "is empty"}, {"path": name, "reason": "is cut off"}],
    }
    assert not write_json([], {})
    assert json.loads(capsys.readouterr().out) == {"predictions": [], "errors": []}


def test_rows_are_written_one_by_one(capsys):
    written = []

    def watched():
        for path in ("1.png", "二.png", os.fsdecode(b"\xff.png")):
            yield answer(path)
            written.append(capsys.readouterr().out)

    assert not write_table(watched())
    assert written[0].splitlines()[0].split() == ["image", "class", "probability"]
    assert written[0].splitlines()[1].split()[:4] == ["1.png", "a", "75.0", "%"]
    assert written[1].startswith(" 二.png  a       75.0 %")
    assert written[2].startswith(" �.png   a       75.0 %")
