"""Everything that stands before the first step of a run: data, splits, network, preprocessing and recipe."""

import dataclasses
from dataclasses import dataclass

import numpy as np
from torch import nn

from striate.data.dataset import Dataset, Splits
from striate.data.decoding import image_facts
from striate.data.feeding import read_batch
from striate.data.opening import Access, OpenedData, open_data, pack_data
from striate.data.packed import PackedImages
from striate.data.preprocessing import Preprocessing
from striate.data.splits import split_dataset
from striate.data.statistics import measure_mean_std
from striate.errors import DataError, InputError
from striate.networks.adapting import adapt_preprocessing, fit_weights
from striate.networks.catalogue import CATALOGUE, build_network, check_input_size
from striate.networks.entry import Entry
from striate.networks.weights import LoadedWeights, load_weights, network_of_weights
from striate.progress import Tell
from striate.recipes.choices import Choices
from striate.recipes.defaults import (
    Facts,
    default_network,
    default_preprocessing,
    default_recipe,
    resized_preprocessing,
)
from striate.training.recipe import Recipe

_SAMPLE = 200
_WHITENING_IMAGES = 5_000


@dataclass(frozen=True)
class Prepared:
    """All that a run needs, ready to start."""

    data: OpenedData
    packed: PackedImages
    splits: Splits
    entry: Entry
    network: nn.Module
    preprocessing: Preprocessing
    recipe: Recipe
    notices: tuple[str, ...]


def prepare(source: str, choices: Choices, access: Access) -> Prepared:
    """Data, network and recipe for a new run, each open choice made from what the data are.

    Raises DataError, InputError or ModelFileError with one line when they do not fit together.
    """
    notices: list[str] = []

    def tell(line: str) -> None:
        notices.append(line)
        access.tell(line)

    telling = dataclasses.replace(access, tell=tell)
    data = open_data(source, telling)
    dry_splits = _split(data, np.ones(len(data.dataset), bool), choices)  # refuses hopeless data before any decoding
    facts = _look(data.dataset, dry_splits)
    entry = _choose_entry(choices, facts)
    weights = None
    if choices.weights is not None:
        weights = load_weights(entry, choices.weights, download=True, tell=tell)
    channels = _channels_for(facts, entry)
    preprocessing = _choose_preprocessing(dataclasses.replace(facts, channels=channels), entry, weights, choices.image_size)
    check_input_size(entry, preprocessing.crop_size)
    recipe = default_recipe(facts, entry, choices)
    packed = pack_data(data, preprocessing, telling)
    splits = _split(data, packed.usable, choices)
    for notice in splits.notices:
        tell(notice)
    if weights is None or weights.preprocessing is None:
        mean, std = measure_mean_std(packed, splits.train)
        preprocessing = dataclasses.replace(preprocessing, mean=mean, std=std)
    recipe = default_recipe(dataclasses.replace(facts, num_train=len(splits.train)), entry, choices)
    network = make_network(entry, recipe, data, packed, splits, preprocessing, weights, tell)
    return Prepared(data, packed, splits, entry, network, preprocessing, recipe, tuple(notices))


def prepare_again(
    source: str, recipe: Recipe, preprocessing: Preprocessing, entry: Entry, access: Access, *, has_checkpoint: bool
) -> Prepared:
    """The same run from what its folder says. Weights are read again only where no checkpoint holds them already."""
    data = open_data(source, access)
    packed = pack_data(data, preprocessing, access)
    fractions = Choices(
        seed=recipe.seed, validation_fraction=recipe.validation_fraction, test_fraction=recipe.test_fraction
    )
    splits = _split(data, packed.usable, fractions)
    weights = None
    if recipe.weights is not None and not has_checkpoint:
        weights = load_weights(entry, recipe.weights, download=True, tell=access.tell)
    network = make_network(entry, recipe, data, packed, splits, preprocessing, weights, access.tell)
    return Prepared(data, packed, splits, entry, network, preprocessing, recipe, ())


def make_network(
    entry: Entry,
    recipe: Recipe,
    data: OpenedData,
    packed: PackedImages,
    splits: Splits,
    preprocessing: Preprocessing,
    weights: LoadedWeights | None,
    tell: Tell,
) -> nn.Module:
    """The network with its first weights: drawn from the seed, measured on training images, or loaded and adapted."""
    num_classes = len(data.dataset.class_names)
    network = build_network(entry.name, num_classes=num_classes, in_channels=preprocessing.channels, seed=recipe.seed)
    if weights is not None:
        network.load_state_dict(fit_weights(entry, network, weights.state, tell=tell))
    elif entry.initialize_from_images is not None:
        images = read_batch(packed, splits.train[:_WHITENING_IMAGES], preprocessing.crop_size)
        entry.initialize_from_images(network, preprocessing.normalize(images))
    return network


def _split(data: OpenedData, usable: np.ndarray, choices: Choices) -> Splits:
    return split_dataset(
        data.dataset,
        data.hashes,
        usable,
        seed=choices.seed or 0,
        validation_fraction=0.1 if choices.validation_fraction is None else choices.validation_fraction,
        test_fraction=0.1 if choices.test_fraction is None else choices.test_fraction,
    )


def _choose_entry(choices: Choices, facts: Facts) -> Entry:
    """The network asked for, or the one that the weights belong to, or the default for such data."""
    name = choices.network
    if name is None and choices.weights is not None:
        name = network_of_weights(choices.weights)
        if name is None:
            raise InputError(f"the weights {choices.weights} do not say which network they belong to; add --network NAME")
    return CATALOGUE.find(name or default_network(facts))


def _choose_preprocessing(facts: Facts, entry: Entry, weights: LoadedWeights | None, image_size: int | None) -> Preprocessing:
    if weights is None or weights.preprocessing is None:
        return default_preprocessing(facts, entry, image_size)
    preprocessing = adapt_preprocessing(weights.preprocessing, facts.channels)
    return preprocessing if image_size is None else resized_preprocessing(preprocessing, image_size)


def _channels_for(facts: Facts, entry: Entry) -> int:
    """Grey stays one channel whatever the network; more channels than three only where the source holds pixels."""
    return facts.channels if facts.channels > 0 else entry.input_size[0]


def _look(dataset: Dataset, splits: Splits) -> Facts:
    """Size and colour of an even sample of the images, from their headers alone."""
    sizes, channels = [], set()
    for index in np.unique(np.linspace(0, len(dataset) - 1, min(_SAMPLE, len(dataset))).astype(int)):
        try:
            content = dataset.images.read(int(index))
            if isinstance(content, np.ndarray):
                sizes.append(content.shape[:2])
                channels.add(content.shape[2])
            else:
                facts = image_facts(content)
                sizes.append((facts.height, facts.width))
                channels.add(1 if facts.is_grey else 3)
        except (OSError, InputError):
            continue  # packing will name it, with the reason
    if not sizes:
        raise DataError(f"none of the images of {dataset.source} that were tried can be read; see: striate data {dataset.source}")
    height, width = np.median(np.array(sizes), axis=0)
    return Facts(len(splits.train), len(dataset.class_names), max(channels), int(height), int(width))

