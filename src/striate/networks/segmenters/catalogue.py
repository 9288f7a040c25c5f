"""Every segmenter that stands alone, by name."""

from striate.networks.entry import Entry
from striate.networks.segmenters import unet
from striate.registry import Registry

SEGMENTERS: Registry[Entry] = Registry("segmenter", unet.ENTRIES)
