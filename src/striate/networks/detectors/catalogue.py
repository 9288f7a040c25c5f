"""Every detector that stands alone, by name."""

from striate.networks.detectors import ssd
from striate.networks.entry import Entry
from striate.registry import Registry

DETECTORS: Registry[Entry] = Registry("detector", ssd.ENTRIES)
