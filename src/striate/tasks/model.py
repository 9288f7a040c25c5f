"""A trained model ready for use: network, task, preprocessing and class names together, from one file. K classes."""

import dataclasses
import difflib
from collections.abc import Iterable, Iterator
from dataclasses import KW_ONLY, asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from striate.data.preprocessing import Preprocessing
from striate.errors import InputError, ModelFileError
from striate.networks.auxiliary import WithAuxiliary
from striate.networks.catalogue import CATALOGUE, entry_for, names_network, split_reference
from striate.networks.entry import Entry
from striate.networks.given import EXTERNAL, NetworkSource, build_given
from striate.networks.restore import evaluating
from striate.notebook import Shown
from striate.progress import Log, Track, log_nothing, track_silently
from striate.tasks.catalogue import USUAL_TASK, make_task, task_of_network
from striate.tasks.classification.predictions import ClassProbability as ClassProbability
from striate.tasks.pixel_model import PixelModel, network_inputs
from striate.tasks.predictions import (
    ForwardFn,
    ImageLike,
    Predictions,
    answer_each,
    collect,
    name_images,
)
from striate.tasks.task import Task
from striate.weights.adapting import find_counts, load_pretrained
from striate.weights.compressed_file import is_compressed_file, read_compressed_file
from striate.weights.model_file import MODEL_FILE, ModelFile, read_header, read_model_file, write_model_file
from striate.weights.structure import Structure
from striate.weights.task_outputs import fits_outputs


@dataclass(frozen=True, eq=False, repr=False)
class Model(Shown):
    """A network with what belongs to it. Its mode does not matter: every answer is given in evaluation mode.

    `network_name` is "external" for a network of your own, which no file can rebuild; `network_config` holds the fields
    of the configuration of any other. The network gives the outputs that `task` wants for `class_names`: a classifier's
    are logits (N, K), or (N, 1) for two classes, see tasks.classification.logits, and their softmax is by
    `temperature`, which `striate calibrate` fits. Without `task` it is classification.
    """

    network: nn.Module
    _: KW_ONLY
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    network_name: str = EXTERNAL
    network_config: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    temperature: float = 1.0
    structure: Structure = field(default_factory=dict)
    task: Task = field(default=None)  # type: ignore[assignment]

    def facts(self) -> tuple[str, tuple[tuple[str, object], ...]]:
        preprocessing = self.preprocessing
        size = "x".join(map(str, (preprocessing.channels, *preprocessing.crop_size)))
        names = ", ".join(self.class_names[:5]) + (", ..." if len(self.class_names) > 5 else "")
        return "striate model", (
            ("network", self.network_name),
            ("parameters", f"{sum(param.numel() for param in self.network.parameters()):,}"),
            ("image", size),
            ("classes", f"{len(self.class_names):,} ({names})"),
            ("temperature", f"{self.temperature:.3g}"),
        )

    def __post_init__(self) -> None:
        if self.task is None:
            object.__setattr__(self, "task", make_task(USUAL_TASK, self.class_names))

    @property
    def device(self) -> torch.device:
        """Where the network's parameters lie."""
        return next((param.device for param in self.network.parameters()), torch.device("cpu"))

    @property
    def pixel_model(self) -> PixelModel:
        """The network with its normalisation and temperature as one differentiable module; the network is shared."""
        is_plain = self.network_name == EXTERNAL
        return PixelModel(self.network, self.preprocessing, temperature=self.temperature, is_plain=is_plain)

    def to(self, device: torch.device | str) -> "Model":
        """This model, its network moved to a device in place, as torch does."""
        self.network.to(device)
        return self

    def probabilities(self, images: Tensor) -> Tensor:
        """Pixels (N, C, H, W) uint8, of the size `preprocessing.crop_size` -> probabilities (N, K) on the CPU.

        Of a model for another task, its D values of each image (N, D): see the `columns` of its task.
        """
        if images.dtype != torch.uint8:
            raise InputError(
                f"expected pixels 0..255 as uint8 but got {images.dtype}; the model's preprocessing does the rest"
            )
        with evaluating(self.network), torch.no_grad():
            inputs = network_inputs(self.preprocessing, images.to(self.device), is_plain=self.network_name == EXTERNAL)
            outputs = self.network(inputs)
        return self.task.readout(outputs, self.temperature).cpu()

    def run(self, pixels: np.ndarray) -> np.ndarray:
        """The same for pixels (N, H, W, C) as arrays: values (N, D) float32. Every engine is measured against it."""
        return self.probabilities(torch.from_numpy(pixels).permute(0, 3, 1, 2)).numpy()

    def predict(
        self,
        images: ImageLike | Iterable[ImageLike],
        *,
        top: int = 5,
        batch_size: int = 32,
        track: Track = track_silently,
        run: ForwardFn | None = None,
    ) -> Predictions:
        """What the model says of one image, or of each image of a folder or an iterable: its `top` most probable
        classes, or what else its task asks for, in the image's own pixels.

        Images that cannot be read are named in `errors` and stop no other. `run` computes in the network's place:
        pixels (N, H, W, C) uint8 -> values (N, D), such as an engine that `striate.open_engine` gives.
        """
        given = list(name_images(images)) if not isinstance(images, Iterator) else name_images(images)
        tracked = track(given, "predicting", len(given)) if isinstance(given, list) else given
        return collect(self._answer(tracked, top, batch_size, run))

    def predict_each(
        self,
        images: ImageLike | Iterable[ImageLike],
        *,
        top: int = 5,
        batch_size: int = 32,
        run: ForwardFn | None = None,
    ) -> Iterator[Any]:
        """The same, one answer after the other in the order given, in memory that does not grow with their number."""
        return self._answer(name_images(images), top, batch_size, run)

    def _answer(
        self, named: Iterable[tuple[str, ImageLike]], top: int, batch_size: int, run: ForwardFn | None
    ) -> Iterator[Any]:
        return answer_each(named, self.preprocessing, self.task, run or self.run, top=top, batch_size=batch_size)


