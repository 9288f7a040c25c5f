"""Good defaults, chosen from the data's size and the network, so that no flag is needed for a good result.

The rules are few and stand here in the open; what they chose is printed at the start of a run and stored in run.json.
"""

import dataclasses
import math
from dataclasses import dataclass
from functools import cache
from typing import cast

from torch.nn.modules.batchnorm import _NormBase

from striate.data.augmentation_settings import Augmentation
from striate.data.mean_image import decode_mean_image, encode_mean_image
from striate.data.preprocessing import Preprocessing, resample
from striate.errors import InputError
from striate.networks.catalogue import build_network
from striate.networks.entry import Entry
from striate.networks.external import LIBRARIES
from striate.networks.given import EXTERNAL
from striate.recipes.choices import Choices
from striate.recipes.pixel_defaults import pixel_recipe
from striate.training.recipe import (
    KEEPS_FEATURES,
    Freeze,
    OptimizerConfig,
    Precision,
    Recipe,
    ScheduleConfig,
    may_use_graphs,
)

SMALL_PX = 40
"""Images with a typical short side of up to this many pixels are trained at 32 x 32."""
PHOTO_PX = 128
"""Side that photos are trained at from scratch, where the network allows it: a third of the work of 224."""
_USUAL_PX = (28, 32, 64, 96, 128, 224, 227, 256, 299)
"""Sides that networks are commonly made for."""
SMALL_NETWORK_PX = 64
"""Side that smaller images are enlarged to for a network made for photos: its stem halves them twice at once."""
MARGIN = 256 / 224
"""Short side that images are resized to, relative to the crop that a network sees."""
FEW_IMAGES, MANY_IMAGES = 1_000, 20_000
SEEN_IMAGES = 450_000
"""Number of images that a run from scratch shows the network in all, between 10 and 30 epochs."""
PLACE_EPOCHS, PLACE_RATE = 30, 6e-4
"""On weights from elsewhere, where it is to be learnt where things lie, of which their classifier knew nothing: all
layers move alike.
"""
VIEWS = 4
"""Augmented views of each image that go through frozen layers before the first epoch."""
STREAM_IMAGES = 10_000
"""Images of neighbouring shards that are shuffled together where images are streamed: docs/large-scale.md."""
TINY_MACS = 2_000_000
"""Multiply-adds of one image below which one thread computes: LeNet-5 has 0.4 million, ResNet-20 forty."""

LARGE_BATCHES = {"airbench": 512, "digitnet": 256}
"""Families that learn as well from larger batches than the usual 128, which take less time an image."""

SMALL_RATE = 1e-4
"""For networks without norms. At 3e-4, and with SGD at 0.01, all outputs of a SqueezeNet became negative before its
last ReLU, for good.
"""
FIRST_RATES = {
    # with SGD, in proportion to a batch of 64; at 0.05 one seed in six lost 1.5 points
    "lenet": 0.035, "lenet5_1998": 0.005,
    "neocognitron": 1e-2, "tdnn": 1e-2, "mlp": 1e-3, "maxout_mnist": 1e-3, "maxout_cifar": 3e-4, "nin_cifar": 1e-3,
    "allconv": 1e-3, "highway": 1e-3, "rbf": 2e-2,
}  # fmt: skip
"""Peak rates of networks, or else of families, without norms where they learn best: tried on digits and CIFAR-10."""

OTHER_OPTIMIZERS: dict[str, OptimizerConfig] = {
    config.name: config
    for config in (
        OptimizerConfig("adagrad", learning_rate=1e-2),
        OptimizerConfig("rmsprop", learning_rate=1e-3, momentum=0.0),
        OptimizerConfig("adam", learning_rate=1e-3),
        OptimizerConfig("adamw", learning_rate=1e-3, weight_decay=1e-2),
        OptimizerConfig("muon", learning_rate=2e-2),
        OptimizerConfig("lbfgs", learning_rate=1.0),
    )
}
"""Rates and decays for optimisers asked for by name: those of plain SGD would be ten to fifty times too high."""

MUON_RATE, MUON_BATCH, MUON_MOMENTUM = 0.24, 2000, 0.6
"""Those of Jordan's airbench94_muon, for networks with norms: the rate is the share by which filters change in an
update.
"""
MUON_EPOCHS, MUON_AIRBENCH_BATCH, MUON_OTHERS = 0.8, 1024, 1.5
"""Of airbench with Muon: the share of its epochs with SGD (Jordan's recipes take 8 and 9.9), its batch, and how many
times SGD's rate all has that is no filter, which makes up for the smaller momentum. Tried on CIFAR-10:
docs/decisions/0015-muon.md.
"""


