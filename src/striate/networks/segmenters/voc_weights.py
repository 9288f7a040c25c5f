"""Torchvision's published segmenters: trained on the photos of COCO that hold Pascal VOC's classes."""

import dataclasses

from striate.networks.entry import Weights
from striate.networks.imagenet import imagenet_preprocessing, imagenet_weights
from striate.units import percent

SHORT_SIDE_PX = 520


def voc_weights(file_name: str, *, size_mib: float, mean_iou: float) -> Weights:
    """One of torchvision's files, whose name ends in the first digits of its SHA-256; `mean_iou` is torchvision's own,
    on COCO's validation photos with VOC's classes.
    """
    preprocessing = imagenet_preprocessing(resize_size=SHORT_SIDE_PX, crop_size=SHORT_SIDE_PX)
    return dataclasses.replace(
        imagenet_weights(file_name, size_mib=size_mib, top1=0, top5=0, name="voc"),
        preprocessing=dataclasses.replace(preprocessing, resize="fit"),
        class_names=voc_class_names,
        source=f"torchvision; {percent(mean_iou, 1)} mean IoU on COCO's validation photos with Pascal VOC's classes",
    )


def voc_class_names() -> tuple[str, ...]:
    """The 21 names in the order of the outputs, background first."""
    from striate.data.readers.mask_classes import VOC_CLASSES

    return VOC_CLASSES
