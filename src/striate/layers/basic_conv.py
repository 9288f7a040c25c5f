"""Convolution, batch norm and ReLU in a row, as every Inception network after the first is made of.

N images, C channels, H x W pixels, F filter size. Parameter names and the norm's epsilon are torchvision's.
"""

from torch import Tensor, nn

NORM_EPSILON = 1e-3


class BasicConv(nn.Module):
    """Convolve without bias, normalise over the batch, rectify: (N, C, H, W) -> (N, out_channels, H', W').

    Padded, H' is H / stride rounded up, for odd filters; unpadded ("V" in the papers' figures) it is
    (H - F) / stride + 1 rounded down. `kernel_size` is F or (height, width).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int = 1,
        *,
        is_padded: bool = True,
    ) -> None:
        super().__init__()
        height, width = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
        padding = (height // 2, width // 2) if is_padded else (0, 0)
        self.conv = nn.Conv2d(in_channels, out_channels, (height, width), stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(out_channels, eps=NORM_EPSILON)
        self.relu = nn.ReLU()

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, out_channels, H', W'), never below 0."""
        return self.relu(self.bn(self.conv(maps)))
