"""Ross Wightman's timm (https://github.com/huggingface/pytorch-image-models), an optional part: striate[timm].

Its weights lie on a hub, with code that decides where; striate fetches none of them and takes them as files.
"""

import math
from functools import lru_cache
from types import ModuleType
from typing import Any, get_args

from torch import nn

from striate.data.preprocessing import Interpolation, Preprocessing
from striate.errors import InputError
from striate.networks.library import Library, LibraryFacts, unknown_name


def facts(name: str) -> LibraryFacts:
    """Read timm's own facts of a network, NAME or NAME.TAG: the tag chooses among the weights that it was published
    with.
    """
    timm = _import_timm(name)
    cfg = _pretrained_cfg(timm, name)
    channels, height, width = cfg.input_size
    if channels != 3:
        raise InputError(f"timm:{name} is made for images of {channels} channels; striate takes those made for colour")
    return LibraryFacts(
        title=f"{name} of timm {timm.__version__}",
        paper=cfg.paper_ids if isinstance(cfg.paper_ids, str) else "",
        size=(height, width),
        is_fixed_size=cfg.fixed_input_size,
        num_classes=cfg.num_classes or 1000,  # 0 for those published without a head
        preprocessing=_preprocessing(cfg),
    )


def build(name: str, in_channels: int, num_classes: int) -> nn.Module:
    """The network with fresh weights. InputError for names that timm does not have: others may mean a download."""
    timm = _import_timm(name)
    _pretrained_cfg(timm, name)
    return timm.create_model(name, pretrained=False, in_chans=in_channels, num_classes=num_classes)


LIBRARY = Library(facts, build, example="resnet18")


def _import_timm(name: str) -> ModuleType:
    try:
        import timm  # optional, and slow to import
    except ImportError:
        raise InputError(f"timm:{name} needs timm, which is not installed; pip install 'striate[timm]'") from None
    return timm


def _pretrained_cfg(timm: ModuleType, name: str) -> Any:
    """The settings timm published the network with; InputError for what is no name of its list, with or without one of
    its tags.
    """
    names, tagged = _names(timm)
    if name not in names and name not in tagged:
        raise unknown_name("timm", name, tagged if "." in name else names)
    return timm.get_pretrained_cfg(name, allow_unregistered=True) or timm.models.PretrainedCfg()


@lru_cache
def _names(timm: ModuleType) -> tuple[frozenset[str], frozenset[str]]:
    """The networks that timm can build, and the same with the tags of their weights."""
    return frozenset(timm.list_models()), frozenset(timm.list_models(include_tags=True))


def _preprocessing(cfg: Any) -> Preprocessing:
    """timm's own evaluation: resized so that the crop is the share `crop_pct`, "squash" bringing both sides to it."""
    height, width = cfg.input_size[1:]
    interpolation: Interpolation = cfg.interpolation if cfg.interpolation in get_args(Interpolation) else "bicubic"
    return Preprocessing(
        channels=3,
        resize_size=max(math.floor(max(height, width) / cfg.crop_pct), height, width),
        crop_size=(height, width),
        mean=tuple(cfg.mean),
        std=tuple(cfg.std),
        resize="stretch" if cfg.crop_mode == "squash" else "short_side",
        interpolation=interpolation,
    )
