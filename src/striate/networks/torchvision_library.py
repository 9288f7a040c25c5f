"""torchvision's classifiers, and the weights that it publishes for them."""

import math
import re
from collections.abc import Callable
from functools import partial
from types import MethodType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from striate.data.preprocessing import Preprocessing
from striate.errors import InputError
from striate.networks.auxiliary import WithAuxiliary
from striate.networks.entry import Weights
from striate.networks.imagenet import imagenet_class_names, imagenet_preprocessing
from striate.networks.library import Library, LibraryFacts, unknown_name
from striate.units import percent

_OTHER_KINDS = {
    "detection": "finds objects and their boxes",
    "segmentation": "labels every pixel",
    "quantization": "is quantised, and cannot be trained",
    "video": "takes videos",
    "optical_flow": "compares two images",
}
_WITH_AUXILIARY = {"googlenet": (("aux1", "aux2"), 0.3), "inception_v3": (("AuxLogits",), 0.4)}
"""Heads for training alone, and how much their losses count: GoogLeNet's paper says 0.3, torchvision trains Inception
v3 with 0.4."""
_TENSORFLOW_WEIGHTS = ("googlenet", "inception_v3")
"""Their published weights come from TensorFlow, and want pixels from -1 to 1."""
_OLD_NAMES = {
    "densenet": (re.compile(r"(\.denselayer\d+\.(?:norm|conv))\.([12]\.)"), r"\1\2"),
    "vit_": (re.compile(r"\.mlp\.linear_([12])\."), lambda found: f".mlp.{3 * (int(found[1]) - 1)}."),
}
"""Names of parameters in published files that torchvision's own loading brings up to date, by how a network's begins.
"""
_FIXED_SIZE = ("vit_", "maxvit_")
_CHECKSUM = re.compile(r"-([0-9a-f]{8,64})\.pth$")


def facts(name: str) -> LibraryFacts:
    """Read torchvision's own facts of a network. InputError for what is not in its list, or no image classifier."""
    torchvision = _torchvision_with(name)
    is_fixed_size = name.startswith(_FIXED_SIZE)
    published = torchvision.models.get_model_weights(name)
    # VGG-16 has some without a classifier, and so without class names
    weights = tuple(_weights(name, each) for each in published if each.meta["categories"])
    if is_fixed_size:  # weights for another size belong to another network of the same name
        weights = tuple(each for each in weights if each.preprocessing.crop_size == (224, 224))
    preprocessing = weights[0].preprocessing if weights else imagenet_preprocessing()
    return LibraryFacts(
        title=f"{name} of torchvision {torchvision.__version__}",
        paper="",
        size=preprocessing.crop_size,
        is_fixed_size=is_fixed_size,
        num_classes=1000,
        preprocessing=preprocessing,
        weights=weights,
        auxiliary=_WITH_AUXILIARY.get(name, ((), 0.0))[0],
        rename=_rename_for(name),
    )


def build(name: str, in_channels: int, num_classes: int) -> nn.Module:
    """The network with fresh weights; for other than three channels its first convolution is replaced.

    Those with auxiliary heads answer as ours do in training mode: WithAuxiliary.
    """
    torchvision = _torchvision_with(name)
    has_auxiliary = name in _WITH_AUXILIARY
    options = {"aux_logits": True, "init_weights": True} if has_auxiliary else {}
    network = torchvision.models.get_model(name, weights=None, num_classes=num_classes, **options)
    if in_channels != 3:
        _replace_first_convolution(network, in_channels)
    if isinstance(network, torchvision.models.MNASNet):
        # it asks for a version that only files of torch.save have; without one its loading fails or builds an old stem
        network._load_from_state_dict = MethodType(nn.Module._load_from_state_dict, network)
    if has_auxiliary:
        network.register_forward_hook(_GatherAuxiliary(_WITH_AUXILIARY[name][1]))
    return network


LIBRARY = Library(facts, build, example="regnet_y_400mf")


