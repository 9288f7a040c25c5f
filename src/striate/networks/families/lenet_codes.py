"""The target codes of LeNet-5's output units (LeCun et al. 1998, section II.B, figure 3): pictures of 7x12 pixels.

K classes. The paper draws the printable characters as 7x12 bitmaps, so that characters which look alike have codes that
are alike. Departures: these ten digits are drawn for striate in that manner, not copied from figure 3; strokes are +1
and paper is -1. Other numbers of classes have no pictures: their codes are drawn at random once and for all, from a
generator of their own.
"""

import torch
from torch import Tensor

CODE_HEIGHT, CODE_WIDTH = 12, 7
CODE_SIZE = CODE_HEIGHT * CODE_WIDTH
_SEED = 1998

# fmt: off
_DIGITS = (
    ".......  .......  .......  .......  .......  .......  .......  .......  .......  .......",
    "..###..  ...#...  ..###..  .#####.  ....##.  #######  ..####.  #######  ..###..  ..###..",
    ".##.##.  ..##...  .##.##.  ##...##  ...###.  ##.....  .##....  ##...##  .##.##.  .##.##.",
    "##...##  .###...  ##...##  .....##  ...###.  ##.....  ##.....  .....##  ##...##  ##...##",
    "##...##  ...#...  .....##  ....##.  ..#.##.  ##.....  ##.....  ....##.  ##...##  ##...##",
    "##...##  ...#...  ....##.  ..###..  .##.##.  #####..  ##.##..  ....##.  .##.##.  ##...##",
    "##...##  ...#...  ...##..  ....##.  .#..##.  ##..##.  ###.##.  ...##..  ..###..  .##.###",
    "##...##  ...#...  ..##...  .....##  #######  .....##  ##...##  ...##..  .##.##.  ..##.##",
    "##...##  ...#...  .##....  .....##  ....##.  .....##  ##...##  ..##...  ##...##  .....##",
    ".##.##.  ...#...  ##.....  ##...##  ....##.  ##..##.  .##.##.  ..##...  .##.##.  ....##.",
    "..###..  .#####.  #######  .#####.  ....##.  .####..  ..###..  ..##...  ..###..  .####..",
    ".......  .......  .......  .......  .......  .......  .......  .......  .......  .......",
)
# fmt: on


def make_codes(num_classes: int) -> Tensor:
    """Codes (K, 84) of +1 and -1, float32, on the CPU: the digits where K is 10, else random ones, always the same.

    No two codes of a set are equal. No global random generator is asked.
    """
    if num_classes == len(_DIGITS[0].split()):
        columns = zip(*(row.split() for row in _DIGITS), strict=True)  # one digit's rows each
        values = [[1.0 if pixel == "#" else -1.0 for pixel in "".join(rows)] for rows in columns]
        return torch.tensor(values, device="cpu")
    generator = torch.Generator().manual_seed(_SEED)
    bits = torch.randint(2, (num_classes, CODE_SIZE), generator=generator, device="cpu")
    return 2.0 * bits - 1.0
