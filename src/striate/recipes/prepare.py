"""Everything that stands before the first step of a run: data, splits, network, preprocessing and recipe."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from striate.data.augmentation import augment
from striate.data.dataset import Dataset, Splits
from striate.data.decoding import image_facts
from striate.data.image_groups import groups_to_keep_whole
from striate.data.mean_image import encode_mean_image
from striate.data.opening import Access, OpenedData, open_data, pack_data
from striate.data.packed import PreparedImages
from striate.data.preprocessing import Preprocessing
from striate.data.sampling import read_batch
from striate.data.splits import split_dataset
from striate.data.statistics import measure_mean_image, measure_mean_std
from striate.errors import DataError, InputError
from striate.networks.catalogue import build_entry, check_input_size, entry_for
from striate.networks.composite import PARTS
from striate.networks.entry import Entry
from striate.networks.given import GivenNetwork, given_entry
from striate.networks.segmenters.catalogue import SEGMENTERS
from striate.printable import excerpt
from striate.progress import Log
from striate.recipes.choices import Choices
from striate.recipes.defaults import (
    MANY_IMAGES,
    DataFacts,
    default_network,
    default_preprocessing,
    default_recipe,
    resized_preprocessing,
    sizes_to_try,
)
from striate.recipes.pixel_defaults import image_size_for, whole_image_preprocessing
from striate.tasks.catalogue import task_for
from striate.tasks.task import Annotations, Task
from striate.training.distributed.launch import current_rank
from striate.training.frozen.layer_groups import layer_groups, num_open_groups
from striate.training.frozen.trainable_tail import TrainableTail, find_trainable_tail
from striate.training.loader import MAX_READERS, Loader
from striate.training.optimizers import build_optimizer
from striate.training.precision import has_fast_bf16
from striate.training.recipe import Recipe
from striate.weights.adapting import adapt_preprocessing, load_pretrained
from striate.weights.compressed_file import is_compressed_file, read_compressed_header
from striate.weights.deep_compression_file import NETWORK as DEEP_COMPRESSED
from striate.weights.deep_compression_file import is_deep_compression_file
from striate.weights.model_file import MODEL_FILE, is_model_file, read_header
from striate.weights.offers import offer_of_weights

PUBLISHED, DEFAULT_PRETRAINED = "imagenet", "resnet18"
GREY_MODES = ("1", "L", "LA", "La", "I", "F", "I;16", "I;16B", "I;16L", "I;16N")
_SAMPLE = 1_000
_WHITENING_IMAGES = 5_000
MAX_FEATURE_BYTES = 2 << 30
"""Memory limit of cached frozen features, in bytes."""


@dataclass(frozen=True)
class Prepared:
    """All that a run needs, ready to start."""

    data: OpenedData
    packed: PreparedImages
    splits: Splits
    entry: Entry
    network: nn.Module
    preprocessing: Preprocessing
    recipe: Recipe
    notices: tuple[str, ...]
    task: Task
    annotations: Annotations

    def loader(self) -> Loader:
        """The loader of its training and validation images; processes of one machine share its readers."""
        return Loader(
            self.packed,
            self.annotations,
            self.splits.train,
            self.splits.validation,
            self.preprocessing,
            self.task,
            max_readers=max(1, MAX_READERS // current_rank().local_world_size),
        )


def prepare(
    source: str, choices: Choices, access: Access, device: torch.device, given: GivenNetwork | None = None
) -> Prepared:
    """Data, network and recipe for a new run on `device`, each open choice made from what the data are. `given` is a
    network from Python.

    Raises DataError, InputError or ModelFileError with one line when they do not fit together.
    """
    notices: list[str] = []
    choices = choices.with_encoder_named()

    def log(line: str) -> None:
        notices.append(line)
        access.log(line)

    access = dataclasses.replace(access, task=choices.task)
    telling = dataclasses.replace(access, log=log)
    if choices.weights is not None and Path(choices.weights).exists():
        choices = dataclasses.replace(choices, weights=str(Path(choices.weights).absolute()))  # found from anywhere
    if given is None and choices.network is not None and choices.network not in (*PARTS, *SEGMENTERS):
        entry_for(choices.network)  # a misspelt name is refused before images are read
    data = open_data(source, telling)
    task = task_for(data.dataset, choices.task, choices.loss)
    choices = dataclasses.replace(choices, task=task.name)
    dry_splits = _split(data, data.is_kept, choices, task, access)  # refuses hopeless data before any decoding
    facts = dataclasses.replace(
        _look(data.dataset, dry_splits, device), moves_targets=task.moves_targets, labels_pixels=task.labels_pixels
    )
    num_outputs = task.num_outputs(choices.output or "softmax")
    entry = _choose_entry(choices, facts, task) if given is None else _given_entry(given, choices, facts, num_outputs)
    if choices.image_size is None and not entry.is_fixed_size:
        choices = dataclasses.replace(choices, image_size=task.usual_image_size)
    if choices.image_size is not None:
        check_input_size(entry, (choices.image_size, choices.image_size), training=True)
    seed = choices.seed or 0
    preprocessing = default_preprocessing(facts, entry, choices.image_size)
    are_ready = False
    if choices.weights is None:
        if given is None and choices.freeze not in (None, "nothing"):
            log(
                "training only some layers without weights keeps the others at their random first values, which learn "
                "nothing; add --weights imagenet, or leave --train out"
            )
        network = build_entry(entry, num_classes=num_outputs, in_channels=facts.channels, seed=seed)
        _initialize_heads(entry, network, task)
    else:
        network, own = _load_weights(entry, choices.weights, task, num_outputs, facts.channels, seed, telling)
        if own is not None:
            preprocessing, are_ready = _resized(own, choices.image_size), True
            if choices.subtract is not None:
                raise InputError(
                    f"{choices.weights} says itself what is subtracted from images; leave --subtract out, or the "
                    "weights"
                )
    if task.sees_whole_image:
        preprocessing = dataclasses.replace(preprocessing, resize="stretch", resize_size=max(preprocessing.crop_size))
    if task.labels_pixels:
        preprocessing = whole_image_preprocessing(
            preprocessing, facts.height, facts.width, choices.image_size, entry.min_size
        )
    check_input_size(entry, preprocessing.crop_size, training=True)
    _check_task(choices, task)
    _check_recipe(default_recipe(facts, entry, choices), entry, network, preprocessing)  # before any decoding
    packed = pack_data(data, preprocessing, access, stream=choices.stream)
    is_as_before = bool((packed.usable == data.is_kept).all())
    splits = dry_splits if is_as_before else _split(data, packed.usable, choices, task, access)
    for notice in splits.notices:
        log(notice)
    if not are_ready:
        preprocessing = _measured(preprocessing, packed, splits, choices)
    recipe = default_recipe(dataclasses.replace(facts, num_train=len(splits.train)), entry, choices)
    if choices.weights is None:
        _initialize_from_images(entry, network, packed, splits, preprocessing)
        if not facts.is_small and len(splits.train) < MANY_IMAGES:
            log(offer_of_weights(entry, len(splits.train)))
    recipe = _with_possible_views(recipe, entry, network, preprocessing, splits, choices, log)
    annotations = task.annotations(data.dataset, log=log, preprocessing=preprocessing)
    return Prepared(data, packed, splits, entry, network, preprocessing, recipe, tuple(notices), task, annotations)


def prepare_again(
    source: str, recipe: Recipe, preprocessing: Preprocessing, entry: Entry, access: Access, *, has_checkpoint: bool
) -> Prepared:
    """The same run from what its folder says. Weights are read again only where no checkpoint holds them already."""
    access = dataclasses.replace(access, task=recipe.task)
    data = open_data(source, access)
    packed = pack_data(data, preprocessing, access, stream=recipe.stream_images > 0)
    choices = Choices(
        seed=recipe.seed,
        validation_fraction=recipe.validation_fraction,
        test_fraction=recipe.test_fraction,
        group_by=recipe.group_by,
        num_folds=recipe.num_folds,
        fold=recipe.fold,
    )
    task = task_for(data.dataset, recipe.task, recipe.loss)
    splits = _split(data, packed.usable, choices, task, access)
    channels = preprocessing.channels
    num_outputs = task.num_outputs(recipe.output)
    if recipe.weights is None or has_checkpoint:
        network = build_entry(entry, num_classes=num_outputs, in_channels=channels, seed=recipe.seed)
        _initialize_heads(entry, network, task)
        _initialize_from_images(entry, network, packed, splits, preprocessing)
    else:
        network, _ = _load_weights(entry, recipe.weights, task, num_outputs, channels, recipe.seed, access)
    annotations = task.annotations(data.dataset, log=access.log, preprocessing=preprocessing)
    return Prepared(data, packed, splits, entry, network, preprocessing, recipe, (), task, annotations)


def _load_weights(
    entry: Entry,
    weights: str,
    task: Task,
    num_outputs: int,
    channels: int,
    seed: int,
    access: Access,
) -> tuple[nn.Module, Preprocessing | None]:
    """The network with weights from elsewhere, and the preprocessing they want, as far as they say.

    A head that answers for other classes is replaced, also where there happen to be as many: labels travel by name.
    """
    pretrained = load_pretrained(
        entry.name,
        weights,
        num_classes=num_outputs,
        in_channels=channels,
        seed=seed,
        download=access.download,
        log=access.log,
    )
    has_new_head, class_names = pretrained.has_new_head, task.class_names
    if not has_new_head and pretrained.class_names != class_names:
        if pretrained.class_names is None:
            access.log(
                f"{weights} does not name its {len(class_names)} classes: its last layer, {entry.head}, is kept as it "
                "is"
            )
        else:
            fresh = build_entry(entry, num_classes=num_outputs, in_channels=channels, seed=seed)
            for head in (entry.head, *entry.auxiliary_heads):
                pretrained.network.get_submodule(head).load_state_dict(fresh.get_submodule(head).state_dict())
            has_new_head = True
            access.log(
                f"{entry.name}: the last layer, {entry.head}, answered for other classes and is replaced by a new one"
            )
    if has_new_head:
        _initialize_heads(entry, pretrained.network, task)
    if pretrained.preprocessing is None and entry.usual_preprocessing is not None:
        access.log(f"{weights} does not say how images are prepared: as for {entry.usual_weights}")
        return pretrained.network, adapt_preprocessing(entry.usual_preprocessing, channels)
    return pretrained.network, pretrained.preprocessing


def _initialize_heads(entry: Entry, network: nn.Module, task: Task) -> None:
    """First weights of fresh last layers, as the task wants them."""
    for name in filter(None, (entry.head, *entry.auxiliary_heads)):
        task.initialize_head(network.get_submodule(name))


def _check_task(choices: Choices, task: Task) -> None:
    """Raise InputError for choices that the task has no use for."""
    if choices.mixup and not task.can_mix:
        raise InputError(f"images cannot be mixed in {task.name}; leave --mixup out")
    if choices.label_smoothing and not task.smooths_labels:
        raise InputError(f"the losses of {task.name} have no label smoothing; leave --label-smoothing out")
    if choices.use_class_weights and not (task.has_probabilities or task.labels_pixels):
        raise InputError(f"class weights are for classification, and the task is {task.name}; use --balanced-sampling")
    if choices.adversarial not in (None, "none") and not task.has_probabilities:
        raise InputError(f"adversarial training is for classes, not for {task.name}; leave --adversarial out")
    if choices.optimizer == "lbfgs" and choices.use_channels_last:
        raise InputError("L-BFGS needs weights laid out in rows; leave --channels-last out")
    if task.labels_pixels and choices.use_balanced_sampling:
        raise InputError(f"images of {task.name} have no class of their own to draw by; leave --balanced-sampling out")
    if task.labels_pixels and choices.loss == "dice" and (choices.label_smoothing or choices.use_class_weights):
        raise InputError(
            "label smoothing and class weights are for cross-entropy; with --loss dice leave --label-smoothing and "
            "--class-weights out"
        )
    if task.labels_pixels and len(task.class_names) < 2:
        raise DataError(
            f"every pixel that counts has the class {excerpt(task.class_names[0])!r}, so that there is nothing to tell "
            "apart; segmentation needs masks of two classes or more"
        )
    if task.labels_pixels and choices.subtract == "mean_image":
        raise InputError(f"{task.name} sees parts of images, which no mean image fits; use --subtract channel_mean")
    if choices.views and task.moves_targets:
        raise InputError(
            f"features are kept of views whose targets do not move, and those of {task.name} do; use --views 0"
        )


def _check_recipe(recipe: Recipe, entry: Entry, network: nn.Module, preprocessing: Preprocessing) -> None:
    """Raise InputError for what could only fail once the run has begun: the augmentation and the optimiser are
    tried.
    """
    blank = torch.zeros(2, preprocessing.channels, *preprocessing.crop_size, dtype=torch.uint8)
    augment(blank, recipe.augmentation, torch.Generator().manual_seed(0))
    groups = layer_groups(network, head=entry.head)
    if recipe.freeze == "base" and not groups[-1].params:
        raise InputError(
            f"the head of {entry.name} has nothing to train, so with a frozen base nothing would be; use --train all"
        )
    if recipe.freeze == "lower" and len(groups) < 3:
        raise InputError(f"{entry.name} has too few layers to leave some of its base frozen; use --train head or all")
    build_optimizer(recipe.optimizer, groups, layer_rate_factor=recipe.layer_rate_factor, use_fused=False)


def _with_possible_views(
    recipe: Recipe,
    entry: Entry,
    network: nn.Module,
    preprocessing: Preprocessing,
    splits: Splits,
    choices: Choices,
    log: Log,
) -> Recipe:
    """The recipe with as many views as the network allows and memory holds; InputError where more were asked for."""
    if recipe.views == 0:
        return recipe
    part = trainable_tail(network, entry, recipe, preprocessing)
    if isinstance(part, str):
        views, reason = 0, f"{entry.name} cannot have its frozen layers run only once for each view of an image: {part}"
    else:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=recipe.precision != "32-true"):
            one = part.features(noise(preprocessing)[:1]).nbytes
        views = min(recipe.views, (MAX_FEATURE_BYTES // one - len(splits.validation)) // len(splits.train))
        views = max(0, views)
        reason = (
            f"memory for features ({MAX_FEATURE_BYTES // 2**30} GiB) holds {views} views of each image, not "
            f"{recipe.views}"
        )
    if views == recipe.views:
        return recipe
    if choices.views:
        raise InputError(f"{reason}; use --views {views}")
    log(reason)
    return dataclasses.replace(recipe, views=views)


def trainable_tail(
    network: nn.Module, entry: Entry, recipe: Recipe, preprocessing: Preprocessing
) -> TrainableTail | str:
    """The part of the network that is trained, to be run alone on what the frozen layers give; or why it cannot be."""
    groups = layer_groups(network, head=entry.head)
    num_open = num_open_groups(recipe.freeze, 0, recipe.epochs, len(groups))
    return find_trainable_tail(network, groups[len(groups) - num_open :], noise(preprocessing))


def noise(preprocessing: Preprocessing) -> Tensor:
    """Two images of noise as the network gets them, always the same: (2, C, H, W)."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, preprocessing.channels, *preprocessing.crop_size, generator=generator)


