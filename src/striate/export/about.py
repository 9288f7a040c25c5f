"""The description inside an exported file: one JSON document, the same in every format (docs/export.md)."""

import json
from typing import Any

import PIL

from striate.data.packing import POLICY
from striate.tasks.model import Model
from striate.version import __version__

VERSION = 1
KEY = "striate"
"""The name under which every format carries the document."""
INPUT = "images"
_DECODING = (
    "Decode to 8 bits a channel, red green blue (or grey by ITU-R BT.601 luma where there is one channel). Apply the "
    "EXIF orientation; lay transparency over white; scale 16-bit grey by 255/65535; of an animation take the first "
    "frame."
)


def describe_export(model: Model, *, resize: bool, model_sha256: str | None = None) -> dict[str, Any]:
    """The document of a model's export: what goes in, what comes out, what happens in between; plain values.

    `model_sha256` is that of the model file it was made from, where there is one.
    """
    preprocessing = model.preprocessing
    height, width = ("H", "W") if resize else preprocessing.crop_size
    return {
        "version": VERSION,
        "striate": __version__,
        "network": model.network_name,
        "model_sha256": model_sha256,
        "class_names": list(model.class_names),
        "preprocessing": preprocessing.to_json(),
        "decoding": {"policy": POLICY, "words": _DECODING},
        "resize_inside": resize,
        "resize_as_pillow": PIL.__version__,
        "temperature": model.temperature,
        "input": {
            "name": INPUT,
            "dtype": "uint8",
            "layout": "NHWC",
            "shape": ["N", height, width, preprocessing.channels],
            "range": [0, 255],
            "channels": "RGB" if preprocessing.channels == 3 else "as given",
        },
        "task": {"name": model.task.name, "settings": model.task.settings()},
        "output": model.task.output_document,
    }


def to_text(about: dict[str, Any]) -> str:
    """The document as JSON on one line."""
    return json.dumps(about, ensure_ascii=False, allow_nan=False)
