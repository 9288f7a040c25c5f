"""A model as the bytes of its compressed file."""

from typing import Any

from striate.tasks.model import Model
from striate.weights.compressed_file import CodingFigures, compressed_bytes
from striate.weights.model_file import ModelFile


def bytes_of(model: Model, *, coder: str = "range") -> tuple[bytes, CodingFigures]:
    """What its compressed file holds, weights as they are now. ModelFileError where the network is none of the catalogue's."""
    about = ModelFile(
        network=model.network_name,
        config=model.network_config,
        class_names=model.class_names,
        preprocessing=model.preprocessing,
        provenance=model.provenance,
        temperature=model.temperature,
        structure=model.structure,
    )
    return compressed_bytes(about, model.network.state_dict(), coder=coder)


def shortened(provenance: dict[str, Any]) -> dict[str, Any]:
    """What a small file keeps of where a model comes from: the data it was trained on, so that its test part can be found again."""
    return {key: provenance[key] for key in ("striate", "data") if key in provenance}
