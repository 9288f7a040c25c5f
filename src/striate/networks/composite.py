"""Networks for a task on another network's features, by name: PART:BASE, such as fcos:squeezenet1_0.

A part is a function from the base's entry to the entry of the whole.
"""

from collections.abc import Callable
from functools import lru_cache

from striate.networks.detectors import faster_rcnn, fcos, ssd
from striate.networks.ensemble import ensemble_on
from striate.networks.entry import Entry
from striate.networks.locators import locator
from striate.networks.segmenters import unet

PARTS: dict[str, Callable[[Entry], Entry]] = {
    "fcos": fcos.fcos_on,
    "ssd": ssd.ssd_on,
    "faster_rcnn": faster_rcnn.faster_rcnn_on,
    "ensemble": ensemble_on,
    "unet": unet.unet_on,
    "locator": locator.locator_on,
}


def is_composite(reference: str) -> bool:
    """Whether a name begins with that of a part, such as "fcos:"."""
    part, colon, _ = reference.partition(":")
    return bool(colon) and part in PARTS


@lru_cache
def composite_entry(part: str, base: Entry) -> Entry:
    """The entry of PART on a base; InputError where the base has no features for it."""
    return PARTS[part](base)