@dataclass(frozen=True)
class DataFacts:
    """Facts about the data that defaults follow from: sizes in pixels are medians of a sample, `is_grey` holds for all
    of it.

    `has_fast_bf16`: the device computes bfloat16 natively. `has_graphs`: it is a CUDA device. `moves_targets`: where
    something lies in an image is to be learnt, too; `labels_pixels`: and of every pixel.
    """

    num_train: int
    num_classes: int
    channels: int
    height: int
    width: int
    has_fast_bf16: bool = False
    has_graphs: bool = False
    moves_targets: bool = False
    labels_pixels: bool = False

    @property
    def is_small(self) -> bool:
        return min(self.height, self.width) <= SMALL_PX

    @property
    def is_grey(self) -> bool:
        return self.channels == 1


def default_network(facts: DataFacts) -> str:
    """The network for data of this kind, trained from scratch on an ordinary machine."""
    if facts.is_small:
        return "digitnet" if facts.is_grey else "airbench94_cifar"
    return "resnet18"


def default_preprocessing(facts: DataFacts, entry: Entry, image_size: int | None) -> Preprocessing:
    """Preprocessing for training from scratch, mean and std still to be measured (0 and 1).

    `image_size` is the side asked for. Photos keep the field's margin, a short side of 256 for a crop of 224; small
    images are used whole.
    """
    height, width = entry.input_size[1:]
    if image_size is not None:
        height = width = image_size
    elif not entry.is_fixed_size and height > PHOTO_PX:
        height = width = max(_side_without_enlarging(min(facts.height, facts.width)), *entry.min_size)
    side = max(height, width)
    resize_size = side if side <= 2 * SMALL_PX else round(side * MARGIN)
    zeros, ones = (0.0,) * facts.channels, (1.0,) * facts.channels
    return Preprocessing(facts.channels, resize_size, (height, width), mean=zeros, std=ones)


