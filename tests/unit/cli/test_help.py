"""The list of commands: grouped, each with one whole sentence at 80 columns."""

import pytest
from typer.main import get_command

from striate.cli.app import app

GROUPS = ["Train and evaluate", "Understand", "Make pictures", "Attack and defend", "Compress", "Ship"]


def test_every_command_is_in_a_group_and_they_come_in_order() -> None:
    panels = [command.rich_help_panel for command in get_command(app).commands.values()]
    assert list(dict.fromkeys(panels)) == GROUPS


def test_each_command_has_one_whole_sentence_at_80_columns(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    group = get_command(app)
    group.rich_markup_mode = None
    group.main(["--help"], standalone_mode=False, prog_name="striate")
    lines = capsys.readouterr().out.splitlines()
    assert [line[:-1] for line in lines if line[:-1] in GROUPS] == GROUPS
    for name in group.commands:
        (line,) = [line for line in lines if line.startswith(f"  {name} ")]
        assert line.endswith(".")
        assert not line.endswith("...")
        assert len(line) <= 80
