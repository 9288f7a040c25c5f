"""A model as the bytes of its compressed file."""

from typing import Any

from striate.tasks.model import Model, about_of
from striate.weights.compressed_file import CodingFigures, compressed_bytes

DATA_KEYS = ("fingerprint", "source", "data_dir", "max_pixels", "columns", "splits")
"""What finds the data of a training run, and its parts, again."""


def bytes_of(model: Model, *, coder: str = "range") -> tuple[bytes, CodingFigures]:
    """What its compressed file holds, weights as they are now. ModelFileError where the network is none of the
    catalogue's.
    """
    return compressed_bytes(about_of(model), model.network.state_dict(), coder=coder)


def shortened(provenance: dict[str, Any]) -> dict[str, Any]:
    """What a small file keeps of where a model comes from: which data it was trained on, so that its test part can be
    found again.

    Left out are the recipe, counts and notices, and the sketch of the training images, which alone can be larger than
    the weights.
    """
    kept: dict[str, Any] = {key: provenance[key] for key in ("striate", "data") if key in provenance}
    if isinstance(kept.get("data"), dict):
        kept["data"] = {key: value for key, value in kept["data"].items() if key in DATA_KEYS}
    return kept
