"""Time delays written out, and what makes them worth it: a sound may come earlier or later."""

import torch

from striate.networks.families.tdnn import TDNN, TDNNConfig


def test_written_out_frame_by_frame() -> None:
    """A unit's inputs are all coefficients of its frames; evidence adds up over the times at which it can be seen."""
    network = TDNN(TDNNConfig(num_classes=4)).eval()
    images = torch.randn(2, 1, 16, 15, generator=torch.Generator().manual_seed(0))
    first = network.hidden1.weight.flatten(1)
    firings = torch.stack([torch.sigmoid(images[:, 0, :, t : t + 3].flatten(1) @ first.T) for t in range(13)], dim=2)
    second = network.hidden2.weight.flatten(1)
    logits = sum(torch.sigmoid(firings[:, :, t : t + 5].flatten(1) @ second.T) for t in range(9))
    torch.testing.assert_close(network(images), logits)


def test_a_shifted_event_gives_the_same_logits() -> None:
    """An event of one frame in silence, far enough from both ends that the same units see it."""
    network = TDNN(TDNNConfig()).eval()
    event = torch.randn(16, generator=torch.Generator().manual_seed(0))
    early, late = torch.zeros(1, 1, 16, 15), torch.zeros(1, 1, 16, 15)
    early[0, 0, :, 6] = event
    late[0, 0, :, 8] = event
    torch.testing.assert_close(network(early), network(late))


def test_logits_lie_between_none_and_nine_firings() -> None:
    logits = TDNN(TDNNConfig())(100 * torch.randn(50, 1, 16, 15, generator=torch.Generator().manual_seed(0)))
    assert logits.min() >= 0
    assert logits.max() <= 9
