"""Every command ends with the next sensible one on standard error, and with none beside JSON."""

import shlex

import pytest
from PIL import Image

from end_to_end.conftest import write_folder
from striate.cli.app import app

WORDS = {
    "train": "train PHOTOS --network squeezenet1_1 --image-size 32 --epochs 1 --batch-size 8 --no-checks --no-measure "
    "--no-robustness --run run",
    "data": "data PHOTOS",
    "evaluate": "evaluate run",
    "calibrate": "calibrate run --temperature 1.1",
    "predict": "predict run photo.png",
    "compare": "compare run run PHOTOS",
    "errors": "errors PHOTOS",
    "baseline": "baseline PHOTOS",
    "report": "report run",
    "runs": "runs .",
    "cache": "cache",
    "networks": "networks --family lenet",
    "describe": "describe lenet5",
    "explain": "explain run photo.png",
    "look": "look run",
    "index": "index PHOTOS --model run --out photos.index",
    "search": "search photos.index photo.png",
    "drift": "drift run PHOTOS PHOTOS",
    "visualize": "visualize run --class along --steps 1",
    "dream": "dream photo.png --model run --layer features.3 --steps 1 --octaves 1",
    "fool": "fool photo.png --model run --class along --steps 1",
    "invert": "invert photo.png --model run --layer features.0 --steps 1",
    "texture": "texture photo.png --method patches --size 16 --levels 1",
    "style": "style photo.png photo.png --model run --size 48 --steps 1",
    "attack": "attack run --method fgsm --no-checks",
    "transfers": "transfers run --learners none --limit 10",
    "certify": "certify run --samples 100 --limit 2",
    "substitute": "substitute run PHOTOS --queries 40 --network lenet5",
    "ensemble": "ensemble run run --out ensemble.safetensors",
    "compress": "compress run --prune 0.5 --epochs 0 --out small.striate",
    "ledger": "ledger run small.striate",
    "export": "export run --to torch",
    "check": "check run run/exported/model.pt2 --trust",
    "bench": "bench run --engine torch --budget 1 --batch 1",
}
"""In this order. The demo's ending and a search's have tests of their own."""
ELSEWHERE = {"demo", "tune"}
SILENT_WITH_JSON = ("report run", "networks --family lenet", "runs .", "describe lenet5", "data PHOTOS", "look run")


@pytest.mark.slow
def test_every_command_names_the_next_step(striate_command, tmp_path):
    stripes = write_folder(tmp_path / "stripes", {"across": 20, "along": 20})
    Image.open(stripes / "along" / "000.png").resize((64, 64)).save("photo.png")
    names = {command.name for command in app.registered_commands}
    assert names == set(WORDS) | ELSEWHERE
    endings = {}
    for name, words in WORDS.items():
        done = striate_command(*shlex.split(words.replace("PHOTOS", str(stripes))))
        assert done.code in (0, 1), (name, done.err)
        endings[name] = done.err.rstrip().splitlines()[-1]
    assert [name for name, line in endings.items() if not line.startswith("next: striate ")] == []
    for line in endings.values():
        first = shlex.split(line.removeprefix("next: "), comments=True)[1]
        assert first in names, line
    for words in SILENT_WITH_JSON:
        done = striate_command(*shlex.split(words.replace("PHOTOS", str(stripes))), "--json")
        assert "next:" not in done.err + done.out, words
