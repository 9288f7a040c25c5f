"""What cannot be attacked is refused in one line that says what to do."""

import pytest
from torch import nn

from attack_cases import digit_network, held_out
from striate.errors import InputError, NonFiniteLoss
from striate.robustness.criteria import Targeted
from striate.robustness.fgsm import fgsm
from striate.robustness.noise import noise
from striate.robustness.request import parse_fraction

IMAGES, LABELS = held_out(4)


class Broken(nn.Module):
    """Finite logits whose gradient is not."""

    def forward(self, images):
        sums = images.flatten(1)[:, :10]
        return (sums - sums).sqrt() + sums


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epsilon": 8}, r"epsilon must lie in \[0, 1\], pixels being 0 to 1, but is 8; did you mean 8/255\?"),
        ({"epsilon": -0.1}, "epsilon must not be negative but is -0.1"),
        ({"epsilon": float("nan")}, "epsilon must not be negative but is nan"),
        ({"epsilon": 70, "norm": "l1"}, r"epsilon must lie in \[0, 64\], the largest l1 change"),
        (
            {"images": IMAGES * 4 - 2},
            r"images must lie in \[0, 1\] but run from -2 to 2; if they are already normalised",
        ),
        ({"images": IMAGES * float("nan")}, r"images must lie in \[0, 1\] but run from nan"),
        ({"images": (IMAGES * 255).byte()}, "images must be floats .* but are torch.uint8"),
        ({"images": IMAGES.half()}, "images must be float32 but are torch.float16"),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, "there are no images to attack"),
        ({"labels": LABELS[:2]}, "expected one label for each of 4 images but got 2"),
        ({"labels": LABELS + 10}, "labels must be classes of the model, 0 to 9, but run from 1"),
        ({"criterion": Targeted(LABELS)}, "the target of an image is its own label"),
        ({"criterion": Targeted(LABELS + 10)}, "targets must be classes of the model"),
        ({"batch_size": 0}, "batch_size must be at least 1 but is 0"),
        ({"norm": "l7"}, "norm must be one of linf, l2, l1"),
        ({"network": nn.Sequential(nn.Flatten(), nn.Linear(64, 1))}, "the model has a single class"),
        ({"network": lambda images: images.flatten(1)[:, :10]}, "gives no gradients .* square"),
    ],
)
def test_requests_that_cannot_be_met(changes, message):
    given = {"network": digit_network(), "images": IMAGES, "labels": LABELS, "epsilon": 0.1, **changes}
    with pytest.raises(InputError, match=message) as caught:
        fgsm(given.pop("network"), given.pop("images"), given.pop("labels"), **given)
    assert "\n" not in str(caught.value)


def test_gradients_that_are_not_numbers_are_no_robustness():
    with pytest.raises(NonFiniteLoss, match="gradients of the network are NaN or infinite"):
        fgsm(Broken(), IMAGES, LABELS, epsilon=0.1, stop_early=False)


def test_outputs_that_are_not_numbers_are_no_success():
    with pytest.raises(NonFiniteLoss, match="outputs NaN or infinity"):
        noise(lambda images: images.flatten(1)[:, :10] / 0, IMAGES, LABELS, epsilon=0.1)


def test_a_plain_function_can_be_attacked_without_gradients():
    network = digit_network().eval()
    result = noise(lambda images: network(images), IMAGES, LABELS, epsilon=0.1)
    assert len(result) == 4


@pytest.mark.parametrize(("text", "number"), [("8/255", 8 / 255), ("0.03", 0.03), ("inf", float("inf"))])
def test_fractions(text, number):
    assert parse_fraction(text, "--epsilon") == number


@pytest.mark.parametrize("text", ["eight", "1/0", "", "1/2/3"])
def test_no_fraction(text):
    with pytest.raises(InputError, match=r"--epsilon must be a number such as 0\.03 or 8/255"):
        parse_fraction(text, "--epsilon")
