"""Memory of chains short enough to add up on paper, four bytes a number."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from striate.inspection.layers import describe_network


def chain(*, is_in_place: bool = False) -> nn.Module:
    """From an image of 10 numbers to 100, 100 and 50."""
    return nn.Sequential(nn.Flatten(), nn.Linear(10, 100), nn.ReLU(inplace=is_in_place), nn.Linear(100, 50))


def test_most_at_once_is_input_and_output_of_the_largest_step() -> None:
    """The image lives throughout; a tensor is gone when the next layer has taken it."""
    assert describe_network(chain(), (1, 2, 5)).forward_peak_bytes == 4 * (10 + 100 + 100)
    assert describe_network(chain(is_in_place=True), (1, 2, 5)).forward_peak_bytes == 4 * (10 + 100 + 50)


def test_training_keeps_what_the_backward_pass_needs() -> None:
    """A linear layer needs its input, a rectifier its output; the answer is kept too, weights are not."""
    assert describe_network(chain(), (1, 2, 5)).training_bytes == 4 * (10 + 100 + 50)
    frozen = chain()
    frozen[1].requires_grad_(False)  # nothing needs the image, which is there all the same
    assert describe_network(frozen, (1, 2, 5)).training_bytes == 4 * (10 + 100 + 50)
    frozen.requires_grad_(False)
    assert describe_network(frozen, (1, 2, 5)).training_bytes == 4 * (10 + 50)


def test_statistics_of_a_batch_and_masks() -> None:
    """A batch norm keeps its input, and statistics once for all images; dropout keeps a mask of the numbers' own
    type.
    """
    norm = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    assert describe_network(norm, (1, 3, 3)).training_bytes == 4 * 9 * (1 + 2 + 2)
    dropout = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Dropout())
    assert describe_network(dropout, (1, 3, 3)).training_bytes == 4 * 9 * (1 + 2 + 2)


def test_half_precision_takes_half() -> None:
    assert describe_network(chain().bfloat16(), (1, 2, 5)).forward_peak_bytes == 2 * (10 + 100 + 100)


class NeedsBatch(nn.Module):
    """Answers one image, but cannot be trained."""

    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            raise RuntimeError("labels are missing\nand more")
        return F.relu(images)


def test_what_cannot_be_measured_is_said() -> None:
    description = describe_network(NeedsBatch(), (1, 2, 2))
    assert description.forward_peak_bytes == 4 * (4 + 4)
    assert description.training_bytes is None
    assert description.notices == ("the memory of training could not be measured: labels are missing",)


@pytest.mark.parametrize("is_frozen", [False, True])
def test_real_weights_and_statistics_stay(is_frozen: bool) -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Dropout()).requires_grad_(not is_frozen)
    network[1].eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    generator = torch.get_rng_state()
    describe_network(network, (1, 4, 4))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert [module.training for module in network.modules()] == [True, True, False, True]
    assert torch.equal(torch.get_rng_state(), generator)