def load_model(
    ref: str | Path,
    *,
    network: NetworkSource | None = None,
    device: torch.device | str = "auto",
    download: bool = False,
    log: Log = log_nothing,
) -> Model:
    """The model that `ref` names: a run folder, a model file, or NETWORK:WEIGHTS.

    WEIGHTS is a weights file or the name of published weights, fetched only with `download`. `device` "auto" is a GPU
    where there is one. A model whose network was given from Python needs it again as `network`, a module (a copy
    takes the weights) or a function that builds one; its code is in no file.
    Raises InputError where `ref` names nothing, ModelFileError where a file is not what it should be.
    """
    path = Path(ref)
    if path.is_dir():
        path = path / MODEL_FILE
        if not path.is_file():
            raise ModelFileError(f"{ref} holds no {MODEL_FILE}; name a run that has finished an epoch, or a model file")
    if path.is_file():
        return _from_file(path, network).to(pick_device(device))
    if network is not None:
        raise InputError(
            f"{str(ref)!r} is no run folder or model file, so that a network given for it has no weights to take"
        )
    name, weights = split_reference(str(ref))
    if names_network(name) and weights:
        return _from_weights(entry_for(name), weights, download, log).to(pick_device(device))
    if names_network(name):
        entry_for(name)  # where there is no such network, that is what has to be said
        raise InputError(
            f"{name} is a network without weights; say {name}:WEIGHTS with a weights file, or a model file"
        )
    near = difflib.get_close_matches(name, CATALOGUE, n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(near)}?" if near else "expected a run folder, a model file or NETWORK:WEIGHTS"
    raise InputError(f"{str(ref)!r} is neither a file or folder nor a network of striate; {hint}")


def about_of(model: Model) -> ModelFile:
    """All of a model but its weights, as files hold it. InputError or ModelFileError where its parts do not fit."""
    config = model.network_config
    if model.network_name == EXTERNAL:
        config = {"in_channels": model.preprocessing.channels, "num_classes": _count_outputs(model)}
    return ModelFile(
        network=model.network_name,
        config=config,
        class_names=model.class_names,
        preprocessing=model.preprocessing,
        provenance=model.provenance,
        temperature=model.temperature,
        task=model.task.name,
        task_settings=model.task.settings(),
        structure=model.structure,
    )


def save_model(model: Model, path: str | Path) -> None:
    """Write a model to its one file (docs/model-file.md), replacing what stood there in one stroke.

    Raises InputError where it cannot be written, ModelFileError where its network is none of the catalogue's.
    """
    try:
        write_model_file(path, about_of(model), model.network.state_dict())
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}; save the model elsewhere") from None


