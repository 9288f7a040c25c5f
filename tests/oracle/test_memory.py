"""Memory of activations against what PyTorch's allocator really hands out on the CPU, as its profiler notes it."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from striate.inspection.layers import describe_network


def allocated(run: Callable[[], object]) -> tuple[int, int]:
    """Bytes still held when `run` has ended and its answer is kept, and the most at once."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as seen:
        answer = run()
    now = peak = 0
    changes = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
    for change in sorted(changes, key=lambda event: event.start_ns()):
        now += change.nbytes()
        peak = max(peak, now)
    del answer
    return now, peak


class Skip(nn.Module):
    """A block whose input lives until its end, and whose branches are put together."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, maps: Tensor) -> Tensor:
        changed = self.layers(maps)
        return torch.cat([maps, changed, maps + changed], dim=1)


def without_scratch() -> nn.Module:
    """Layers whose operators take no memory of their own while they run, as convolutions do."""
    return nn.Sequential(
        nn.AvgPool2d(2),
        nn.BatchNorm2d(3),
        Skip(nn.ReLU(), nn.Sigmoid(), nn.ReLU(inplace=True), nn.Tanh()),
        nn.MaxPool2d(2),
        Skip(nn.Dropout(0.5), nn.Hardtanh()),
        nn.Flatten(),
        nn.Linear(27 * 9, 40),
        nn.ReLU(),
        nn.Linear(40, 5),
    )


def with_convolutions() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(0.2),
        Skip(nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True)),
        nn.Conv2d(24, 4, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 3),
    )


def test_most_at_once_is_what_the_allocator_hands_out() -> None:
    network = without_scratch().eval()
    image = torch.zeros(1, 3, 12, 12)
    with torch.no_grad():
        network(image)  # what is made once is made
        _, peak = allocated(lambda: network(image))
    saved_statistics = 2 * 3 * 4  # a batch norm makes them on the meta device but not on the CPU
    assert describe_network(network, (3, 12, 12)).forward_peak_bytes == pytest.approx(
        peak + image.nbytes, abs=saved_statistics
    )


@pytest.mark.parametrize("build", [without_scratch, with_convolutions])
@pytest.mark.parametrize("is_frozen", [False, True])
def test_training_keeps_what_the_allocator_has_not_got_back(build: Callable[[], nn.Module], is_frozen: bool) -> None:
    network = build().train()
    if is_frozen:  # all but the last layer
        network[:-1].requires_grad_(False)
    expected = describe_network(network, (3, 12, 12)).training_bytes
    batches = [torch.zeros(num_images, 3, 12, 12) for num_images in (2, 3)]
    network(batches[0])
    (two, _), (three, _) = (allocated(lambda images=images: network(images)) for images in batches)
    assert expected == three - two + batches[0][0].nbytes
