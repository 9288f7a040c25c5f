"""What is shown: JSON that any parser reads, numbers as people read them."""

import json
import os
import subprocess
import sys

import pytest
from rich.table import Table
from rich.text import Text

from striate.cli.answers import _shortened
from striate.cli.console import complain, err, log, out, show_json, track
from striate.cli.describe import _parse_size
from striate.cli.progress_display import LiveDisplay
from striate.errors import InputError
from striate.printable import printable
from striate.units import clock, short_count, short_size


def test_json_has_no_nan_and_keeps_letters(capsys):
    show_json({"loss": float("nan"), "rates": (float("inf"), 1.5), "name": "größe"})
    text = capsys.readouterr().out
    assert json.loads(text) == {"loss": None, "rates": [None, 1.5], "name": "größe"}
    assert "größe" in text


@pytest.mark.parametrize("in_table", [False, True])
def test_a_name_reaches_the_terminal_without_its_control_characters(capsys, in_table):
    name = "\x1b[2J\x9bRED\nnext\u202e\x07"
    shown = Text.assemble((name, "bold"), " end")
    if in_table:
        table = Table("class", box=None)
        table.add_row(shown)
        table.add_row(f"plain {name}")
        out.print(table)
    else:
        out.print(shown)
        out.print(f"plain {name}", markup=False)
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert lines[-2] == "\\x1b[2J\\x9bRED\\nnext\\u202e end"  # rich itself leaves a bell out
    assert lines[-1].startswith("plain \\x1b[2J\\x9bRED\\nnext\\u202e")
    log(name)
    complain(name)
    assert capsys.readouterr().err.splitlines() == [printable(name), f"Error: {printable(name)}"]


def test_track_hands_everything_on(capsys):
    assert list(track(range(5), "counting", 5)) == [0, 1, 2, 3, 4]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("elapsed_s", "shown"), [(0, "0:00"), (59.6, "1:00"), (3_725, "1:02:05")])
def test_clock(elapsed_s, shown):
    assert clock(elapsed_s) == shown


@pytest.mark.parametrize(
    ("count", "shown"), [(999, "999"), (61_706, "61.7 k"), (1_235_496, "1.24 M"), (4_089_184_256, "4.09 G")]
)
def test_short_counts(count, shown):
    assert short_count(count) == shown


@pytest.mark.parametrize(("size_bytes", "shown"), [(480, "480 B"), (18_816, "18.8 kB"), (1_250_000, "1.2 MB")])
def test_sizes(size_bytes, shown):
    assert short_size(size_bytes) == shown


def test_input_size_is_channels_height_width():
    assert _parse_size("3x227X100") == (3, 227, 100)
    assert _parse_size(None) is None
    for wrong in ("224", "3x0x5", "axbxc", "3x-2x5"):
        with pytest.raises(InputError, match="such as 3x224x224"):
            _parse_size(wrong)


def test_the_display_marks_the_epochs_that_were_kept(capsys):
    display = LiveDisplay()
    for epoch, is_kept in enumerate((True, True, False), start=1):
        figures = {"train_loss": 1.0, "validation_loss": 1.0, "images_per_s": 10.0, "elapsed_s": 1.0}
        display.on_epoch({"epoch": epoch, "validation_accuracy": 0.5, "is_kept": is_kept, **figures})
    marks = [line.endswith("*") for line in capsys.readouterr().err.splitlines()]
    assert marks == [True, True, False]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux's C library has mallopt")
def test_kept_memory_is_not_paged_in_again():
    """Twenty large blocks in turn: page faults for each of them, or for the first alone."""
    code = (
        "import ctypes, resource, sys\n"
        "from striate.cli.memory import keep_freed_memory\n"
        "libc = ctypes.CDLL(None); libc.malloc.restype = ctypes.c_void_p; libc.free.argtypes = [ctypes.c_void_p]\n"
        "assert keep_freed_memory() == (sys.argv[1] == 'keep')\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "for _ in range(20):\n"
        "    block = libc.malloc(40_000_000); ctypes.memset(block, 1, 40_000_000); libc.free(block)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)\n"
    )
    faults = {}
    for mode, setting in (("keep", ""), ("trim", "1")):
        done = subprocess.run(
            [sys.executable, "-c", code, mode],
            env=os.environ | {"STRIATE_TRIM_MEMORY": setting},
            capture_output=True,
            text=True,
            check=True,
        )
        faults[mode] = int(done.stdout)
    assert faults["keep"] * 5 < faults["trim"]


@pytest.mark.parametrize(
    ("path", "width", "shown"),
    [
        ("photos/cats/7.jpg", 20, "photos/cats/7.jpg"),
        ("photos/cats/7.jpg", 16, "…/cats/7.jpg"),
        ("photos/cats/7.jpg", 12, "…/cats/7.jpg"),
        ("photos/cats/7.jpg", 9, "…/7.jpg"),
        ("averylongname.jpg", 9, "…name.jpg"),
    ],
)
def test_long_paths_are_cut_from_the_left(path, width, shown):
    assert _shortened(path, width) == shown


@pytest.mark.parametrize("command", ["train", "predict", "export", "networks"])
def test_help_in_a_narrow_terminal_cuts_no_flag(command):
    environment = os.environ | {"COLUMNS": "80"}
    words = [sys.executable, "-m", "striate", command, "--help"]
    shown = subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= 80
    if command == "train":
        assert "--balanced-sampling / --no-balanced-sampling" in shown


def test_brackets_and_colons_of_names_are_printed_as_they_are(capsys, monkeypatch):
    table = Table(box=None)
    table.add_column("[bold] :cat:")
    table.add_row("runs/o d [x]")
    for console in (out, err):
        monkeypatch.setattr(console, "_file", sys.stdout)  # its property would be set back to a closed stream
        console.print("report  runs/o d [red]/:dog:.html")
        console.print(table)
        shown = capsys.readouterr().out
        assert "report  runs/o d [red]/:dog:.html" in shown
        assert "[bold] :cat:" in shown
        assert "runs/o d [x]" in shown