def _initialize_from_images(
    entry: Entry, network: nn.Module, packed: PreparedImages, splits: Splits, preprocessing: Preprocessing
) -> None:
    """First weights that are measured on training images, for the networks that want them."""
    if entry.initialize_from_images is not None:
        images = read_batch(packed, splits.train[:_WHITENING_IMAGES], preprocessing.crop_size)
        entry.initialize_from_images(network, preprocessing.normalize(images))


def _measured(preprocessing: Preprocessing, packed: PreparedImages, splits: Splits, choices: Choices) -> Preprocessing:
    """The preprocessing with what is subtracted and divided by measured on the training images."""
    mean, std = measure_mean_std(packed, splits.train)
    if choices.subtract != "mean_image":
        return dataclasses.replace(preprocessing, mean=mean, std=std)
    pixels = measure_mean_image(packed, splits.train, preprocessing.crop_size)
    return dataclasses.replace(preprocessing, std=std, mean_image=encode_mean_image(pixels))


def _resized(preprocessing: Preprocessing, image_size: int | None) -> Preprocessing:
    return preprocessing if image_size is None else resized_preprocessing(preprocessing, image_size)


def _split(data: OpenedData, usable: np.ndarray, choices: Choices, task: Task, access: Access) -> Splits:
    groups, lines = groups_to_keep_whole(data.dataset, choices.group_by, columns=access.columns)
    splits = split_dataset(
        task.for_splits(data.dataset),
        data.hashes,
        usable & task.usable(data.dataset),
        seed=choices.seed or 0,
        validation_fraction=0.1 if choices.validation_fraction is None else choices.validation_fraction,
        test_fraction=0.1 if choices.test_fraction is None else choices.test_fraction,
        least_classes=task.least_classes,
        groups=groups,
        num_folds=choices.num_folds or 0,
        fold=choices.fold or 0,
    )
    return dataclasses.replace(splits, notices=(*lines, *splits.notices)) if lines else splits


