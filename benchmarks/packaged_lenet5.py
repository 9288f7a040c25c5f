"""Make the deep-compressed LeNet-5 that the package carries: `striate predict lenet5:mnist digit.png`.

    python benchmarks/packaged_lenet5.py path/to/mnist [--out src/striate/weights/packaged/lenet5-mnist.striate]

Trains lenet5 on MNIST by the default recipe with seed 0 and compresses it with `--deep`; prints what `striate compress
--json` prints. Some minutes on one core. On another machine another way of computing may be chosen, and the bytes
differ.
"""

import argparse
import dataclasses
import subprocess
import sys
import tempfile
from pathlib import Path

from striate.compression.model_bytes import bytes_of
from striate.tasks.model import load_model

PACKAGED = Path(__file__).parents[1] / "src/striate/weights/packaged/lenet5-mnist.striate"


def main() -> None:
    """Train, compress, print the ledger."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mnist", help="the folder with MNIST's four files")
    parser.add_argument("--out", type=Path, default=PACKAGED)
    words = parser.parse_args()
    striate = [sys.executable, "-m", "striate"]
    with tempfile.TemporaryDirectory() as folder:
        run = str(Path(folder) / "lenet5")
        subprocess.run([*striate, "train", words.mnist, "--network", "lenet5", "--run", run, "--seed", "0"], check=True)
        small = str(Path(folder) / "small.striate")
        subprocess.run([*striate, "compress", run, words.mnist, "--deep", "--out", small, "--json"], check=True)
        model = load_model(small)
    made_by = {"made_by": "benchmarks/packaged_lenet5.py", "data": None}  # nobody else has the data where they lie here
    words.out.write_bytes(bytes_of(dataclasses.replace(model, provenance=made_by))[0])


if __name__ == "__main__":
    main()
