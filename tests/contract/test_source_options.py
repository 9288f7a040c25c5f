"""Every command that reads a SOURCE takes the same options for it, and hands all of them on."""

import csv
import inspect
import json
from dataclasses import fields

import numpy as np
import pytest
from PIL import Image
from typer.main import get_command
from typer.testing import CliRunner

from striate.baselines.baseline import baseline
from striate.baselines.linear_model import linear_model
from striate.cli.app import app
from striate.cli.source_options import SourceOptions, reads_source
from striate.data.opening import Access
from striate.data.readers.columns import Columns
from striate.tasks.model import save_model

OPTIONS = {f"--{field.name.replace('_', '-')}" for field in fields(SourceOptions)}
COMMANDS = get_command(app).commands
NO_SOURCE = {"fool", "invert", "visualize", "dream"}
"""Make pictures from noise or from image files; --download alone is for their weights."""


def options_of(command):
    return {option for parameter in command.params for option in parameter.opts}


def reads(command):
    """Whether an argument or an option of a command is called SOURCE, or it knows where named sets lie."""
    names = [str(parameter.metavar) for parameter in command.params]
    return any("SOURCE" in name for name in names) or "--data-dir" in options_of(command)


READING = sorted(name for name, command in COMMANDS.items() if reads(command))


def test_the_commands_that_read_a_source_are_known():
    assert {"train", "data", "evaluate", "baseline", "compare", "ensemble", "errors", "tune", "predict"} <= set(READING)
    assert not NO_SOURCE & set(READING)


@pytest.mark.parametrize("name", READING)
def test_a_command_that_reads_a_source_has_every_option_for_it(name):
    assert options_of(COMMANDS[name]) >= OPTIONS


def test_options_become_access():
    seen = []

    @reads_source
    def command(source: str, reading: SourceOptions = SourceOptions(), as_json: bool = False) -> None:  # noqa: B008
        seen.append((source, reading, as_json))

    assert list(inspect.signature(command).parameters) == [
        "source",
        *(field.name for field in fields(SourceOptions)),
        "as_json",
    ]
    command("photos", as_json=True, root="below", label_column="kind", data_dir="sets", download=True)
    ((source, reading, as_json),) = seen
    assert (source, as_json) == ("photos", True)
    access = reading.access()
    assert isinstance(access, Access)
    assert access.columns == Columns(None, "kind", None, "below")
    assert (access.data_dir, access.download) == ("sets", True)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Digits as files in one folder, and in another a CSV whose columns have names of their own."""
    folder = tmp_path_factory.mktemp("table")
    (folder / "files").mkdir()
    (folder / "lists").mkdir()
    rng = np.random.default_rng(0)
    with (folder / "lists" / "list.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["where", "kind", "index", "part"])
        for number in range(60):
            pixels = rng.integers(0, 80, (16, 16), np.uint8)
            pixels[:, 8 * (number % 2) :][:, :8] += 150
            Image.fromarray(pixels).save(folder / "files" / f"{number}.png")
            part = ("train", "train", "train", "validation", "test")[number // 2 % 5]
            rows.writerow([f"{number}.png", ("left", "right")[number % 2], number % 7, part])
    words = ["--path-column", "where", "--label-column", "kind", "--split-column", "part", "--root"]
    return str(folder / "lists" / "list.csv"), [*words, str(folder / "files")]


@pytest.fixture(scope="module")
def model(table, tmp_path_factory):
    """A linear classifier of those images, by `striate baseline --save`."""
    source, words = table
    path = tmp_path_factory.mktemp("model") / "linear.safetensors"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STRIATE_CACHE", str(tmp_path_factory.mktemp("cache")))
        done = CliRunner().invoke(app, ["baseline", source, *words, "--only", "softmax", "--save", str(path), "--json"])
        assert done.exit_code == 0, done.output
        document = json.loads(done.stdout)
        assert (document["split"], document["num_images"], document["num_classes"]) == ("test", 12, 2)
    return str(path)


@pytest.mark.parametrize(
    ("words", "key", "expected"),
    [
        (["data", "SOURCE"], "num_classes", 2),
        (["evaluate", "MODEL", "SOURCE"], "num_images", 12),
        (["compare", "MODEL", "SOURCE", "--group-by", "class"], "num_images", 12),
        (["errors", "SOURCE", "--folds", "2"], "num_classes", 2),
        (["attack", "MODEL", "SOURCE", "--method", "fgsm", "--no-checks"], "num_images", 12),
        (["certify", "MODEL", "SOURCE", "--samples", "10"], "num_images", 12),
        (["ledger", "MODEL", "--source", "SOURCE"], "ledger", None),
        (["look", "MODEL", "SOURCE", "--near", "IMAGE", "--layer", "head"], "neighbors", None),
        (["bench", "MODEL", "SOURCE", "--engine", "torch", "--budget", "1"], "num_images", 60),
        (["train", "SOURCE", "--dry-run"], "network", None),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_columns_and_root_reach_the_source(words, key, expected, table, model, tmp_path, monkeypatch):
    source, options = table
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STRIATE_CACHE", str(tmp_path / "cache"))
    named = {"SOURCE": source, "MODEL": model, "IMAGE": f"{options[-1]}/0.png"}
    asked = [named.get(word, word) for word in words]
    done = CliRunner().invoke(app, [*asked, *options, "--json"])
    assert done.exit_code == 0, (done.output, done.exception)
    document = json.loads(done.stdout)
    assert document[key] if expected is None else document[key] == expected


def test_what_an_ensemble_gains_is_measured_on_a_table_with_columns_of_its_own(table, tmp_path, monkeypatch):
    source, options = table
    monkeypatch.setenv("STRIATE_CACHE", str(tmp_path / "cache"))
    columns = Columns("where", "kind", "part", options[-1])
    found = baseline(source, kinds=("linear_svm", "softmax"), access=Access(columns=columns))
    for kind in found.models:
        save_model(linear_model(found, kind), tmp_path / f"{kind}.safetensors")
    members = [str(tmp_path / f"{kind}.safetensors") for kind in found.models]
    words = ["ensemble", *members, "--out", str(tmp_path / "both.safetensors"), "--on", source, *options, "--json"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, (done.output, done.exception)
    assert json.loads(done.stdout)["gain"]["comparison"]["num_images"] == 12
