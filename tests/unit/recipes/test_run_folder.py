"""Run folders: free names, nothing overwritten, foreign folders refused."""

import json

import pytest

from striate.errors import RunError
from striate.recipes.run_folder import make_numbered_run_dir, make_run_dir, read_run, write_json


@pytest.fixture(autouse=True)
def in_own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_runs_are_numbered_by_source_and_network():
    assert str(make_numbered_run_dir("digits", "lenet5")) == "runs/digits-lenet5-1"
    assert str(make_numbered_run_dir("digits", "lenet5")) == "runs/digits-lenet5-2"


def test_odd_sources_make_plain_names(tmp_path):
    (tmp_path / "My photos!").mkdir()
    assert str(make_numbered_run_dir(str(tmp_path / "My photos!"), "resnet18")) == "runs/My-photos-resnet18-1"
    assert str(make_numbered_run_dir(str(tmp_path), "resnet18")).startswith("runs/test_odd_sources")


def test_an_empty_folder_may_be_used_and_a_full_one_not(tmp_path):
    (tmp_path / "mine").mkdir()
    assert make_run_dir(tmp_path / "mine") == tmp_path / "mine"
    (tmp_path / "mine" / "run.json").write_text("{}")
    with pytest.raises(RunError, match=r"exists already and is not empty; go on with it by `striate train --resume"):
        make_run_dir(tmp_path / "mine")


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunError, match=r"is not a run: it has no run\.json"):
        read_run(tmp_path)
    for content in ("not json", "[]", json.dumps({"format": 99})):
        (tmp_path / "run.json").write_text(content)
        with pytest.raises(RunError, match=r"run\.json"):
            read_run(tmp_path)


def test_json_is_written_whole_or_not_at_all(tmp_path):
    write_json(tmp_path / "a.json", {"name": "größe"})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"name": "größe"}
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot be written"):
        write_json(tmp_path / "file" / "a.json", {})


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"is a file, so no run folder can be made below it; choose another with --run"):
        make_run_dir(tmp_path / "file" / "run")