def _given_entry(given: GivenNetwork, choices: Choices, facts: DataFacts, num_outputs: int) -> Entry:
    """The entry of a network from Python, at a size that it takes."""
    for name, value in (("network", choices.network), ("weights", choices.weights)):
        if value is not None:
            raise InputError(
                f"{name} {value!r} was chosen, but a network is given as well; leave {name} out, and load weights "
                "into the network yourself"
            )
    sizes = sizes_to_try(facts, choices.image_size)
    if facts.labels_pixels:
        sizes = [image_size_for(facts.height, facts.width, choices.image_size, (1, 1))]
    return given_entry(
        given,
        num_classes=num_outputs,
        in_channels=facts.channels,
        sizes=sizes,
        seed=choices.seed or 0,
        gives_maps=facts.labels_pixels,
    )


def _choose_entry(choices: Choices, facts: DataFacts, task: Task) -> Entry:
    """The network asked for, or the one that the weights belong to, or the default for such data, as the task has it. A
    part alone is put on the network that would be chosen without it.
    """
    name = choices.network
    if name in (None, task.usual_network) and task.usual_network and choices.weights is None:
        return entry_for(task.usual_network)
    if name in SEGMENTERS and choices.weights is None:
        return entry_for(str(name))
    if name is None or name in PARTS:
        usual = default_network(facts) if choices.weights is None else network_of(choices.weights)
        base = entry_for(usual).base
        name = usual if name is None else f"{name}:{base.name if base else usual}"
    return entry_for(task.network_name(name))


