"""A trained classifier ready for use: network, preprocessing and class names together, from one file. K classes."""

import dataclasses
import difflib
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from striate.data.decoding import decode_image, image_pixels, image_suffixes
from striate.data.parallel import prefetch
from striate.data.preprocessing import Preprocessing
from striate.errors import InputError, ModelFileError, StriateError
from striate.networks.adapting import find_counts, load_pretrained
from striate.networks.catalogue import CATALOGUE, entry_for, names_network, split_reference
from striate.networks.entry import Entry
from striate.networks.model_file import MODEL_FILE, ModelFile, read_model_file, write_model_file
from striate.networks.modes import evaluating
from striate.progress import Tell, Track, tell_nobody, track_silently
from striate.tasks.classification import class_logits, top_classes

T = TypeVar("T")
ImageLike: TypeAlias = str | Path | Image.Image | np.ndarray
"""A file, a folder of files, a Pillow image, or pixels (H, W) or (H, W, C) uint8."""


@dataclass(frozen=True)
class ClassProbability:
    """One class an image may be of; the probabilities of all K classes sum to 1."""

    name: str
    index: int
    probability: float


@dataclass(frozen=True)
class Prediction:
    """The most probable classes of one image, best first. `path` is its file; the fourth image given is "image 3"."""

    path: str
    classes: tuple[ClassProbability, ...]


@dataclass(frozen=True)
class PredictionError:
    """An image that could not be read, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Predictions:
    """What a model says of many images, in the order given; unreadable ones stand apart."""

    predictions: tuple[Prediction, ...]
    errors: tuple[PredictionError, ...]

    def to_json(self) -> dict[str, Any]:
        """{"predictions": [{"path", "classes": [{"name", "index", "probability"}]}], "errors": [{"path", "reason"}]}"""
        return {
            "predictions": [
                {"path": prediction.path, "classes": [asdict(each) for each in prediction.classes]}
                for prediction in self.predictions
            ],
            "errors": [asdict(error) for error in self.errors],
        }


@dataclass(frozen=True, eq=False)
class Model:
    """A network with what belongs to it. Its mode does not matter: every answer is given in evaluation mode.

    `network_config` holds the fields of the network's configuration; the network answers logits (N, K) for
    `class_names`, or (N, 1) for two classes, see tasks.classification.class_logits.
    """

    network: nn.Module
    network_name: str
    network_config: dict[str, Any]
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        """Where the network's parameters lie."""
        return next(self.network.parameters()).device

    def to(self, device: torch.device | str) -> "Model":
        """This model, its network moved to a device in place, as torch does."""
        self.network.to(device)
        return self

    def probabilities(self, images: Tensor) -> Tensor:
        """Pixels (N, C, H, W) uint8, of the size `preprocessing.crop_size` -> probabilities (N, K) on the CPU."""
        if images.dtype != torch.uint8:
            raise InputError(
                f"expected pixels 0..255 as uint8 but got {images.dtype}; the model's preprocessing does the rest"
            )
        with evaluating(self.network), torch.no_grad():
            logits = self.network(self.preprocessing.normalize(images.to(self.device)))
        return class_logits(logits).float().softmax(dim=1).cpu()

    def predict(
        self,
        images: ImageLike | Iterable[ImageLike],
        *,
        top: int = 5,
        batch_size: int = 32,
        track: Track = track_silently,
    ) -> Predictions:
        """The `top` most probable classes of one image, or of each image of a folder or an iterable.

        Images that cannot be read are named in `errors` and stop no other.
        """
        given = list(_expand(images)) if not isinstance(images, Iterator) else _expand(images)
        tracked = track(given, "predicting", len(given)) if isinstance(given, list) else given
        answers = list(self._predict_named(tracked, top, batch_size))
        return Predictions(
            predictions=tuple(answer for answer in answers if isinstance(answer, Prediction)),
            errors=tuple(answer for answer in answers if isinstance(answer, PredictionError)),
        )

    def predict_each(
        self, images: ImageLike | Iterable[ImageLike], *, top: int = 5, batch_size: int = 32
    ) -> Iterator[Prediction | PredictionError]:
        """The same, one answer after the other in the order given, in memory that does not grow with their number."""
        return self._predict_named(_expand(images), top, batch_size)

    def _predict_named(
        self, named: Iterable[tuple[str, ImageLike]], top: int, batch_size: int
    ) -> Iterator[Prediction | PredictionError]:
        if top < 1 or batch_size < 1:
            raise InputError(f"top and batch_size must be at least 1 but are {top} and {batch_size}")
        thunks = (partial(self._read, name, image) for name, image in named)
        num_workers = min(8, os.cpu_count() or 1)
        for batch in _in_batches(prefetch(thunks, depth=2 * batch_size, num_workers=num_workers), batch_size):
            yield from self._answer(batch, top)

    def _read(self, name: str, image: ImageLike) -> tuple[str, np.ndarray] | PredictionError:
        """The pixels (h, w, C) of one image as the network wants them, or why there are none."""
        try:
            return name, self.preprocessing.to_pixels(_decode(image, self.preprocessing.channels))
        except InputError as error:
            return PredictionError(name, str(error))
        except FileNotFoundError:
            return PredictionError(name, "does not exist")
        except OSError as error:
            return PredictionError(name, f"cannot be opened: {error.strerror or error}")
        except MemoryError:
            return PredictionError(name, "needs more memory than there is")

    def _answer(
        self, batch: list[tuple[str, np.ndarray] | PredictionError], top: int
    ) -> Iterator[Prediction | PredictionError]:
        readable = [pixels for _, pixels in (each for each in batch if isinstance(each, tuple))]
        if not readable:
            yield from (each for each in batch if isinstance(each, PredictionError))
            return
        images = torch.from_numpy(np.stack(readable)).permute(0, 3, 1, 2)  # (n, C, h, w)
        shares, indices = top_classes(self.probabilities(images), top)
        answers = zip(shares.tolist(), indices.tolist(), strict=True)
        for each in batch:
            yield each if isinstance(each, PredictionError) else self._prediction(each[0], *next(answers))

    def _prediction(self, path: str, shares: list[float], indices: list[int]) -> Prediction | PredictionError:
        if not np.isfinite(shares).all():
            return PredictionError(path, "makes the network answer NaN; its weights may be damaged")
        classes = (ClassProbability(self.class_names[k], k, share) for k, share in zip(indices, shares, strict=True))
        return Prediction(path, tuple(classes))


