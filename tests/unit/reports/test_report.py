"""The report of a run: everything is on the page, nothing is fetched, and damaged folders are named in one line."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from PIL import Image

from striate.errors import RunError
from striate.reports.report import (
    _chance,
    duration,
    last_part,
    made_by,
    moment,
    number,
    shell,
    write_report,
)
from striate.tasks.classification.figures import figures_of
from striate.tasks.classification.metrics import Answers
from striate.units import page_percent, thousands

VOID = {"meta", "img", "br", "link", "hr", "input"}


class Page(HTMLParser):
    """Which tags a page opens, which text it shows, what it would fetch; fails where tags are not closed in order."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert self.open == []
        self.text = " ".join(self.text.replace("\N{NO-BREAK SPACE}", " ").split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attrs)
        self.links += [values[key] or "" for key in ("href", "src", "xlink:href") if key in values]
        self.ids += [values["id"] or ""] if "id" in values else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data + " "


def make_run(folder: Path, names: tuple[str, ...] = ("ant", "bee", "cat"), **changes: Any) -> Path:
    """A small run folder: as `striate train` writes it, with the given entries of run.json replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    run = {
        "format": 1,
        "striate": "0.1.0",
        "command": ["/bin/striate", "train", "my photos", "--epochs", "2"],
        "source": "my photos",
        "recipe": {"network": "lenet5", "epochs": 2, "optimizer": {"name": "adam", "learning_rate": 1e-3}},
        "seed": 0,
        "network": {"name": "lenet5", "config": {"in_channels": 1, "num_classes": len(names)}, "num_params": 61706},
        "class_names": list(names),
        "preprocessing": {"channels": 1, "crop_size": [32, 32], "mean": [0.25]},
        "data": {
            "fingerprint": "0123abcd",
            "num_images": 1234,
            "counts": {split: dict.fromkeys(names, 4) for split in ("train", "validation", "test")},
            "broken": [["holiday.jpg", "is cut off"]],
            "splits_digest": "9876",
            "notices": ["3 copies were kept out of training"],
        },
        "versions": {"torch": "2.11"},
        "machine": {"processor": "abacus"},
        "checks": [
            {"name": "loss at start", "passed": True, "detail": "2.3, near ln(10)"},
            {"name": "gradients", "passed": False, "detail": "conv1.bias has none"},
        ],
        "notices": ["the batch was halved"],
        "status": "finished",
        "started_at": "2026-11-23T18:51:51+00:00",
        "elapsed_s": 200.2,
        "best": {"epoch": 2, "validation_accuracy": 0.75},
    }
    (folder / "run.json").write_text(json.dumps(run | changes))
    epochs = [
        {
            "kind": "epoch", "epoch": epoch, "step": 10 * epoch, "train_loss": 1 / epoch, "train_accuracy": 0.5,
            "validation_loss": 1.2 / epoch, "validation_accuracy": 0.7, "learning_rate": 0.01, "images_per_s": 999.6,
            "elapsed_s": 1.5 * epoch,
        }
        for epoch in (1, 2)
    ]  # fmt: skip
    (folder / "metrics.jsonl").write_text("".join(json.dumps(epoch) + "\n" for epoch in epochs))
    return folder


def add_evaluation(folder: Path, labels: list[int], predicted: list[int], split: str = "test") -> Path:
    """An evaluation.json with these answers, and a picture of each mistake."""
    names = tuple(json.loads((folder / "run.json").read_text())["class_names"])
    truth, guesses = np.array(labels), np.array(predicted)
    wrong = truth != guesses
    answers = Answers(truth, guesses, wrong.astype(int), np.where(wrong, 2.0, 0.1), np.where(wrong, 0.7, 0.9))
    document = {"split": split, **figures_of(answers, np.arange(len(truth)), names).to_json()}
    (folder / "mistakes").mkdir(exist_ok=True)
    for place, mistake in enumerate(document["mistakes"]):
        Image.new("L", (32, 32), 10 * place).save(folder / "mistakes" / f"{place}.png")
        mistake |= {"picture": f"mistakes/{place}.png", "name": f"photo {mistake['index']}.jpg"}
    (folder / "evaluation.json").write_text(json.dumps(document))
    return folder


def test_everything_is_on_the_page(tmp_path: Path) -> None:
    run = add_evaluation(make_run(tmp_path / "run"), [0, 0, 1, 1], [0, 0, 1, 0])
    assert write_report(run) == run / "report.html"
    page = Page(run / "report.html")
    for text in (
        "lenet5 on my photos",
        "75.0 %",
        "Of 4 test images, which the network never saw while it was trained, it predicted 3 correctly",
        "between 30.1 % and 95.4 %",
        "50.0 % by always the commonest answer",
        "1,234",
        "3 min 20 s",
        "61,706 parameters",
        "hardest class bee",
        "is bee , predicted ant (70 % confidence) photo 3.jpg",
        "✓ loss at start 2.3, near ln(10)",
        "✗ gradients conv1.bias has none",
        "3 copies were kept out of training",
        "the batch was halved",
        "holiday.jpg is cut off",
        "optimizer.learning_rate 0.001",
        "striate train 'my photos' --epochs 2",
        "0123abcd",
        "started 2026-11-23 18:51",
        f"striate predict {run} photo.jpg",
    ):
        assert text.replace("\N{NARROW NO-BREAK SPACE}", " ") in page.text.replace("\N{NARROW NO-BREAK SPACE}", " "), (
            text
        )
    assert page.tags.count("svg") == 5
    assert page.tags.count("img") == 1


def test_nothing_is_fetched_and_no_script_runs(tmp_path: Path) -> None:
    run = add_evaluation(make_run(tmp_path / "run"), [0, 0, 1, 1], [0, 1, 1, 0])
    page = Page(write_report(run))
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in page.links)
    assert len(set(page.ids)) == len(page.ids)
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    text = (run / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"url\((?!#)|@import|#01020\d", text)


def test_names_are_text_and_never_markup(tmp_path: Path) -> None:
    bad = "<script>alert('x')</script>"
    run = make_run(tmp_path / "run", (bad, "b&b", '"c"'), source=bad, notices=[bad], command=["striate", bad])
    page = Page(write_report(add_evaluation(run, [0, 0, 1, 2], [1, 0, 1, 0])))
    assert "script" not in page.tags
    assert page.text.count("alert('x')") >= 4


def test_the_same_run_gives_the_same_page(tmp_path: Path) -> None:
    run = add_evaluation(make_run(tmp_path / "run"), [0, 0, 1, 1], [0, 0, 1, 0])
    first = write_report(run).read_bytes()
    assert write_report(run).read_bytes() == first


def test_drawing_leaves_matplotlib_alone(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    write_report(add_evaluation(make_run(tmp_path / "run"), [0, 1], [0, 1]))
    assert dict(matplotlib.rcParams) == before


def test_a_run_without_evaluation(tmp_path: Path) -> None:
    page = Page(write_report(make_run(tmp_path / "run", status="interrupted")))
    assert "No result yet" in page.text
    assert f"striate train --resume {tmp_path / 'run'}" in page.text
    assert page.tags.count("svg") == 3


def test_a_run_without_an_epoch(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", status="running", best=None)
    (run / "metrics.jsonl").unlink()
    page = Page(write_report(run))
    assert "Learning" not in page.text
    assert "svg" not in page.tags


def test_one_epoch_with_figures_missing(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    line = {"kind": "epoch", "epoch": 1, "train_loss": 2.0, "train_accuracy": None, "validation_loss": None,
            "validation_accuracy": None, "learning_rate": 0.1, "images_per_s": 10.0}  # fmt: skip
    (run / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    assert Page(write_report(run)).tags.count("svg") == 3


def test_figures_from_validation_images_are_called_too_good(tmp_path: Path) -> None:
    run = add_evaluation(make_run(tmp_path / "run"), [0, 1], [0, 1], split="validation")
    page = Page(write_report(run))
    assert "Of 2 validation images it predicted 2 correctly" in page.text
    assert "There was no test part" in page.text
    assert "None: every prediction was correct" in page.text
    assert "> 99.9 %" not in page.text


def test_undefined_figures_are_dashes(tmp_path: Path) -> None:
    page = Page(write_report(add_evaluation(make_run(tmp_path / "run"), [0, 0], [0, 0])))
    assert "cat 0 – – –" in page.text


def test_many_classes_show_pairs_instead_of_a_matrix(tmp_path: Path) -> None:
    names = tuple(f"class {k}" for k in range(40))
    run = add_evaluation(make_run(tmp_path / "run", names), [*range(40), 3, 3], [*range(39), 0, 7, 7])
    page = Page(write_report(run))
    assert "Confusion matrix" not in page.text
    assert "a confusion matrix would be too large to read" in page.text
    assert "class 3 class 7 2 class 39 class 0 1" in page.text
    assert "The ten least often found of 40" in page.text
    assert "All 40 classes" in page.text


def test_a_thousand_classes(tmp_path: Path) -> None:
    names = tuple(f"class {k}" for k in range(1000))
    run = add_evaluation(make_run(tmp_path / "run", names), list(range(500)), [0] * 500)
    assert write_report(run).stat().st_size < 2_000_000


def test_pictures_outside_the_run_are_not_shown(tmp_path: Path) -> None:
    run = add_evaluation(make_run(tmp_path / "run"), [0, 0, 1], [1, 1, 1])
    document = json.loads((run / "evaluation.json").read_text())
    Image.new("L", (9, 9)).save(tmp_path / "secret.png")
    document["mistakes"][0]["picture"] = "../secret.png"
    document["mistakes"][1]["picture"] = "mistakes/none.png"
    (run / "evaluation.json").write_text(json.dumps(document))
    assert "img" not in Page(write_report(run)).tags


def test_a_torn_last_line_is_passed_over(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "epo')
    assert Page(write_report(run)).tags.count("svg") == 3


def test_what_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"is not a run: it has no run\.json; name the folder that `striate train` made"):
        write_report(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="is not a run but a file"):
        write_report(tmp_path / "file")


def test_a_damaged_line_of_metrics_costs_that_line(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    whole = (run / "metrics.jsonl").read_bytes().splitlines()
    first = json.loads(whole[0])
    damaged = [
        b'{"kind"', b"\xff\x00", b"[" * 90_000, b"17", b'"x' * 90_000, json.dumps(first | {"epoch": "one"}).encode(),
        json.dumps(first | {"train_loss": [1]}).encode(), b'{"kind": "epoch", "epoch": 3}',
        json.dumps(first).replace(str(first["train_loss"]), "NaN").encode(),
    ]  # fmt: skip
    (run / "metrics.jsonl").write_bytes(b"\n".join([*damaged, *whole, b'{"kind": "ep']))
    write_report(run)
    text = Page(run / "report.html").text
    assert f"{len(damaged)} lines of metrics.jsonl are damaged and left out here." in text
    (run / "metrics.jsonl").write_bytes(b"\n".join(whole))
    write_report(run)
    assert "metrics.jsonl" not in Page(run / "report.html").text


def test_damaged_runs_are_named(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    (run / "evaluation.json").write_text("[1, 2")
    with pytest.raises(RunError, match=r"evaluation\.json is damaged"):
        write_report(run)
    (run / "evaluation.json").write_text("[1, 2]")
    with pytest.raises(RunError, match="a JSON object with entries was expected"):
        write_report(run)
    (run / "evaluation.json").write_text('{"split": "test"}')
    with pytest.raises(RunError, match="was not written by this version of striate, or is damaged: KeyError") as caught:
        write_report(run)
    assert "\n" not in str(caught.value)
    (run / "evaluation.json").unlink()
    make_run(run, network={"name": "lenet5"})
    with pytest.raises(RunError, match="was not written by this version of striate, or is damaged"):
        write_report(run)


def test_a_page_that_cannot_be_written(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    (run / "report.html").mkdir()
    (run / "report.html" / "x").touch()
    with pytest.raises(RunError, match=r"report\.html cannot be written: "):
        write_report(run)


@pytest.mark.parametrize(
    ("share", "digits", "text"),
    [
        (0.934, 1, "93.4 %"),
        (1, 1, "100 %"),
        (0, 2, "0 %"),
        (0.99999, 1, "> 99.9 %"),
        (0.0001, 0, "< 1 %"),
        (None, 1, "–"),
    ],
)
def test_percent(share: float | None, digits: int, text: str) -> None:
    assert page_percent(share, digits).replace("\N{NO-BREAK SPACE}", " ") == text


def test_other_words() -> None:
    assert [duration(each) for each in (1.25, 48.4, 200.2, 7500, None)] == [
        "1.2 s",
        "48 s",
        "3 min 20 s",
        "2 h 5 min",
        "–",
    ]
    assert thousands(1234567) == "1,234,567"
    assert [number(each) for each in (0.012345, 12345.0, None)] == ["0.0123", "1.23e+04", "–"]
    assert moment("2026-11-23T18:51:51+00:00") == "2026-11-23 18:51"
    assert [last_part(each) for each in ("mnist", "/data/my photos/", "C:\\birds", "/")] == [
        "mnist",
        "my photos",
        "birds",
        "/",
    ]
    assert shell(["__main__.py", "train", "a b"]) == "striate train 'a b'"


def test_what_the_network_looked_at(tmp_path: Path) -> None:
    run = add_evaluation(make_run(tmp_path / "run"), [0, 1, 2], [0, 1, 1])
    assert "What the network looked at" not in write_report(run).read_text()
    (run / "inside").mkdir()
    Image.new("RGB", (4, 4)).save(run / "inside" / "answered-0.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "secret.png")
    image = {
        "name": "<i>x</i>",
        "label": "cat",
        "predicted": "bee",
        "is_mistake": True,
        "answered": "inside/answered-0.png",
    }
    panel = {
        "notices": ["filters: none"],
        "looked_at": {"method": "grad_cam", "layer": "layer4", "images": [image | {"right": "../secret.png"}]},
        "units": {"num_images": 3, "layers": [{"layer": "relu1", "num_units": 16, "num_dead": 2}]},
        "sanity": [
            {
                "method": "grad_cam",
                "depends_on_weights": True,
                "stages": [{"layer": "fc", "rank_correlation": None}, {"layer": "conv1", "rank_correlation": 0.12}],
            }
        ],
    }
    (run / "inside.json").write_text(json.dumps(panel))
    page = write_report(run).read_text()
    assert "by grad cam at layer4" in page
    assert (
        page.count("data:image/png") == 2
    )  # the mistake itself, and one map: what lies outside of the run is not shown
    assert "&lt;i&gt;x&lt;/i&gt;" in page
    assert "<td>relu1</td>" in page
    assert "fc: – · conv1: 0.12" in page
    assert "Not shown: filters: none" in page


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["striate", "train", "a b"], "striate train 'a b'"),
        (["C:\\x\\striate.exe", "train", "a"], "striate train a"),
        (["__main__.py", "train", "a"], "python -m striate train a"),
        (["mine.py", "--fast"], "striate.train('photos', ...)   # called from Python: mine.py"),
        ([""], "striate.train('photos', ...)   # called from Python: interactively"),
    ],
)
def test_what_really_made_a_run_is_shown(words: list[str], line: str) -> None:
    assert made_by(words, "photos") == line


@pytest.mark.parametrize(
    ("interval", "words"), [((0.6, 0.9), ""), ((0.4, 0.6), "no better than"), ((0.1, 0.3), "below")]
)
def test_a_result_at_chance_is_said_in_words(interval: tuple[float, float], words: str) -> None:
    per_class = [{"name": "ant", "support": 5}, {"name": "bee", "support": 5}]
    said = _chance({"top1_interval": interval, "per_class": per_class, "num_images": 10})
    assert said == "" if not words else f"That is {words} always answering ant" in said
