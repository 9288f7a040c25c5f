"""A MODEL of the command line as what synthesis needs of it: pixels to outputs, class names, and the size of its images."""

from dataclasses import dataclass

from striate.errors import InputError
from striate.progress import Log, log_nothing
from striate.tasks.model import load_model
from striate.tasks.pixel_model import PixelModel


@dataclass(frozen=True, eq=False)
class OpenModel:
    """A `PixelModel`, its class names, and (height, width) and channels of the images that it was made for."""

    pixel_model: PixelModel
    class_names: tuple[str, ...]
    size: tuple[int, int]
    channels: int


def open_model(ref: str, *, device: str = "cpu", download: bool = False, log: Log = log_nothing) -> OpenModel:
    """The model that `ref` names, see `striate.load_model`. Raises InputError and ModelFileError."""
    model = load_model(ref, device=device, download=download, log=log)
    preprocessing = model.preprocessing
    if preprocessing.mean_image is not None:
        log(f"the model subtracts a mean image, so pictures are of {preprocessing.crop_size} pixels")
    pixel_model = PixelModel(model.network, preprocessing).to(model.device)
    return OpenModel(pixel_model, model.class_names, preprocessing.crop_size, preprocessing.channels)


def needs_colour(opened: OpenModel) -> None:
    """Raise InputError for a network of grey images, where colour is the point."""
    if opened.channels != 3:
        raise InputError(f"the network takes {opened.channels} channels but colour pictures have 3; name another model")
