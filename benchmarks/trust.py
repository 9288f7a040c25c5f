"""How far the trust commands can be believed: each part against a named peer or a known answer, in the same run.

    python benchmarks/trust.py baselines [KIND ...]  # k-NN and linear classifiers on the pixels of MNIST and CIFAR-10
    python benchmarks/trust.py coverage              # sets of classes on 20 divisions of the same images
    python benchmarks/trust.py duplicates            # planted copies, beside imagededup and cleanvision
    python benchmarks/trust.py labels                # MNIST with 5 % of the labels flipped, beside cleanlab
    python benchmarks/trust.py preflight             # striate data on 60,000 images and on 1,000 photos
    python benchmarks/trust.py tuning                # striate tune beside Optuna's own sampler, as many trials

The peers are not dependencies: pip install imagededup cleanvision cleanlab. Adds to docs/results/trust.json.
"""

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import trust_duplicates
import trust_labels
import trust_tuning
from accuracy import RESULTS, surroundings
from striate.baselines.baseline import KINDS, baseline
from striate.baselines.linear_model import linear_model
from striate.data.opening import Access
from striate.evaluation.class_probabilities import class_probabilities_of
from striate.evaluation.conformal import conformal_scores, conformal_sets, conformal_threshold
from striate.evaluation.evaluate_model import choose_part
from striate.tasks.intervals import wilson_interval
from timed import run

NUM_DIVISIONS, NUM_CALIBRATION, COVERAGE = 20, 1_000, 0.9


def main() -> None:
    """Run the part named and write its results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=sorted(PARTS))
    parser.add_argument("kinds", nargs="*", help="baselines: which; all by default")
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--only", choices=("mnist", "cifar10"), help="baselines and pre-flight: one set")
    options = parser.parse_args()
    out = RESULTS / "trust.json"
    result = json.loads(out.read_text()) if out.exists() else {}
    began_at, began_cpu = time.perf_counter(), _processor_seconds()
    found = PARTS[options.part](options)
    spent = {
        "wall_s": round(time.perf_counter() - began_at, 1),
        "processor_s": round(_processor_seconds() - began_cpu, 1),
    }
    about = {**surroundings(), "command": " ".join(["python", "benchmarks/trust.py", *sys.argv[1:]]), **spent}
    key = options.part if options.only is None else f"{options.part} {options.only}"
    result[" ".join([key, *options.kinds])] = {**about, **found}
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(found, indent=1))


def baselines(options: argparse.Namespace) -> dict[str, Any]:
    """Every baseline on the pixels of each set, fitted on all images outside the test part."""
    found = {}
    for name, source in _sets(options).items():
        kinds = tuple(options.kinds) or KINDS
        measured = baseline(source, kinds=kinds, access=Access(data_dir=str(options.data / "mnist"), log=print))
        found[name] = measured.to_json()
    return found


def coverage(options: argparse.Namespace) -> dict[str, Any]:
    """How often sets for 90 % hold the right class, on 20 divisions of MNIST's test images, and how often that should
    happen.

    The model is softmax regression on the training images. Over divisions the fraction covered of m images with n for
    calibration follows a beta-binomial law (arXiv:2107.07511, appendix C).
    """
    from scipy.stats import betabinom

    access = Access(data_dir=str(options.data / "mnist"))
    model = linear_model(baseline("mnist", kinds=("softmax",), access=access))
    part = choose_part(model, "mnist", "test", access, prefer=("test",))
    probabilities, labels = class_probabilities_of(model, part.packed, part.indices), part.labels[part.indices]
    count, found = len(labels) - NUM_CALIBRATION, {}
    left_out = int(np.floor((NUM_CALIBRATION + 1) * (1 - COVERAGE) + 1e-9))
    law = betabinom(count, NUM_CALIBRATION + 1 - left_out, left_out)
    low, high = (float(bound / count) for bound in law.interval(0.95))
    for method in ("lac", "aps"):
        rows = []
        for seed in range(NUM_DIVISIONS):
            order = np.random.default_rng(seed).permutation(len(labels))
            known, asked = order[:NUM_CALIBRATION], order[NUM_CALIBRATION:]
            scores = conformal_scores(probabilities[known], method)[np.arange(len(known)), labels[known]]
            sets = conformal_sets(probabilities[asked], conformal_threshold(scores, COVERAGE), method, allow_empty=True)
            rows.append(float(sets[np.arange(len(asked)), labels[asked]].mean()))
        inside = sum(low <= row <= high for row in rows)
        found[method] = {
            "covered": rows,
            "mean": float(np.mean(rows)),
            "inside_95": inside,
            "inside_95_interval": wilson_interval(inside, NUM_DIVISIONS),
        }
    return {
        "coverage": COVERAGE,
        "num_calibration": NUM_CALIBRATION,
        "num_images": count,
        "law_95": (low, high),
        **found,
    }


def preflight(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds and memory of `striate data` on 60,000 small images, and on 1,000 photos, near duplicates and all."""
    from photos import gather

    found = {}
    with tempfile.TemporaryDirectory() as name:
        sources = {
            "cifar10": options.data / "cifar10-jpeg.npz",
            "photos": gather(options.data, Path(name) / "p", 1_000),
        }
        for source, path in sources.items():
            before = _processor_seconds()
            seconds, peak = run([sys.executable, "-m", "striate", "data", path, "--json"])
            found[source] = {
                "wall_s": round(seconds, 1),
                "processor_s": round(_processor_seconds() - before, 1),
                "peak_mb": round(peak / 1e6),
                "num_photos": len(list(path.rglob("*.jpg"))) if path.is_dir() else 60_000,
            }
    return found


def _sets(options: argparse.Namespace) -> dict[str, str]:
    sets = {"mnist": "mnist", "cifar10": str(options.data / "cifar10-jpeg.npz")}
    return sets if options.only is None else {options.only: sets[options.only]}


def _processor_seconds() -> float:
    """Of this process and those that it has waited for."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in spent)


PARTS = {
    "baselines": baselines,
    "coverage": coverage,
    "duplicates": lambda options: trust_duplicates.measure(options.data),
    "labels": lambda options: trust_labels.measure(options.data),
    "preflight": preflight,
    "tuning": lambda options: trust_tuning.measure(options.data),
}

if __name__ == "__main__":
    main()
