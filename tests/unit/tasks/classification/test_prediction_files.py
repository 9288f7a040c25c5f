"""Predictions as a table, as sorted folders, as a list of doubtful ones; by hand."""

import csv

import pytest

from striate.errors import InputError
from striate.tasks.classification.prediction_files import (
    check_sorting_folder,
    least_certain,
    sorting_into,
    writing_csv,
)
from striate.tasks.classification.predictions import ClassProbability, Prediction
from striate.tasks.predictions import PredictionError


def answer(path, *classes):
    return Prediction(str(path), tuple(ClassProbability(name, place, p) for place, (name, p) in enumerate(classes)))


def test_a_table_of_predictions_has_no_formula_and_no_control_character(tmp_path):
    answers = [
        answer("=cmd.png", ("a\x1b[2J\nb", 0.75), ("-b", 0.25)),
        answer("b.png", ("a", 1.0)),
        PredictionError("c.png", "+is no image"),
    ]
    with writing_csv(answers, tmp_path / "sub" / "out.csv") as passed:
        assert list(passed) == answers
    assert list(csv.reader((tmp_path / "sub" / "out.csv").read_text().splitlines())) == [
        ["path", "class", "probability", "second_class", "second_probability", "error"],
        ["'=cmd.png", "a\\x1b[2J\\nb", "0.750000", "'-b", "0.250000", ""],
        ["b.png", "a", "1.000000", "", "", ""],
        ["c.png", "", "", "", "", "'+is no image"],
    ]


def test_a_table_that_is_not_finished_or_cannot_be_written_is_not_there(tmp_path):
    def failing():
        yield answer("a", ("a", 1.0))
        raise RuntimeError

    with pytest.raises(RuntimeError), writing_csv(failing(), tmp_path / "out.csv") as passed:
        list(passed)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    for path, message in ((tmp_path, "is a folder"), (tmp_path / "file" / "out.csv", "cannot be written")):
        with pytest.raises(InputError, match=message), writing_csv([], path):
            pass


def test_images_are_sorted_by_class_whatever_classes_and_files_are_called(tmp_path):
    names = ["../evil", "a/b", "A_b", "con", "", "new\nline", "a_b"]
    images = []
    for place, _ in enumerate(names * 2):
        image = tmp_path / "in" / str(place // len(names)) / f"{place % len(names)}.png"
        image.parent.mkdir(parents=True, exist_ok=True)
        image.write_text(str(place))
        images.append(image)
    answers = [answer(image, (name, 1.0)) for image, name in zip(images, names * 2, strict=True)]
    into = tmp_path / "sorted"
    assert list(sorting_into([*answers, PredictionError("x", "y")], into))[:-1] == answers
    found = {str(path.relative_to(into)): path.read_text() for path in into.rglob("*.png")}
    assert found == {
        "_evil/0.png": "0", "_evil/0-2.png": "7", "a_b/1.png": "1", "a_b/1-2.png": "8", "A_b-2/2.png": "2",
        "A_b-2/2-2.png": "9",
        "con_/3.png": "3", "con_/3-2.png": "10", "class/4.png": "4", "class/4-2.png": "11", "new_nline/5.png": "5",
        "new_nline/5-2.png": "12", "a_b-3/6.png": "6", "a_b-3/6-2.png": "13",
    }  # fmt: skip
    with pytest.raises(InputError, match="is not an empty folder"):
        check_sorting_folder(into)
    check_sorting_folder(tmp_path / "new")


def test_links_lead_to_the_originals(tmp_path):
    (tmp_path / "a.png").write_text("original")
    list(sorting_into([answer(tmp_path / "a.png", ("cat", 1.0))], tmp_path / "sorted", use_links=True))
    assert (tmp_path / "sorted" / "cat" / "a.png").is_symlink()
    assert (tmp_path / "sorted" / "cat" / "a.png").read_text() == "original"


def test_the_least_certain_come_first_and_equals_in_their_order():
    answers = [answer(place, ("a", p)) for place, p in enumerate((0.9, 0.5, 0.7, 0.5, 0.99, 0.6))]
    error = PredictionError("x", "y")
    shown = list(least_certain([answers[0], error, *answers[1:]], 3))
    assert shown == [error, answers[1], answers[3], answers[5]]
    assert len(list(least_certain(answers, 100))) == 6
