"""Words on the command line that are several models and perhaps a source."""

from collections.abc import Sequence
from pathlib import Path


def models_and_source(words: Sequence[str]) -> tuple[list[str], str | None]:
    """The models among `words`, and the last word where it is a source and no model."""
    from striate.cli.errors import is_model
    from striate.networks.catalogue import names_network, split_reference

    last = words[-1]
    is_exported = Path(last).suffix in (".onnx", ".xml")
    names_weights = not Path(last).exists() and names_network(split_reference(last)[0])
    if len(words) == 1 or is_exported or names_weights or is_model(Path(last)):
        return list(words), None
    return list(words[:-1]), last