class _GatherAuxiliary:
    """A forward hook: torchvision's named tuple, the main logits first, becomes WithAuxiliary."""

    def __init__(self, weight: float) -> None:
        self.weight = weight

    def __call__(self, _network: nn.Module, _images: Any, answer: Any) -> Any:
        if isinstance(answer, Tensor):
            return answer
        logits, *auxiliary = answer
        return WithAuxiliary(logits, tuple(auxiliary), self.weight)


def _torchvision_with(name: str) -> ModuleType:
    """torchvision, once it is sure that it has this classifier."""
    import torchvision  # slow to import, and needed only for its networks

    classifiers = torchvision.models.list_models(module=torchvision.models)
    if name in classifiers:
        return torchvision
    if name not in torchvision.models.list_models():
        raise unknown_name("torchvision", name, classifiers)
    kind = torchvision.models.get_model_builder(name).__module__.split(".")[2]
    what = _OTHER_KINDS.get(kind, "answers something else")
    raise InputError(f"torchvision:{name} is no image classifier: it {what}")


def _rename_for(name: str) -> Callable[[str], str] | None:
    """Rename parameters of older published files, for the networks that have such files."""
    for beginning, (pattern, new) in _OLD_NAMES.items():
        if name.startswith(beginning):
            return partial(pattern.sub, new)
    return None


def _replace_first_convolution(network: nn.Module, in_channels: int) -> None:
    """A first convolution for other channels, drawn so that its outputs spread as far as those of the old one."""
    name, old = next((name, module) for name, module in network.named_modules() if isinstance(module, nn.Conv2d))
    new = nn.Conv2d(
        in_channels,
        old.out_channels,
        old.kernel_size,  # type: ignore[arg-type]  # torch declares it as a tuple of any length
        stride=old.stride,  # type: ignore[arg-type]
        padding=old.padding,  # type: ignore[arg-type]
        dilation=old.dilation,  # type: ignore[arg-type]
        bias=old.bias is not None,
    )
    with torch.no_grad():
        new.weight.normal_().mul_(old.weight.std() * math.sqrt(old.in_channels / in_channels))
        if new.bias is not None and old.bias is not None:
            new.bias.copy_(old.bias)
    network.set_submodule(name, new)


def _weights(name: str, published: Any) -> Weights:
    """One row of torchvision's table: "imagenet" for IMAGENET1K_V1, "imagenet_v2" for IMAGENET1K_V2, and so on."""
    meta, found = published.meta, _CHECKSUM.search(published.url)
    assert found is not None, published.url  # all of torchvision's end so; a test looks at every one
    accuracies = meta["_metrics"]["ImageNet-1K"]
    licence = f"; licence {meta['license']}" if "license" in meta else ""
    return Weights(
        name=published.name.lower().replace("imagenet1k", "imagenet").removesuffix("_v1"),
        url=published.url,
        size_bytes=round(meta["_file_size"] * 2**20),
        sha256_prefix=found[1],
        preprocessing=_preprocessing(published.transforms(), is_from_tensorflow=name in _TENSORFLOW_WEIGHTS),
        class_names=imagenet_class_names,
        source=f"torchvision; {percent(accuracies['acc@1'] / 100)} top-1 and "
        f"{percent(accuracies['acc@5'] / 100)} top-5 on ImageNet's "
        f"validation images{licence}",
    )


def _preprocessing(transforms: Any, *, is_from_tensorflow: bool) -> Preprocessing:
    """torchvision's own evaluation; what its networks would do to the pixels themselves is done here."""
    half = (0.5, 0.5, 0.5)
    return Preprocessing(
        channels=3,
        resize_size=transforms.resize_size[0],
        crop_size=(transforms.crop_size[0], transforms.crop_size[0]),
        mean=half if is_from_tensorflow else tuple(transforms.mean),
        std=half if is_from_tensorflow else tuple(transforms.std),
        interpolation=transforms.interpolation.value,
    )
