"""Attacks beside torchattacks, Foolbox, ART and the authors' AutoAttack: the same images, the same network, one run.

    python benchmarks/robustness.py strength MODEL SOURCE --epsilon 8/255 --limit 500   # the standard suite, and how
    long it takes python benchmarks/robustness.py speed MODEL SOURCE --batch 16                       # images/s of each
    attack

The peers are not dependencies: pip install torchattacks foolbox adversarial-robustness-toolbox pyautoattack.
"""

import argparse
import json
import logging
import platform
import time
import warnings
from importlib.metadata import version

import torch

from striate.data.opening import Access
from striate.evaluation.evaluate_model import choose_part
from striate.robustness.apgd import apgd_ce
from striate.robustness.attack_model import AttackRequest, attack_images, choose_images, read_images
from striate.robustness.fgsm import fgsm
from striate.robustness.pgd import pgd
from striate.robustness.request import parse_fraction
from striate.robustness.square import square
from striate.tasks.model import load_model
from striate.tasks.pixel_model import PixelModel


def main() -> None:
    """Run what the words ask for and print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("strength", "speed"))
    parser.add_argument("model")
    parser.add_argument("source")
    parser.add_argument("--epsilon", default="8/255")
    parser.add_argument("--limit", type=int, default=500)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--norm", default="linf")
    parser.add_argument("--split", default="test")
    given = parser.parse_args()
    model = load_model(given.model)
    part = choose_part(model, given.source, given.split, Access(), prefer=("test", "validation"))
    images, labels = read_images(model, part, choose_images(part, given.limit, 0))
    network = PixelModel(model.network, model.preprocessing).eval()
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    epsilon = parse_fraction(given.epsilon, "--epsilon")
    run = strength if given.what == "strength" else speed
    found = run(network, images, labels, epsilon, given)
    peers = {name: version(name) for name in ("torch", "torchattacks", "foolbox", "pyautoattack")}
    about = {"processor": platform.processor(), "threads": torch.get_num_threads(), "versions": peers}
    print(json.dumps({"arguments": vars(given), **found, **about}, indent=2))


def strength(network, images, labels, epsilon, given) -> dict:
    """Robust accuracy and seconds of the standard suite, ours and the authors'."""
    from pyautoattack import AutoAttack

    started_at = time.perf_counter()
    request = AttackRequest(suite="standard", epsilon=epsilon, norm=given.norm)
    ours = attack_images(network, images, labels, request, class_names=tuple(map(str, range(1000))))
    our_seconds = time.perf_counter() - started_at
    logging.disable(logging.CRITICAL)
    names = {"linf": "Linf", "l2": "L2", "l1": "L1"}
    theirs = AutoAttack(network, norm=names[given.norm], eps=epsilon, version="standard", seed=0, device="cpu")
    started_at = time.perf_counter()
    changed = theirs.run_standard_evaluation(images, labels, batch_size=min(250, len(images)))
    if isinstance(changed, tuple):
        changed = changed[0]
    their_seconds = time.perf_counter() - started_at
    with torch.no_grad():
        is_robust = torch.cat([network(part).argmax(dim=1) for part in changed.split(100)]) == labels
    return {
        "clean_accuracy": ours.clean_accuracy,
        "ours": {"robust_accuracy": ours.robust_accuracy, "seconds": our_seconds, "attacks": ours.to_json()["attacks"]},
        "autoattack": {"robust_accuracy": is_robust.float().mean().item(), "seconds": their_seconds},
        "only_ours_fools": int((is_robust & ~ours.is_robust).sum()),
        "only_autoattack_fools": int((~is_robust & ours.is_robust & ours.was_correct).sum()),
    }


def speed(network, images, labels, epsilon, given) -> dict:
    """Images/s of FGSM, PGD-10, PGD-40, APGD-100 and Square with 100 queries, none of them ended early; median of
    three, in turns.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import foolbox
        import torchattacks

    images, labels = images[: given.batch], labels[: given.batch]
    step = epsilon / 4
    bounded = foolbox.PyTorchModel(network, bounds=(0, 1), device="cpu")
    peer_pgd = foolbox.attacks.LinfProjectedGradientDescentAttack

    def by_foolbox(attack):
        return lambda: attack(bounded, images, labels, epsilons=epsilon)

    rows = {
        "FGSM": {
            "striate": lambda: fgsm(network, images, labels, epsilon=epsilon, stop_early=False),
            "torchattacks": lambda: torchattacks.FGSM(network, eps=epsilon)(images, labels),
            "foolbox": by_foolbox(foolbox.attacks.LinfFastGradientAttack()),
        }
    }
    for steps in (10, 40):
        rows[f"PGD-{steps}"] = {
            "striate": lambda steps=steps: pgd(
                network, images, labels, epsilon=epsilon, step_size=step, num_steps=steps, stop_early=False
            ),
            "striate, finished images leave": lambda steps=steps: pgd(
                network, images, labels, epsilon=epsilon, step_size=step, num_steps=steps
            ),
            "torchattacks": lambda steps=steps: torchattacks.PGD(network, eps=epsilon, alpha=step, steps=steps)(
                images, labels
            ),
            "foolbox": by_foolbox(peer_pgd(abs_stepsize=step, steps=steps)),
        }
    rows["APGD-100"] = {
        "striate": lambda: apgd_ce(network, images, labels, epsilon=epsilon, num_steps=100, stop_early=False),
        "striate, finished images leave": lambda: apgd_ce(network, images, labels, epsilon=epsilon, num_steps=100),
        "torchattacks": lambda: torchattacks.APGD(network, eps=epsilon, steps=100)(images, labels),
    }
    rows["Square-100"] = {
        "striate": lambda: square(network, images, labels, epsilon=epsilon, num_steps=100),
        "torchattacks": lambda: torchattacks.Square(network, eps=epsilon, n_queries=100)(images, labels),
    }
    return {"images_per_s": {name: in_turns(row, len(images)) for name, row in rows.items()}}


def in_turns(row, num_images: int, num_rounds: int = 3) -> dict[str, float]:
    """Median images/s of each, after a warm-up, one after the other so that all meet the same machine."""
    seconds = {name: [] for name in row}
    for round_number in range(num_rounds + 1):
        for name, run in row.items():
            started_at = time.perf_counter()
            run()
            if round_number:
                seconds[name].append(time.perf_counter() - started_at)
    return {name: round(num_images / sorted(times)[len(times) // 2], 2) for name, times in seconds.items()}


if __name__ == "__main__":
    main()
