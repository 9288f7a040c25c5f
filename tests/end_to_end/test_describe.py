"""`striate describe`: the table fits a terminal, the page is written, promises are tried, bad requests are refused."""

import pytest
from rich.console import Console

import striate.cli.describe
import striate.inspection.check_network
from striate.inspection.check_network import NetworkCheck


def test_the_table_fits_a_hundred_columns(striate_command, monkeypatch):
    monkeypatch.setattr(striate.cli.describe, "out", Console(width=100))
    lines = striate_command("describe", "resnet18").out.splitlines()
    assert all(len(line) <= 100 for line in lines)
    assert lines[0].strip() == "receptive"
    assert lines[1].split() == ["layer", "kind", "output", "params", "MACs", "field", "stride", "outputs"]
    rows = {line.split()[0]: line.split()[1:] for line in lines if line}
    assert rows["conv1"] == ["Conv2d", "64x112x112", "9.41", "k", "118", "M", "7", "2", "3.2", "MB"]
    assert rows["layer4.1:add"] == ["add", "512x7x7", "435", "32", "100.4", "kB"]
    assert rows["fc"] == ["Linear", "1000", "513", "k", "512", "k", "all", "4.0", "kB"]
    assert lines[-3:] == [
        "11,689,512 parameters · 1,814,073,344 MACs · 32.9 MB of outputs",
        "inference memory for one image: 7.0 MB at its peak; training memory: 22.2 MB an image",
        "energy for one image, an estimate for 45 nm (Horowitz 2014): 16,025 µJ",
    ]


def test_a_wide_terminal_shows_counts_in_full(striate_command, monkeypatch):
    monkeypatch.setattr(striate.cli.describe, "out", Console(width=150))
    assert "118,013,952" in striate_command("describe", "resnet18").out


def test_fields_that_differ_in_height_and_width(striate_command):
    rows = {line.split()[0]: line.split() for line in striate_command("describe", "lenet5").out.splitlines() if line}
    assert rows["pool2"][3:5] == ["16", "4"]
    assert rows["fc1"][-3:] == ["all", "336", "B"]


def test_json_has_everything(striate_command):
    described = striate_command("describe", "lenet5", "--json").json
    assert described["forward_peak_bytes"] == 41_728
    assert described["training_bytes"] == 49_080
    layer = described["layers"][2]
    assert (layer["name"], layer["inputs"]) == ("pool1", ["relu1"])
    assert layer["receptive_field"] == {"size": [6, 6], "stride": [2, 2], "offset": [3, 3]}
    assert described["calls"][0]["inputs"] == [-1]
    assert described["notices"] == []


def test_a_page_is_written(striate_command, tmp_path):
    page = tmp_path / "lenet.html"
    assert str(page) in striate_command("describe", "lenet5", "--html", page).out
    assert "LeNet5" in page.read_text(encoding="utf-8")
    described = striate_command("describe", "lenet5", "--html", page, "--json").json
    assert described["page"] == str(page)
    assert "cannot be written" in striate_command("describe", "lenet5", "--html", tmp_path).refused()


def test_promises_are_tried(striate_command, monkeypatch):
    kept = striate_command("describe", "lenet5", "--check")
    assert kept.code == 0
    assert [line.split()[0] for line in kept.out.splitlines()] == ["ok"] * 12

    def break_one(*_args, **_options):
        return [NetworkCheck("logits", True, "(N, 10)"), NetworkCheck("finite", False, "the answer is not finite")]

    monkeypatch.setattr(striate.inspection.check_network, "check_network", break_one)
    broken = striate_command("describe", "lenet5", "--check")
    assert (broken.code, broken.out.splitlines()[1]) == (1, "no   finite: the answer is not finite")
    listed = striate_command("describe", "lenet5", "--check", "--json")
    assert (listed.code, listed.json[1]["passed"]) == (1, False)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["lenet5", "--input-size", "1x28x28"], "lenet5 takes images of 32x32 pixels only but got 28x28"),
        (["alexnet", "--input-size", "3x62x63"], "alexnet needs images of at least 63x63 pixels but got 62x63"),
        (["alexnet", "--check", "--input-size", "3x62x63"], "alexnet needs images of at least 63x63 pixels"),
        (["alexnet", "--input-size", "3x224"], "such as 3x224x224 but got '3x224'"),
        (["lenet5", "--check", "--html", "x.html"], "ask for one of them at a time"),
        (["lenet6"], "no network is called 'lenet6'; did you mean lenet5"),
    ],
)
def test_bad_requests(striate_command, words, said):
    assert said in striate_command("describe", *words).refused()
