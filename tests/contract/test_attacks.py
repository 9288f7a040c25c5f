"""Every attack: inside its ball and in range, successes confirmed, the model as it was, the same result in any
batch.
"""

import inspect
import math

import pytest
import torch

from attack_cases import digit_network, held_out
from striate.errors import InputError
from striate.robustness.criteria import Targeted
from striate.robustness.methods import METHODS
from striate.robustness.norms import NORMS, find_norm

EPSILON = {"linf": 0.15, "l2": 1.0, "l1": 6.0, "l0": 2.0, "degrees": 30.0}
PAIRS = [(name, norm) for name, method in METHODS.items() for norm in method.norms]
FEW_STEPS = {"square": 60, "boundary": 400, "carlini_wagner": 100, "one_pixel": 4}


def run(name, norm, network, images, labels, **options):
    method = METHODS[name]
    if "num_steps" in method.options:
        options.setdefault("num_steps", FEW_STEPS.get(name, 8))
    if "num_targets" in method.options:
        options.setdefault("num_targets", 2)
    return method.load()(network, images, labels, epsilon=EPSILON[norm], norm=norm, **options)


def network_for(name):
    if name != "sign_of_weights":
        return digit_network()
    images, labels = held_out(300)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
    model.zero_grad()
    return model


@pytest.mark.parametrize(("name", "norm"), PAIRS)
def test_attacks_stay_inside_and_succeed(name, norm):
    network, (images, labels) = network_for(name), held_out(30)
    state = {key: value.clone() for key, value in network.state_dict().items()}
    wanted = [
        parameter.requires_grad_(number % 2 == 0).requires_grad for number, parameter in enumerate(network.parameters())
    ]
    result = run(name, norm, network, images, labels)
    assert result.images.shape == images.shape
    assert result.images.min() >= 0
    assert result.images.max() <= 1
    if norm in NORMS:
        assert NORMS[norm].size(result.images - images).max() <= EPSILON[norm] * 1.0001
    with torch.no_grad():
        fooled = network.eval()(result.images).argmax(dim=1) != labels
    assert torch.equal(fooled, result.is_adversarial)
    assert torch.equal(result.images[result.was_met], images[result.was_met])
    assert result.clean_accuracy > 0.9
    assert result.num_queries >= len(images)
    network.train()
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())
    assert [parameter.requires_grad for parameter in network.parameters()] == wanted
    assert all(parameter.grad is None for parameter in network.parameters())
    if name not in ("noise", "rotation", "one_pixel"):
        assert result.robust_accuracy < result.clean_accuracy - 0.1, "it fooled hardly anything"


@pytest.mark.parametrize("name", METHODS)
def test_mode_comes_back_even_after_an_error(name):
    network, (images, labels) = network_for(name).train(), held_out(4)
    norm = METHODS[name].norms[0]
    with pytest.raises(InputError, match="labels must be classes of the model, 0 to 9"):
        run(name, norm, network, images, torch.full_like(labels, 77))
    assert network.training
    assert all(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("name", METHODS)
def test_batch_size_and_order_change_nothing(name):
    network, (images, labels) = network_for(name).double().float(), held_out(12)
    norm = METHODS[name].norms[0]
    together = run(name, norm, network, images, labels)
    alone = run(name, norm, network, images.flip(0), labels.flip(0), batch_size=5)
    assert torch.equal(together.is_adversarial, alone.is_adversarial.flip(0))
    torch.testing.assert_close(together.images, alone.images.flip(0), atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.takes_targets])
def test_targets_are_reached_or_nothing_is(name):
    network, (images, labels) = network_for(name), held_out(12)
    targets = (labels + 1) % 10
    norm = METHODS[name].norms[0]
    result = METHODS[name].load()(
        network, images, labels, norm=norm, epsilon=math.inf if METHODS[name].finds_smallest else 0.9,
        criterion=Targeted(targets), **({"num_steps": 150} if name == "carlini_wagner" else {}),
    )  # fmt: skip
    with torch.no_grad():
        reached = network.eval()(result.images).argmax(dim=1) == targets
    assert torch.equal(reached, result.is_adversarial)
    if name not in ("noise", "rotation", "one_pixel", "fgsm", "boundary", "sign_of_weights", "noise"):
        assert reached.float().mean() > 0.3


def test_every_method_takes_what_the_table_says():
    for name, method in METHODS.items():
        parameters = inspect.signature(method.load()).parameters
        assert list(parameters)[:3] == ["network", "images", "labels"], name
        for option in (*method.options, "epsilon", "norm", "criterion"):
            assert option in parameters, (name, option)
        if "num_steps" in method.options:
            assert parameters["num_steps"].default == method.num_steps, name
        assert find_norm(parameters["norm"].default).name == method.norms[0], name
