"""A small network for the tests of synthesis, and all of it that a tool must leave alone."""

import torch
from torch import Tensor, nn


class Small(nn.Module):
    """Images (N, 3, H, W) -> scores (N, 5), with a function between layers and a ReLU used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3, padding=1)
        self.conv2 = nn.Conv2d(6, 8, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.norm = nn.BatchNorm2d(8)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(8, 5)

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.relu(self.conv1(images))
        hidden = self.relu(self.norm(self.conv2(hidden)))
        return self.head(self.drop(torch.nn.functional.avg_pool2d(hidden, 2).mean(dim=(2, 3))))


def make_small() -> Small:
    """In training mode, one weight frozen, a gradient there already: all of which must stay so."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = Small()
    network.conv1.bias.requires_grad_(False)
    network.head.weight.grad = torch.ones_like(network.head.weight)
    return network


def state_of(network: nn.Module) -> dict:
    """Everything of a network that a tool must leave alone."""
    return {
        "weights": {name: value.clone() for name, value in network.state_dict().items()},
        "modes": [module.training for module in network.modules()],
        "required": [parameter.requires_grad for parameter in network.parameters()],
        "gradients": [None if each.grad is None else each.grad.clone() for each in network.parameters()],
        "hooks": [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in network.modules()],
        "randomness": torch.get_rng_state(),
    }


def assert_same_state(before: dict, after: dict) -> None:
    for name in ("modes", "required", "hooks"):
        assert before[name] == after[name], name
    assert torch.equal(before["randomness"], after["randomness"])
    for name, value in before["weights"].items():
        assert torch.equal(value, after["weights"][name]), name
    for one, other in zip(before["gradients"], after["gradients"], strict=True):
        assert (one is None) == (other is None)
        assert one is None or torch.equal(one, other)
