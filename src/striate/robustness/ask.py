"""The words of the command line as a request: epsilons such as 8/255, defaults by norm."""

from striate.errors import InputError
from striate.robustness.attack_model import AttackRequest
from striate.robustness.methods import METHODS
from striate.robustness.request import check_epsilon, parse_fraction

DEFAULT_EPSILON = {"linf": 8 / 255, "l2": 0.5, "l1": 12.0, "l0": 1.0, "degrees": 30.0}
"""The sizes that RobustBench and AutoAttack report CIFAR-10 at; one pixel; and the turn of Engstrom et al. 2019."""


def request_of(
    *,
    method: str | None,
    suite: str | None,
    norm: str | None,
    epsilon: str | None,
    steps: int | None,
    step_size: str | None,
    restarts: int | None,
    target: str | None,
    seed: int,
) -> AttackRequest:
    """The request that these flags make. InputError for words that mean nothing, or a method and a suite together."""
    if method is not None and suite is not None:
        raise InputError("give --method or --suite, not both")
    if suite is not None and (steps is not None or step_size is not None or restarts is not None or target is not None):
        raise InputError("a suite fixes its steps, restarts and targets; give --method to choose them")
    norms = METHODS.find(method or "pgd").norms
    norm = norm or norms[0]
    size = DEFAULT_EPSILON.get(norm, 8 / 255) if epsilon is None else parse_fraction(epsilon, "--epsilon")
    check_epsilon(size, norm)
    return AttackRequest(
        method=method or "pgd",
        suite=suite,
        norm=norm,
        epsilon=size,
        num_steps=steps,
        step_size=None if step_size is None else parse_fraction(step_size, "--step-size"),
        num_restarts=restarts,
        target=target,
        seed=seed,
    )