def load_model(
    ref: str | Path, *, device: torch.device | str = "cpu", download: bool = False, tell: Tell = tell_nobody
) -> Model:
    """The model that `ref` names: a run folder, a model file, or NETWORK:WEIGHTS.

    WEIGHTS is a weights file or the name of published weights, fetched only with `download`. `device` may be "auto":
    a GPU where there is one. Raises InputError where `ref` names nothing, ModelFileError where a file is not what it
    should be.
    """
    path = Path(ref)
    if path.is_dir():
        path = path / MODEL_FILE
        if not path.is_file():
            raise ModelFileError(f"{ref} holds no {MODEL_FILE}; name a run that has finished an epoch, or a model file")
    if path.is_file():
        return _from_file(path).to(pick_device(device))
    name, weights = split_reference(str(ref))
    if names_network(name) and weights:
        return _from_weights(entry_for(name), weights, download, tell).to(pick_device(device))
    if names_network(name):
        entry_for(name)  # where there is no such network, that is what has to be said
        raise InputError(
            f"{name} is a network without weights; say {name}:WEIGHTS with a weights file, or a model file"
        )
    near = difflib.get_close_matches(name, CATALOGUE, n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(near)}?" if near else "expected a run folder, a model file or NETWORK:WEIGHTS"
    raise InputError(f"{str(ref)!r} is neither a file or folder nor a network of striate; {hint}")


