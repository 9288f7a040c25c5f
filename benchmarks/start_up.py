"""How long the smallest commands take, from start to end, against importing what others import first.

    .venv/bin/python benchmarks/start_up.py --data ../shared/data [--peers-python PYTHON]

`--peers-python` is the interpreter of an environment with fastai, keras, lightning and ultralytics; peers that are
not there are left out, and said. Everyone takes turns. Writes docs/results/start-up.json.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import timed
from accuracy import RESULTS, SQUEEZENET, surroundings

IMPORTS = {
    "import torch": "import torch",
    "import torchvision": "import torchvision",
    "import lightning": "import lightning",
    "import timm": "import timm",
    "fastai's usual import": "from fastai.vision.all import *",
    "import keras (on TensorFlow)": "import keras",
    "yolo version": "from ultralytics.cfg import entrypoint; entrypoint('yolo version')",
}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--peers-python", type=Path, default=Path(sys.executable))
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    own = [Path(sys.executable).parent / "striate"]
    model = f"squeezenet1_0:{options.data / SQUEEZENET}"
    photo = sorted((options.data / "flowers").rglob("*.jpg"))[0]
    peers: dict[str, timed.Command] = {}
    missing = []
    for name, code in IMPORTS.items():
        command = [options.peers_python, "-c", code]
        works = subprocess.run(command, capture_output=True, check=False).returncode == 0
        peers |= {name: command} if works else {}
        missing += [] if works else [name]
    with tempfile.TemporaryDirectory() as folder:
        environment = {"STRIATE_CACHE": folder}
        timed.run(
            [*own, "bench", model, options.data / "flowers", "--engine", "onnxruntime", "--engine", "openvino"],
            environment=environment,
        )
        commands = {
            "striate --help": [*own, "--help"],
            "striate networks": [*own, "networks"],
            "striate predict, one photo": [*own, "predict", model, photo],
            "striate predict, one photo, by torch": [*own, "predict", model, photo, "--engine", "torch"],
            **peers,
        }
        found = timed.take_turns(commands, options.repeats, environment=environment)
    result = {**surroundings(), "missing": missing, "commands": found}
    (RESULTS / "start-up.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
