"""An option of the command line, written where the setting is: on the field of the dataclass that holds it."""

from dataclasses import dataclass, field
from typing import Any

OPTIMISING, AUGMENTING, TRANSFER, DATA = "Optimisation", "Augmentation", "Transfer learning", "Data"
ROBUST = "Adversarial training"
SPEED = "Speed (measured where nothing is said)"


@dataclass(frozen=True)
class Option:
    """How a field is asked for on the command line: its flags and what `--help` says of it, under the heading `panel`.

    `words` are all that may be typed. `is_fraction`: typed as a number or as one by another, such as 8/255.
    """

    flags: tuple[str, ...]
    help: str
    panel: str | None = None
    metavar: str | None = None
    words: tuple[str, ...] = ()
    is_fraction: bool = False


def option(
    *flags: str,
    text: str,
    panel: str | None = None,
    metavar: str | None = None,
    words: tuple[str, ...] = (),
    is_fraction: bool = False,
    default: Any = None,
) -> Any:
    """A dataclass field with an option; `default`, None unless another is named, leaves the choice open."""
    return field(
        default=default,
        metadata={"option": Option(flags, text, panel, metavar or "|".join(words) or None, words, is_fraction)},
    )