def _count_outputs(model: Model) -> int:
    """Outputs of a network, found by running it on one image of zeros. InputError where they do not fit the class
    names.
    """
    size = (model.preprocessing.channels, *model.preprocessing.crop_size)
    with evaluating(model.network), torch.no_grad():
        answer = model.network(torch.zeros(1, *size, device=model.device))
    logits = answer.logits if isinstance(answer, WithAuxiliary) else answer
    num_dims = 4 if model.task.labels_pixels else 2
    num_outputs = logits.shape[1] if isinstance(logits, Tensor) and logits.ndim == num_dims else 0
    if num_outputs == 0 or not fits_outputs(model.task.name, len(model.class_names), num_outputs):
        found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise InputError(
            f"the network answers an image with {found} but has {len(model.class_names)} class names; give one an "
            "output"
        )
    return num_outputs


def _from_file(path: Path, source: NetworkSource | None) -> Model:
    state: dict[str, Tensor] | None = None
    if is_compressed_file(path):
        about, state = read_compressed_file(path)
    else:
        about, _ = read_header(path)
    if about.network == EXTERNAL and source is None:
        raise InputError(
            f"{path} holds the weights of a network given from Python and not its code; load it from Python: "
            f"striate.load_model({str(path)!r}, network=...), with the network or the function that builds it"
        )
    if about.network != EXTERNAL and source is not None:
        raise InputError(f"{path} holds {about.network}, which is built by name; leave network out")
    task = task_of(about, path)
    network = about.build_network() if source is None else build_given(source, **about.config)
    if state is None:
        _, state = read_model_file(path, network)
    network.load_state_dict(state)
    return Model(
        network.eval(),
        network_name=about.network,
        network_config=about.config,
        class_names=about.class_names,
        preprocessing=about.preprocessing,
        provenance=about.provenance,
        temperature=about.temperature,
        task=task,
        structure=about.structure,
    )


def task_of(about: ModelFile, path: str | Path) -> Task:
    """The task that a model file is for; ModelFileError where its settings are none of that task's."""
    try:
        return make_task(about.task, about.class_names, about.task_settings)
    except InputError as error:
        raise ModelFileError(f"{path} is not a model that this version of striate can read: {error}") from None


def _from_weights(entry: Entry, weights: str, download: bool, log: Log) -> Model:
    """A network of the catalogue with weights from elsewhere, with as many classes and channels as these have."""
    loaded = load_pretrained(entry.name, weights, seed=0, download=download, log=log)
    in_channels, num_classes = find_counts(entry, loaded.network.state_dict()) or (0, 0)
    preprocessing, usual = loaded.preprocessing, entry.usual_preprocessing
    if preprocessing is None and usual is not None and usual.channels == in_channels:
        preprocessing = usual
        log(f"{weights} does not say how images are prepared: as for {entry.usual_weights}")
    if preprocessing is None:
        raise ModelFileError(f"{weights} does not say how images are prepared for {entry.name}; a model file would")
    class_names = loaded.class_names
    if class_names is None:
        class_names = tuple(str(index) for index in range(max(2, num_classes)))
        log(f"{weights} does not name its classes: they are called 0 to {class_names[-1]}")
    config = dataclasses.replace(entry.config, num_classes=num_classes, in_channels=in_channels)
    return Model(
        loaded.network.eval(),
        network_name=entry.name,
        network_config=asdict(config),
        class_names=class_names,
        preprocessing=preprocessing,
        task=task_of_network(entry.kind, class_names),
    )


def gpu_name(device: torch.device) -> str:
    """The name of a CUDA device; "" for any other."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else ""


def pick_device(device: torch.device | str) -> torch.device:
    """The device of this name; "auto" is the first GPU, or else the CPU. InputError where this machine has none."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if str(device).split(":")[0] not in ("cpu", "cuda", "mps"):
        raise InputError(f"device must be auto, cpu, cuda or mps but is {str(device)!r}")
    try:
        picked = torch.device(device)
        torch.empty(0, device=picked)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"this machine cannot compute on {device!r} ({reason}); use auto or cpu") from None
    return picked
