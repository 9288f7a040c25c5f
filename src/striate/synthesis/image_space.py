"""Ways to write down a picture as free numbers: pixels with decorrelated colours, or the Fourier coefficients of those.

C channels, H x W pixels. Ascent in a decorrelated, frequency-scaled space follows other directions than in pixels and
avoids high-frequency noise (Olah, Mordvintsev & Schubert 2017, "Feature Visualization", doi:10.23915/distill.00007,
section "Preconditioning and parameterization").
"""

import math

import torch
from torch import Tensor

from striate.errors import InputError

# Square root of the covariance of RGB values in [0, 1], eigenvectors times root eigenvalues: light against dark, blue
# against yellow, green against magenta. Computed by us over 500 ImageNet photos resized to 64 x 64.
_COLOUR_ROOT = ((0.2440, -0.0868, 0.0263), (0.2496, -0.0043, -0.0498), (0.2550, 0.0873, 0.0236))
_CONTRAST = 4.0  # slope of the sigmoid at grey is 1/4


class PixelSpace:
    """The picture is grey plus a free number for each pixel and channel, mixed by the colour covariance, cut to [0, 1].

    `parameters` holds one tensor (1, C, H, W), the deviation from grey before the colours are mixed; regularisers
    that work on pixels change it in place.
    """

    def __init__(
        self, size: tuple[int, int], channels: int, generator: torch.Generator, *, decorrelated: bool = True
    ) -> None:
        deviation = torch.randn((1, channels, *size), generator=generator, device=generator.device) * 0.05
        self.deviation = deviation.requires_grad_()
        self.parameters = [self.deviation]
        self.colours = _colour_matrix(channels, decorrelated, generator.device)

    def image(self) -> Tensor:
        """The picture (1, C, H, W) in [0, 1], differentiable."""
        return (0.5 + _mix(self.deviation, self.colours)).clamp(0, 1)


class FourierSpace:
    """The picture is the sigmoid of an inverse real Fourier transform, each coefficient scaled by 1 / frequency **
    decay.

    `parameters` holds one tensor (1, C, H, W // 2 + 1, 2), real and imaginary parts.
    """

    def __init__(
        self,
        size: tuple[int, int],
        channels: int,
        generator: torch.Generator,
        *,
        decorrelated: bool = True,
        decay: float = 1.2,
    ) -> None:
        height, width = size
        device = generator.device
        shape = (1, channels, height, width // 2 + 1, 2)
        self.size = size
        self.coefficients = (torch.randn(shape, generator=generator, device=device) * 0.01).requires_grad_()
        self.parameters = [self.coefficients]
        self.colours = _colour_matrix(channels, decorrelated, device)
        vertical = torch.fft.fftfreq(height, device=device)[:, None]
        horizontal = torch.fft.rfftfreq(width, device=device)[None, :]
        frequency = torch.sqrt(vertical**2 + horizontal**2).clamp(min=1 / max(height, width))
        self.scale = frequency**-decay * math.sqrt(height * width) / 4

    def image(self) -> Tensor:
        """The picture (1, C, H, W) in [0, 1], differentiable."""
        spectrum = torch.view_as_complex(self.coefficients) * self.scale
        deviation = torch.fft.irfft2(spectrum, s=self.size)
        return torch.sigmoid(_CONTRAST * _mix(deviation, self.colours))


def image_space(
    name: str, size: tuple[int, int], channels: int, generator: torch.Generator, *, decorrelated: bool = True
) -> PixelSpace | FourierSpace:
    """The space called "fourier" or "pixels", filled with faint noise from the generator. InputError for another
    name.
    """
    if name == "fourier":
        return FourierSpace(size, channels, generator, decorrelated=decorrelated)
    if name == "pixels":
        return PixelSpace(size, channels, generator, decorrelated=decorrelated)
    raise InputError(f"the parametrisation must be fourier or pixels but is {name!r}")


def _colour_matrix(channels: int, decorrelated: bool, device: torch.device) -> Tensor | None:
    """(3, 3), scaled so that its largest column has length 1; None where colours are not mixed."""
    if channels != 3 or not decorrelated:
        return None
    root = torch.tensor(_COLOUR_ROOT, device=device)
    return root / root.norm(dim=0).max()


def _mix(values: Tensor, colours: Tensor | None) -> Tensor:
    return values if colours is None else torch.einsum("ij,njhw->nihw", colours, values)
