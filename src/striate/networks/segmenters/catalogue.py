"""Every segmenter that stands alone, by name."""

from striate.networks.entry import Entry
from striate.networks.segmenters import deeplabv3, enet, fcn, fcn_resnet, full_resolution, segnet, sliding_window, unet
from striate.registry import Registry

SEGMENTERS: Registry[Entry] = Registry(
    "segmenter",
    sliding_window.ENTRIES,
    fcn.ENTRIES,
    fcn_resnet.ENTRIES,
    unet.ENTRIES,
    segnet.ENTRIES,
    full_resolution.ENTRIES,
    enet.ENTRIES,
    deeplabv3.ENTRIES,
)
