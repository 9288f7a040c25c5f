"""Every command runs wherever people run it: notebooks, schedulers, services, terminals of other alphabets, locked
homes.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from striate.cli.app import app

WORDS = {
    "train": "train digits --network lenet5 --epochs 1 --no-checks --run run",
    "evaluate": "evaluate run",
    "calibrate": "calibrate run --temperature 1.2",
    "predict": "predict run grün-█.png",
    "bench": "bench run --engine torch --budget 1 --batch 1",
    "report": "report run",
    "export": "export run --to torch --force",
    "check": "check run run/exported/model.pt2 --trust",
    "networks": "networks --family lenet",
    "describe": "describe lenet5 --html page.html",
    "data": "data digits",
    "explain": "explain run grün-█.png --method saliency --out maps",
    "look": "look run --out looked",
    "attack": "attack run --method fgsm --limit 16 --html attack.html",
    "certify": "certify run --sigma 0.25 --limit 2 --samples 100",
    "compare": "compare run digits --split test --group-by class --html compare.html",
    "ledger": "ledger run",
    "runs": "runs .",
    "cache": "cache",
}
"""In this order; a command that is not here shows its help."""
DRIVER = """
import json, sys
from pathlib import Path
codes = {}
for name, words in json.loads(Path("words.json").read_text()).items():
    sys.argv = ["striate", *words]
    try:
        from striate.__main__ import main
        main()
    except SystemExit as stop:
        codes[name] = stop.code or 0
    Path("codes.json").write_text(json.dumps(codes))
"""
SURROUNDINGS = {
    "a notebook in a job of many tasks, colours forced into a file": {
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "photos", "SLURM_NTASKS": "2", "SLURM_PROCID": "1", "SLURM_LOCALID": "1",
        "LSB_JOBID": "1", "LSB_DJOB_RANKFILE": "/nowhere", "LSB_DJOB_NUMPROC": "2",
        "JSM_NAMESPACE_LOCAL_RANK": "0", "JSM_NAMESPACE_SIZE": "2", "JSM_NAMESPACE_RANK": "1",
        "PBS_JOBID": "1", "PBS_NP": "2", "PMI_SIZE": "2", "PMI_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2",
        "KUBERNETES_PORT": "tcp://127.0.0.1:443", "GROUP_RANK": "1", "NODE_RANK": "1",
        "MASTER_ADDR": "nowhere", "MASTER_PORT": "1", "WORLD_SIZE": "2", "RANK": "1",
        "FORCE_COLOR": "1", "TTY_COMPATIBLE": "1", "TTY_INTERACTIVE": "1", "COLUMNS": "80",
    },
    "a service with its streams closed and no home": {"HOME": None, "USER": None, "PATH": "/usr/bin"},
    "Windows' alphabet, a home that cannot be written": {"HOME": "/dev/null", "PYTHONIOENCODING": "cp1252"},
    "an alphabet of western Europe, a terminal that cannot move": {"PYTHONIOENCODING": "latin-1", "TERM": "dumb"},
    "an alphabet of 1963, a narrow window": {"PYTHONIOENCODING": "ascii", "COLUMNS": "40", "NO_COLOR": "1"},
}  # fmt: skip
MOVES = re.compile(r"\x1b\[[0-9?]*[^0-9?;m]|\r")
"""Whatever moves or hides the cursor, or wipes a line."""


ALWAYS = ("train", "evaluate", "predict", "export", "check", "report")
SHARE = 2
"""In so many surroundings each other command runs; in the rest it shows its help, but for `make test-all`."""


def commands(number: int, *, are_all: bool) -> dict[str, list[str]]:
    names = [command.name or command.callback.__name__ for command in app.registered_commands]
    assert set(WORDS) <= set(names)
    others = [name for name in WORDS if name not in ALWAYS]
    own = {name for place, name in enumerate(others) if are_all or (place + number) % len(SURROUNDINGS) < SHARE}
    runs = {name: words for name, words in WORDS.items() if name in own or name in ALWAYS}
    helps = {name: f"{name} --help" for name in names if name not in runs}
    return {name: shlex.split(words) for name, words in (runs | helps).items()}


@pytest.mark.slow
@pytest.mark.parametrize("are_all", [False, pytest.param(True, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("name", SURROUNDINGS)
def test_every_command_runs(name, are_all, tmp_path):
    changes = SURROUNDINGS[name]
    words = commands(list(SURROUNDINGS).index(name), are_all=are_all)
    (tmp_path / "words.json").write_text(json.dumps(words))
    (tmp_path / "driver.py").write_text(DRIVER)
    Image.new("L", (8, 8), 200).save(tmp_path / "grün-█.png")
    environment = {key: value for key, value in os.environ.items() if key not in ("TERM", "STRIATE_CACHE", "COLUMNS")}
    environment |= {"XDG_CACHE_HOME": "", "TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    environment |= {key: value for key, value in changes.items() if value is not None}
    for key in (key for key, value in changes.items() if value is None):
        environment.pop(key, None)
    environment["PYTHONPATH"] = os.pathsep.join(sys.path[1:])
    streams = "<&- >&- 2>&-" if "closed" in name else "</dev/null >out.txt 2>err.txt"
    command = f"exec {shlex.quote(sys.executable)} driver.py {streams}"
    subprocess.run(command, shell=True, cwd=tmp_path, env=environment, timeout=300, check=False)
    said = "".join(
        path.read_bytes().decode(changes.get("PYTHONIOENCODING") or "utf-8") for path in sorted(tmp_path.glob("*.txt"))
    )
    codes = json.loads((tmp_path / "codes.json").read_text())
    assert codes == dict.fromkeys(words, 0), said
    assert (tmp_path / "run" / "report.html").is_file()
    assert "closed" in name or "accuracy" in said
    assert not MOVES.search(said)


def test_a_command_alone_shows_help_and_a_reader_who_leaves_ends_it_quietly():
    alone = subprocess.run([sys.executable, "-m", "striate"], capture_output=True, text=True, check=False)
    assert (alone.returncode, alone.stderr) == (0, "")
    assert "Usage" in alone.stdout
    with subprocess.Popen(
        [sys.executable, "-m", "striate", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as early:
        early.stdout.close()
        assert "Traceback" not in early.stderr.read()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a file that is always full")
@pytest.mark.parametrize("words", [["networks"], ["networks", "--json"], ["--help"]])
def test_an_answer_that_does_not_fit_on_the_disk_is_one_line(words):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "striate", *words], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "No space left on device; free some space" in line