def save_model(model: Model, path: str | Path) -> None:
    """Write a model to its one file (docs/model-file.md), replacing what stood there in one stroke.

    Raises InputError where it cannot be written, ModelFileError where its network is none of the catalogue's.
    """
    about = ModelFile(
        network=model.network_name,
        config=model.network_config,
        class_names=model.class_names,
        preprocessing=model.preprocessing,
        provenance=model.provenance,
    )
    try:
        write_model_file(path, about, model.network.state_dict())
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}; save the model elsewhere") from None


def _expand(images: ImageLike | Iterable[ImageLike]) -> Iterator[tuple[str, ImageLike]]:
    """Every single image with its name; folders give their image files, of any depth, in order of their names."""
    if isinstance(images, (str, Path, Image.Image)) or (isinstance(images, np.ndarray) and images.ndim < 4):
        images = [images]
    for place, image in enumerate(images):
        if isinstance(image, (str, Path)):
            yield from _expand_path(Path(image)) if os.path.isdir(image) else [(str(image), image)]
        else:
            yield f"image {place}", image


def _expand_path(folder: Path) -> Iterator[tuple[str, ImageLike]]:
    suffixes, is_empty = image_suffixes(), True
    for parent, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in suffixes:
                is_empty = False
                path = os.path.join(parent, name)
                yield path, Path(path)
    if is_empty:
        yield str(folder), folder  # read as a file it becomes an error with the folder's name


def _decode(image: ImageLike, channels: int) -> np.ndarray:
    """Pixels (H, W, channels) uint8 of one image; InputError with the reason, or OSError, where there are none."""
    if isinstance(image, (str, Path)):
        return decode_image(_read_bytes(image), channels)
    if isinstance(image, np.ndarray):
        return decode_image(image, channels)
    if not isinstance(image, Image.Image):
        raise InputError(f"is {type(image).__name__}, neither a path, a Pillow image nor an array (H, W, C)")
    if channels not in (1, 3):
        raise InputError(f"is a Pillow image, which gives 1 or 3 channels and not {channels}")
    try:
        return image_pixels(image, channels)
    except StriateError:
        raise
    except Exception as error:  # as for files: Pillow raises nearly anything on damaged data
        raise InputError(f"cannot be decoded: {error}") from error


def _read_bytes(path: str | Path) -> bytes:
    try:
        mode = os.stat(path).st_mode
    except ValueError as error:
        raise InputError(f"is no path: {error}") from None
    if stat.S_ISDIR(mode):
        raise InputError("holds no image files")
    if not stat.S_ISREG(mode):
        raise InputError("is no regular file")  # reading a pipe or a device may never end
    return Path(path).read_bytes()


def _in_batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    batch: list[T] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _from_file(path: Path) -> Model:
    about, state = read_model_file(path)
    network = about.build_network()
    network.load_state_dict(state)
    return Model(
        network.eval(), about.network, about.config, about.class_names, about.preprocessing, provenance=about.provenance
    )


def _from_weights(entry: Entry, weights: str, download: bool, tell: Tell) -> Model:
    """A network of the catalogue with weights from elsewhere, with as many classes and channels as these have."""
    loaded = load_pretrained(entry.name, weights, seed=0, download=download, tell=tell)
    in_channels, num_classes = find_counts(entry, loaded.network.state_dict()) or (0, 0)
    preprocessing, usual = loaded.preprocessing, entry.usual_preprocessing
    if preprocessing is None and usual is not None and usual.channels == in_channels:
        preprocessing = usual
        tell(f"{weights} does not say how images are prepared: as for {entry.usual_weights}")
    if preprocessing is None:
        raise ModelFileError(f"{weights} does not say how images are prepared for {entry.name}; a model file would")
    class_names = loaded.class_names
    if class_names is None:
        class_names = tuple(str(index) for index in range(max(2, num_classes)))
        tell(f"{weights} does not name its classes: they are called 0 to {class_names[-1]}")
    config = dataclasses.replace(entry.config, num_classes=num_classes, in_channels=in_channels)
    return Model(loaded.network.eval(), entry.name, asdict(config), class_names, preprocessing)


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
