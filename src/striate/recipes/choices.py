"""The user's explicit settings. Every None leaves the choice to striate, which makes it in `defaults.py` and prints
it. A field is an option of `striate train` too, with its flags and its help. Nothing here imports torch.
"""

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from striate.errors import InputError, check_whole
from striate.recipes.option import AUGMENTING, DATA, OPTIMISING, ROBUST, SPEED, TRANSFER, option

if TYPE_CHECKING:
    from striate.training.recipe import Recipe

FREEZE_WORDS = {"all": "nothing", "head": "base", "last-third": "lower"}
"""What is trained, in the words of the command line, and what a recipe calls the rest that stays as it is."""
PRECISION_WORDS = {"float32": "32-true", "bfloat16": "bf16-mixed", "float16": "16-mixed"}
"""Arithmetic in the words of all commands, and in those of a recipe."""


@dataclass(frozen=True)
class Choices:
    """Explicit wishes for a run; the fields mean what their namesakes in Recipe and its parts mean.

    `freeze`: also by what is trained, "all", "head", "last-third" or "gradual"; `precision`: also "float32", "bfloat16"
    or "float16". `image_size`: height and width in pixels that the network sees. `subtract`: "channel_mean", one number
    a channel (the default), or "mean_image", one a pixel. `encoder`: NAME or NAME:WEIGHTS, the network on whose
    features `network` is built. `stream`: decode images when they are needed, and keep none decoded. `group_by`: a
    column, "folder" or a pattern that names groups of images of which no split may have a part. `num_folds`, `fold`:
    the run is one fold of a cross-validation, see recipes.folds.
    """

    task: str | None = option(
        "--task",
        metavar="classification|localization|detection|segmentation",
        text="What to learn; by default the source tells.",
    )
    network: str | None = option(
        "--network", "-n", metavar="NAME", text="See `striate networks`; or timm:NAME, torchvision:NAME."
    )
    encoder: str | None = option(
        "--encoder",
        metavar="NAME[:WEIGHTS]",
        text="The network on whose features --network is built, such as unet's.",
    )
    epochs: int | None = option("--epochs", "-e", text="Passes over the training images.")
    seed: int | None = option(
        "--seed", text="Decides splits, first weights, order, augmentation; and what a search tries; by default 0."
    )

    weights: str | None = option(
        "--weights",
        panel=TRANSFER,
        metavar="WEIGHTS",
        text="imagenet (published), a weights file, or a striate model.",
    )
    freeze: str | None = option(
        "--train",
        panel=TRANSFER,
        words=("all", "head", "last-third", "gradual"),
        text="What is trained; the rest keeps its weights. gradual: the head first, then more. By default data size "
        "decides.",
    )
    layer_rate_factor: float | None = option(
        "--layer-rate-factor", panel=TRANSFER, text="Rate of each earlier layer group, relative to the next."
    )
    views: int | None = option(
        "--views",
        panel=TRANSFER,
        metavar="K",
        text="Views of each image that frozen layers see, once; 0 runs them every epoch.",
    )

    image_size: int | None = option(
        "--image-size", panel=DATA, metavar="PIXELS", text="Side of the square the network sees."
    )
    subtract: str | None = option(
        "--subtract", panel=DATA, metavar="channel_mean|mean_image", text="What is subtracted from images."
    )
    validation_fraction: float | None = option(
        "--validation-fraction", panel=DATA, text="Share set aside for validation; by default 0.1."
    )
    test_fraction: float | None = option(
        "--test-fraction", panel=DATA, text="Share set aside for the test; by default 0.1."
    )
    group_by: str | None = option(
        "--group-by",
        panel=DATA,
        metavar="HOW",
        text="Keep images together that belong together: folder, a column of the CSV, or a pattern with (parentheses).",
    )
    num_folds: int | None = None
    fold: int | None = None
    stream: bool = option(
        "--stream", panel=DATA, text="Decode images when they are needed and keep none decoded.", default=False
    )
    output: str | None = option(
        "--output",
        panel=DATA,
        metavar="softmax|sigmoid",
        text="sigmoid: one output for two classes; by default softmax.",
    )
    use_balanced_sampling: bool | None = option(
        "--balanced-sampling/--no-balanced-sampling", panel=DATA, text="Draw every class equally often."
    )

    batch_size: int | None = option("--batch-size", panel=OPTIMISING, text="Images in one update.")
    learning_rate: float | None = option("--learning-rate", panel=OPTIMISING, text="The peak rate.")
    optimizer: str | None = option(
        "--optimizer",
        panel=OPTIMISING,
        metavar="sgd|momentum|nesterov|adagrad|rmsprop|adam|adamw|muon|lbfgs",
        text="The optimiser.",
    )
    momentum: float | None = option("--momentum", panel=OPTIMISING, text="Momentum of SGD, RMSProp and Muon.")
    weight_decay: float | None = option("--weight-decay", panel=OPTIMISING, text="Never applied to biases and norms.")
    schedule: str | None = option(
        "--schedule",
        panel=OPTIMISING,
        metavar="constant|step|plateau|linear|cosine|one_cycle",
        text="How the rate moves.",
    )
    warmup: float | None = option("--warmup", panel=OPTIMISING, text="Fraction of the run in which the rate rises.")
    loss: str | None = option(
        "--loss",
        panel=OPTIMISING,
        metavar="l2|smooth_l1|giou|cross_entropy|dice|cross_entropy_dice",
        text="Of the box, in localization (default l2); of pixels, in segmentation (default cross_entropy).",
    )
    label_smoothing: float | None = option("--label-smoothing", panel=OPTIMISING, text="In [0, 1].")
    use_class_weights: bool | None = option(
        "--class-weights/--no-class-weights", panel=OPTIMISING, text="Weigh rare classes up in the loss."
    )
    max_grad_norm: float | None = option("--max-grad-norm", panel=OPTIMISING, text="Clip gradients to this norm.")
    accumulate_steps: int | None = option(
        "--accumulate-steps", panel=OPTIMISING, text="Batches summed into one update."
    )
    ema_decay: float | None = option(
        "--ema-decay", panel=OPTIMISING, text="Keep and evaluate a moving average of the weights."
    )

    precision: str | None = option("--precision", panel=SPEED, metavar="float32|bfloat16|float16", text="Arithmetic.")
    use_channels_last: bool | None = option(
        "--channels-last/--no-channels-last", panel=SPEED, text="How activations lie in memory."
    )
    use_compile: bool | None = option(
        "--compile/--no-compile", panel=SPEED, text="Have torch.compile write the code of a step."
    )
    use_cuda_graphs: bool | None = option(
        "--cuda-graphs/--no-cuda-graphs", panel=SPEED, text="Have a GPU replay a step as a CUDA graph."
    )
    num_threads: int | None = option("--threads", panel=SPEED, text="Threads that compute on the CPU.")

    adversarial: str | None = option(
        "--adversarial", panel=ROBUST, metavar="fgsm|fast|free|pgd|trades", text="Train on attacked images."
    )
    adversarial_epsilon: float | None = option(
        "--epsilon",
        panel=ROBUST,
        metavar="E",
        text="Largest change, pixels being 0 to 1; by default 8/255.",
        is_fraction=True,
    )
    attack_steps: int | None = option(
        "--attack-steps", panel=ROBUST, metavar="K", text="Steps of the attack; of free, updates on each batch."
    )

    flip: bool | None = option("--flip/--no-flip", panel=AUGMENTING, text="Mirror left and right.")
    crop_scale: tuple[float, float] | None = option(
        "--crop-scale",
        panel=AUGMENTING,
        metavar="LOW HIGH",
        text="Random resized crops of this share of the area, such as 0.35 1.",
    )
    shift_px: int | None = option("--shift", panel=AUGMENTING, metavar="PIXELS", text="Largest shift.")
    rotation_degrees: float | None = option("--rotation", panel=AUGMENTING, metavar="DEGREES", text="Largest turn.")
    brightness: float | None = option("--brightness", panel=AUGMENTING, text="Largest relative change.")
    contrast: float | None = option("--contrast", panel=AUGMENTING, text="Largest relative change.")
    saturation: float | None = option("--saturation", panel=AUGMENTING, text="Largest relative change.")
    hue: float | None = option("--hue", panel=AUGMENTING, text="Largest turn of the colour circle, at most 0.5.")
    pca_color: float | None = option(
        "--pca-color", panel=AUGMENTING, text="AlexNet's colour noise, its standard deviation."
    )
    cutout_px: int | None = option("--cutout", panel=AUGMENTING, metavar="PIXELS", text="Side of a square blanked out.")
    mixup: float | None = option("--mixup", panel=AUGMENTING, text="Alpha of mixup.")

    def __post_init__(self) -> None:
        for name, words in (("freeze", FREEZE_WORDS), ("precision", PRECISION_WORDS)):
            own = getattr(self, name)
            object.__setattr__(self, name, words.get(own, own) if isinstance(own, str) else own)
        for name, least in (("seed", 0), ("batch_size", 1), ("epochs", 1)):
            if (value := getattr(self, name)) is not None:
                check_whole(name, value, least)
        if self.subtract not in (None, "channel_mean", "mean_image"):
            raise InputError(f"subtract must be channel_mean or mean_image but is {self.subtract!r}")

    def with_encoder_named(self) -> "Choices":
        """The same choices with the encoder in `network` (PART:BASE) and `weights`. InputError where these say
        something else.
        """
        if self.encoder is None:
            return self
        from striate.networks.catalogue import split_reference
        from striate.networks.composite import PARTS

        base, weights = split_reference(self.encoder)
        if self.weights is not None and weights:
            raise InputError(f"both the encoder and weights name weights, {weights} and {self.weights}; name them once")
        part = self.network or "unet"
        if part not in PARTS:
            raise InputError(f"{part} is built on no encoder; use one of {', '.join(PARTS)}, or leave --encoder out")
        return dataclasses.replace(self, encoder=None, network=f"{part}:{base}", weights=weights or self.weights)

    def applied_to(self, recipe: "Recipe") -> "Recipe":
        """The recipe with every explicit wish in place of the default."""
        wishes = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        wishes = {name: request for name, request in wishes.items() if request is not None}
        parts: dict[str, Any] = {
            "optimizer": dataclasses.replace(recipe.optimizer, **_named(recipe.optimizer, wishes, name=self.optimizer)),
            "schedule": dataclasses.replace(recipe.schedule, **_named(recipe.schedule, wishes, name=self.schedule)),
            "augmentation": dataclasses.replace(recipe.augmentation, **_named(recipe.augmentation, wishes)),
        }
        return dataclasses.replace(recipe, **{**_named(recipe, wishes), **parts})


def _named(part: Any, wishes: dict[str, Any], *, name: str | None = None) -> dict[str, Any]:
    """The wishes that are fields of `part`; its own `name` where one is wished for."""
    fields = {field.name for field in dataclasses.fields(part)}
    named = {key: request for key, request in wishes.items() if key in fields}
    return named if name is None else {**named, "name": name}
