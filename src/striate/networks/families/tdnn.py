"""The time-delay neural network (Waibel, Hanazawa, Hinton, Shikano & Lang 1989, doi:10.1109/29.21701).

N sounds, C channels (one, unless several recordings are stacked), 16 mel coefficients, 15 frames of 10 ms, K phonemes.
An image (N, C, 16, 15) is a spectrogram: a row is a coefficient, a column a frame. Each hidden unit sees a few frames
at once and has the same weights at every time, so that a phoneme is recognised wherever in the sound it is.

Departures: the paper's output units pass the sum over time through another sigmoid, for squared errors; here the sum
itself is the logit, for cross-entropy. The paper writes of weights that sum evidence as fixed and equal, without their
value; here they are 1, so logits lie between 0 and 9. First weights are those of Glorot & Bengio 2010, uniform, and
biases zero.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from striate.networks.checking import check_counts, check_images
from striate.networks.entry import Entry, Published

NUM_COEFFICIENTS, NUM_FRAMES = SIZE = (16, 15)
NUM_HIDDEN = 8
FRAMES_SEEN_FIRST, FRAMES_SEEN_SECOND = 3, 5


@dataclass(frozen=True)
class TDNNConfig:
    """Channels in and classes out: the paper tells B, D and G apart; everything else is the paper's."""

    in_channels: int = 1
    num_classes: int = 3

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)


class TDNN(nn.Module):
    """Two layers of delays and a sum over time (figure 2): spectrograms (N, C, 16, 15) -> logits (N, K) in [0, 9]."""

    def __init__(self, config: TDNNConfig) -> None:
        super().__init__()
        self.config = config
        self.hidden1 = nn.Conv2d(config.in_channels, NUM_HIDDEN, (NUM_COEFFICIENTS, FRAMES_SEEN_FIRST))
        self.sigmoid1 = nn.Sigmoid()
        self.hidden2 = nn.Conv2d(NUM_HIDDEN, config.num_classes, (1, FRAMES_SEEN_SECOND))
        self.sigmoid2 = nn.Sigmoid()
        for layer in (self.hidden1, self.hidden2):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.get_parameter("bias"))

    def forward(self, images: Tensor) -> Tensor:
        """Spectrograms (N, C, 16, 15) -> logits (N, K); InputError for any other size."""
        check_images(images, self.config.in_channels, SIZE, is_fixed_size=True, network="tdnn")
        firings = self.sigmoid1(self.hidden1(images))  # (N, 8, 1, 13)
        evidence = self.sigmoid2(self.hidden2(firings))  # (N, K, 1, 9)
        return evidence.sum(dim=(2, 3))


ENTRIES = (
    Entry(
        name="tdnn", family="tdnn", year=1989, title="Phoneme Recognition Using Time-Delay Neural Networks",
        paper="doi:10.1109/29.21701", build=TDNN, config=TDNNConfig(), input_size=(1, *SIZE), num_params=515,
        macs=6_072, stem="hidden1", head="hidden2", min_size=SIZE, is_fixed_size=True,
        published=Published(top1_error=0.015, source="the paper's abstract, B, D and G of three speakers"),
    ),
)  # fmt: skip