def network_of(weights: str) -> str:
    """The network that weights belong to, as far as they say."""
    if weights == PUBLISHED:
        return DEFAULT_PRETRAINED
    path = Path(weights).expanduser()
    path = path / MODEL_FILE if path.is_dir() else path
    if not path.is_file():
        raise InputError(f"there are no weights called {weights!r}, nor is that a file; say {PUBLISHED} or give a path")
    if is_compressed_file(path):
        return read_compressed_header(path).network
    if is_model_file(path):
        return read_header(path)[0].network
    with path.open("rb") as file:
        if is_deep_compression_file(file.read(128)):
            return DEEP_COMPRESSED
    raise InputError(f"the weights {weights} do not say which network they belong to; add --network NAME")


def _look(dataset: Dataset, splits: Splits, device: torch.device) -> DataFacts:
    """Size and colour of an even sample of the images, from their headers where these say it."""
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
                channels.add(1 if facts.mode in GREY_MODES else 3)
        except (OSError, InputError):
            continue  # packing will name it, with the reason
    if not sizes:
        raise DataError(
            f"none of the images of {dataset.source} that were tried can be read; see: striate data {dataset.source}"
        )
    height, width = np.median(np.array(sizes), axis=0)
    return DataFacts(
        len(splits.train),
        len(dataset.class_names),
        max(channels),
        int(height),
        int(width),
        has_fast_bf16=has_fast_bf16(device),
        has_graphs=device.type == "cuda",
    )