def _side_without_enlarging(short_px: int) -> int:
    """The side, a multiple of 8 from 64 to 128, that photos of this short side need not be enlarged for, margin
    included.
    """
    return min(PHOTO_PX, max(SMALL_NETWORK_PX, int(short_px / MARGIN) // 8 * 8))


def sizes_to_try(facts: DataFacts, image_size: int | None) -> list[tuple[int, int]]:
    """Sizes (height, width) for a network that does not say what it takes, the best first; only that asked for where
    there is one.

    Small images keep their own size, at least 28 pixels if the network can take that; photos are tried at PHOTO_PX
    first.
    """
    if image_size is not None:
        return [(image_size, image_size)]
    own = max(facts.height, facts.width)
    sides = (max(own, 28), 32, own, *_USUAL_PX) if facts.is_small else (PHOTO_PX, 224, *_USUAL_PX)
    return [(side, side) for side in dict.fromkeys(sides)]


def resized_preprocessing(preprocessing: Preprocessing, image_size: int) -> Preprocessing:
    """The same preprocessing for another input size, its margin kept in proportion."""
    factor = image_size / max(preprocessing.crop_size)
    mean_image = preprocessing.mean_image
    if mean_image is not None:
        pixels = decode_mean_image(mean_image, preprocessing.crop_size, preprocessing.channels)
        mean_image = encode_mean_image(resample(pixels, (image_size, image_size), "bilinear"))
    return dataclasses.replace(
        preprocessing,
        mean_image=mean_image,
        crop_size=(image_size, image_size),
        resize_size=max(image_size, round(preprocessing.resize_size * factor)),
    )


def default_recipe(facts: DataFacts, entry: Entry, choices: Choices) -> Recipe:
    """The recipe for these data and this network, the user's explicit choices in place.

    Raises InputError when a choice is out of range or the batch is larger than the training part.
    """
    recipe = _from_weights(facts, entry, choices) if choices.weights else _from_scratch(facts, entry, choices)
    if facts.labels_pixels:
        recipe = pixel_recipe(recipe, facts.num_train, (facts.height, facts.width), entry.min_size, choices)
    stream_images = STREAM_IMAGES if choices.stream else 0
    recipe = dataclasses.replace(
        recipe,
        precision=_precision(facts, entry, choices),
        stream_images=stream_images,
        use_cuda_graphs=facts.has_graphs
        and may_use_graphs(recipe.optimizer.name, choices.accumulate_steps or 1, choices.precision or ""),
    )
    recipe = dataclasses.replace(choices.applied_to(recipe), network=entry.name)  # PART:BASE where the base was named
    if recipe.batch_size > facts.num_train:
        raise InputError(
            f"a batch of {recipe.batch_size} is larger than the {facts.num_train} training images; "
            f"use --batch-size {facts.num_train} or less"
        )
    return recipe


def _precision(facts: DataFacts, entry: Entry, choices: Choices) -> Precision:
    """16-bit products with 32-bit sums and weights where the device has them and the network gains by them."""
    is_worth_it = facts.has_fast_bf16 and _fills_vectors(entry) and choices.optimizer != "lbfgs"
    return "bf16-mixed" if is_worth_it else "32-true"


def default_num_threads(entry: Entry, num_available: int) -> int:
    """Number of threads where nothing is measured. A tiny network takes one: with a second it gains less than half
    on a quiet machine, and loses most of its speed wherever another program wants that processor, since threads that
    wait for each other at every layer spin. Runs of some seconds measure it.
    """
    return 1 if entry.macs < TINY_MACS else num_available


def _fills_vectors(entry: Entry) -> bool:
    """Whether 16 bits and channels last make a network faster: large ones, and tiny ones whose maps come in
    sixteens.
    """
    return entry.macs >= TINY_MACS or entry.family == "digitnet"


def default_freeze(num_train: int) -> Freeze:
    """The layers frozen by default when weights are given: a few hundred photos train the head only."""
    if num_train < FEW_IMAGES:
        return "base"
    return "gradual" if num_train < MANY_IMAGES else "nothing"


def _from_scratch(facts: DataFacts, entry: Entry, choices: Choices) -> Recipe:
    is_airbench = entry.family == "airbench"
    wanted = choices.optimizer or ("muon" if is_airbench else None)
    large_batch = LARGE_BATCHES.get(entry.family, 128)
    if is_airbench and wanted == "muon":
        large_batch = MUON_AIRBENCH_BATCH
    batch_size = _batch_size(facts, 64 if facts.num_train < FEW_IMAGES * 10 else large_batch)
    optimizer, label_smoothing = _scratch_optimizer(entry, batch_size)
    if wanted == "muon" and entry.family not in (*LIBRARIES, EXTERNAL) and has_norm(entry.name):
        batch_size = choices.batch_size or batch_size
        optimizer = _muon_with_norms(_scratch_optimizer(entry, batch_size)[0], batch_size)
    elif wanted is not None:
        optimizer = OTHER_OPTIMIZERS.get(wanted, optimizer)
    epochs = min(30, max(10, math.ceil(SEEN_IMAGES / facts.num_train)))
    if facts.moves_targets and choices.optimizer is None and optimizer.name in ("nesterov", "muon"):
        optimizer = OTHER_OPTIMIZERS[
            "adamw"
        ]  # the gradient of a distance has no bounds, as cross-entropy's has: SGD would diverge
    schedule = ScheduleConfig("one_cycle", rise=0.2 if is_airbench else 0.3)
    if optimizer.name == "muon":
        schedule = ScheduleConfig("linear")
    augmentation = _augmentation(facts)
    if is_airbench and facts.is_small and not facts.is_grey:
        augmentation = dataclasses.replace(augmentation, shift_px=2)  # the paper's
    return Recipe(
        network=entry.name,
        epochs=round(epochs * MUON_EPOCHS) if is_airbench and optimizer.name == "muon" else epochs,
        batch_size=batch_size,
        optimizer=optimizer,
        schedule=schedule,
        augmentation=augmentation,
        label_smoothing=label_smoothing,
        ema_decay=0.95 if is_airbench else 0.0,  # in place of the paper's Lookahead
        use_channels_last=_fills_vectors(entry) and entry.family != EXTERNAL,  # code with .view() may not take it
    )


def _scratch_optimizer(entry: Entry, batch_size: int) -> tuple[OptimizerConfig, float]:
    """The optimiser with its peak rate, in proportion to the batch for SGD, and the label smoothing."""
    label_smoothing = 0.1 if _fills_vectors(entry) else 0.0
    if entry.family == "lenet":
        rate = FIRST_RATES.get(entry.name, FIRST_RATES["lenet"])
        return OptimizerConfig("nesterov", learning_rate=rate * batch_size / 64, weight_decay=1e-4), label_smoothing
    if entry.family in LIBRARIES:  # of every kind, transformers among them
        rate = 1e-3 if entry.has_norm else SMALL_RATE
        return OptimizerConfig("adamw", learning_rate=rate, weight_decay=1e-2), label_smoothing
    if entry.family == EXTERNAL:  # nothing is known of it but what it is made of
        rate = 1e-3 if entry.has_norm or entry.is_shallow else SMALL_RATE
        return OptimizerConfig("adamw", learning_rate=rate, weight_decay=1e-2), label_smoothing
    if not has_norm(entry.name):  # it needs a small rate and an adaptive optimiser to start at all
        rate = FIRST_RATES.get(entry.name) or FIRST_RATES.get(entry.family, SMALL_RATE)
        return OptimizerConfig("adamw", learning_rate=rate, weight_decay=1e-2), label_smoothing
    if entry.family == "airbench":  # the paper's, whose rate is for the summed loss of a batch
        optimizer = OptimizerConfig(
            "nesterov",
            learning_rate=0.75 * batch_size / 512,
            momentum=0.85,
            weight_decay=1.33e-3,
            norm_rate_factor=64.0,
        )
        return optimizer, 0.2
    if entry.family == "digitnet":  # as high as one epoch wants it; tried on the validation part of MNIST
        return OptimizerConfig("nesterov", learning_rate=0.6 * batch_size / 128, weight_decay=1e-3), label_smoothing
    return OptimizerConfig("nesterov", learning_rate=0.1 * batch_size / 128, weight_decay=5e-4), label_smoothing


def _muon_with_norms(sgd: OptimizerConfig, batch_size: int) -> OptimizerConfig:
    """Muon for a network whose norms make the scale of its filters meaningless; what is no filter or matrix has
    MUON_OTHERS times SGD's rate, which grows with the batch. Muon's grows with its root.
    """
    rate = MUON_RATE * math.sqrt(batch_size / MUON_BATCH)
    return dataclasses.replace(
        sgd,
        name="muon",
        learning_rate=rate,
        momentum=MUON_MOMENTUM,
        other_rate_factor=MUON_OTHERS * sgd.learning_rate / rate,
        use_unit_filters=True,
    )


@cache
def has_norm(network: str) -> bool:
    """Whether a network of the catalogue normalises its activations over the batch."""
    return any(isinstance(module, _NormBase) for module in build_network(network, device="meta").modules())


def _from_weights(facts: DataFacts, entry: Entry, choices: Choices) -> Recipe:
    usual_freeze = "nothing" if facts.moves_targets else default_freeze(facts.num_train)
    freeze = cast(Freeze, choices.freeze or usual_freeze)
    keeps_features = freeze in KEEPS_FEATURES
    epochs = 20 if facts.num_train < MANY_IMAGES else 10
    if facts.moves_targets and facts.num_train < MANY_IMAGES:
        epochs = PLACE_EPOCHS
    return Recipe(
        network=entry.name,
        epochs=epochs,
        batch_size=_batch_size(facts, 8 if facts.moves_targets else 32),
        optimizer=_transfer_optimizer(choices.optimizer, keeps_features, moves_targets=facts.moves_targets),
        schedule=ScheduleConfig("one_cycle", rise=0.2),
        augmentation=_augmentation(facts),
        label_smoothing=0.1,
        freeze=freeze,
        views=min(VIEWS, choices.epochs or epochs)
        if keeps_features and not choices.mixup and not facts.moves_targets
        else 0,
        layer_rate_factor=1.0 if keeps_features or facts.moves_targets else 0.3,
        use_channels_last=_fills_vectors(entry),
        weights=choices.weights,
    )


def _transfer_optimizer(wanted: str | None, is_top_only: bool, *, moves_targets: bool) -> OptimizerConfig:
    """The optimiser for the last layers on weights from elsewhere, or for all of them, gently."""
    default = OptimizerConfig(
        "adamw", learning_rate=1e-3 if is_top_only else PLACE_RATE if moves_targets else 3e-4, weight_decay=1e-2
    )
    if wanted in (None, "adamw"):
        return default
    return OTHER_OPTIMIZERS.get(wanted or "", OptimizerConfig("nesterov", learning_rate=0.01, weight_decay=1e-4))


def _augmentation(facts: DataFacts) -> Augmentation:
    """Small grey images are often signs whose mirror image is another sign: they are only shifted and turned a
    little.
    """
    if facts.moves_targets:
        return Augmentation(crop_scale=(0.6, 1.0), flip=True, brightness=0.2, contrast=0.2, saturation=0.2)
    if facts.is_small and facts.is_grey:
        return Augmentation(shift_px=2, rotation_degrees=8)
    if facts.is_small:
        return Augmentation(flip=True, shift_px=3)
    return Augmentation(crop_scale=(0.35, 1.0), flip=True, brightness=0.2, contrast=0.2, saturation=0.2)


def _batch_size(facts: DataFacts, wanted: int) -> int:
    """The wanted size, halved until an epoch has at least eight steps, and never more than there are images."""
    while wanted > 8 and facts.num_train < 8 * wanted:
        wanted //= 2
    return max(1, min(wanted, facts.num_train))
