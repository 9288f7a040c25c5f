"""A MODEL of the command line as what synthesis needs of it: pixels to outputs, class names, and the size of its
images.
"""

from dataclasses import dataclass

from striate.data.preprocessing import Preprocessing
from striate.errors import InputError
from striate.progress import Log, log_nothing
from striate.tasks.model import load_model
from striate.tasks.pixel_model import PixelModel


@dataclass(frozen=True, eq=False)
class OpenModel:
    """A `PixelModel`, its class names, and how images are cut for it."""

    pixel_model: PixelModel
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    network_name: str

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the images that it was made for."""
        return self.preprocessing.crop_size

    @property
    def channels(self) -> int:
        """1 for grey, 3 for colour."""
        return self.preprocessing.channels


def open_model(ref: str, *, device: str = "auto", download: bool = False, log: Log = log_nothing) -> OpenModel:
    """The model that `ref` names, see `striate.load_model`. Raises InputError and ModelFileError."""
    model = load_model(ref, device=device, download=download, log=log)
    preprocessing = model.preprocessing
    pixel_model = PixelModel(model.network, preprocessing)
    return OpenModel(pixel_model, model.class_names, preprocessing, model.network_name)


def needs_colour_and_any_size(opened: OpenModel) -> None:
    """Raise InputError for a network of grey images or of one size, where pictures are coloured and of any size."""
    if opened.preprocessing.mean_image is not None:
        raise InputError(
            "the network subtracts a mean image, so it takes pictures of one size only; name another model"
        )
    if opened.channels != 3:
        raise InputError(f"the network takes {opened.channels} channels but colour pictures have 3; name another model")
