"""The one file that is an index of images: their features, names, classes and hashes, and which model made them.

A safetensors file whose header holds one JSON document and a checksum of the whole file (docs/retrieval.md). Nothing is
executed, sizes are checked before anything is read, and features stay on the disk until a search reads them. N images,
D features, K classes, M cells.
"""

import dataclasses
import hashlib
import json
import re
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
import torch

from striate.data.cache import writing_atomically
from striate.data.hashing import HASH_BYTES
from striate.errors import InputError, ModelFileError
from striate.evaluation.nearest import METRICS
from striate.notebook import Shown
from striate.weights.tensor_table import (
    MAX_HEADER_BYTES,
    TensorInfo,
    check_offsets,
    one_line,
    open_weights,
    parse_header,
    parse_tensor,
    read_header_bytes,
    strict_json,
)

VERSION = 1
MAX_FEATURES = 1 << 20
"""No image has more numbers."""
_KEY = "striate_index"
_NO_CHECKSUM = "0" * 64
_CHECKSUM = re.compile(rb'"sha256":"([0-9a-f]{64})"')
_DIGEST = re.compile(r"[0-9a-f]{64}")
_CHUNK = 1 << 24
_KINDS = {
    "features": (torch.float32, "F32", "<f4"),
    "hashes": (torch.uint8, "U8", "u1"),
    "labels": (torch.int64, "I64", "<i8"),
    "names": (torch.uint8, "U8", "u1"),
    "name_stops": (torch.int64, "I64", "<i8"),
    "centers": (torch.float32, "F32", "<f4"),
    "cell_stops": (torch.int64, "I64", "<i8"),
}
_CELLS = ("centers", "cell_stops")
_TEXTS = {
    "source": str,
    "data_dir": str | None,
    "columns": dict | None,
    "model": str,
    "network": str,
    "digest": str,
    "layer": str,
    "is_input": bool,
    "metric": str,
}
"""What the header says beside the names of the classes."""


@dataclass(frozen=True, eq=False, repr=False)
class ImageIndex(Shown):
    """Images of `source` by the features that `model`, a run folder, a file or NETWORK:WEIGHTS, gives for them.

    `layer` is the place in the network, whose output they are, or whose input where `is_input`; maps are averaged over
    places. `names`: N names below the source; `hashes` (N, 16) uint8 of the images' bytes; `labels` (N,) index
    `class_names`, -1 where there is none; `features` (N, D) float32, perhaps in a file. `metric` is "cosine" or "l2".
    Where `centers` (M, D) are given, rows lie together in cells about them, which end at `cell_stops` (M,). `digest`
    changes with the model's weights and preprocessing. `data_dir` and `columns` say how the source was read.
    """

    source: str
    model: str
    network: str
    digest: str
    layer: str
    is_input: bool
    metric: str
    class_names: tuple[str, ...]
    names: tuple[str, ...]
    hashes: np.ndarray
    labels: np.ndarray
    features: np.ndarray
    centers: np.ndarray | None = None
    cell_stops: np.ndarray | None = None
    data_dir: str | None = None
    columns: dict[str, Any] | None = None

    def __len__(self) -> int:
        return len(self.names)

    def facts(self) -> tuple[str, tuple[tuple[str, object], ...]]:
        return "striate index", (
            ("source", self.source),
            ("images", f"{len(self):,}"),
            ("features", f"{self.features.shape[1]:,}"),
            ("layer", self.place),
            ("metric", self.metric),
        )

    @property
    def place(self) -> str:
        """The layer in words."""
        return f"the input of {self.layer}" if self.is_input else self.layer

    def class_of(self, place: int) -> str | None:
        """The class of an image, None where it has none."""
        label = int(self.labels[place])
        return None if label < 0 else self.class_names[label]


def write_index(index: ImageIndex, path: str | Path) -> Path:
    """Write an index in one stroke, replacing what stood there, and give its path. InputError where it cannot be
    written.
    """
    arrays = _arrays_of(index)
    table, stop = {}, 0
    for name in sorted(arrays, key=lambda name: (-arrays[name].itemsize, name)):  # aligned without any padding
        start, stop = stop, stop + arrays[name].nbytes
        table[name] = {"dtype": _KINDS[name][1], "shape": arrays[name].shape, "data_offsets": (start, stop)}
    about = {"version": VERSION, **{name: getattr(index, name) for name in _TEXTS}, "class_names": index.class_names}
    metadata = {"format": "pt", "sha256": _NO_CHECKSUM, _KEY: json.dumps(about)}
    text = json.dumps({"__metadata__": metadata, **table}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER_BYTES:
        raise InputError(f"the header would have {len(text):,} bytes, over the limit of {MAX_HEADER_BYTES:,}")
    header = len(text).to_bytes(8, "little") + text
    digest = hashlib.sha256(header)
    for name in table:
        digest.update(_bytes_of(arrays[name]))
    begin, end = _find_checksum(header)
    path = Path(path)
    try:
        with writing_atomically(path) as file:
            file.write(header[:begin] + digest.hexdigest().encode() + header[end:])
            for name in table:
                file.write(_bytes_of(arrays[name]))
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}; write it elsewhere") from None
    return path


def load_index(path: str | Path) -> ImageIndex:
    """The index in a file, its features left there. ModelFileError for anything that is not whole and an index."""
    with open_weights(path) as file:
        header = read_header_bytes(file, path)
        parsed = parse_header(header, path)
        metadata = parsed.pop("__metadata__", None)
        if not isinstance(metadata, dict) or not isinstance(metadata.get(_KEY), str):
            raise ModelFileError(
                f"{path} is no index of images; make one: striate index SOURCE --model MODEL --out FILE"
            )
        try:
            about = _parse_about(metadata[_KEY])
            table = {name: parse_tensor(name, entry) for name, entry in parsed.items()}
            check_offsets(table, file.seek(0, 2) - len(header))
            _check_table(table)
            _check_bytes(file, header)
            arrays = {name: _array(path, len(header), name, info) for name, info in table.items()}
            names = _names(arrays["names"], arrays["name_stops"])
            _check_numbers(arrays, len(about["class_names"]))
        except ModelFileError as error:
            raise ModelFileError(f"{path} is no index that this version of striate can read: {error}") from error
        except OSError as error:
            raise ModelFileError(f"{path} cannot be read: {error.strerror or error}") from None
    fields = {field.name for field in dataclasses.fields(ImageIndex)}
    own: dict[str, Any] = {name: array for name, array in arrays.items() if name in fields and name != "names"}
    return ImageIndex(**about, names=names, **own)


def _arrays_of(index: ImageIndex) -> dict[str, np.ndarray]:
    """What the file holds beside its header, by name, contiguous and little-endian."""
    encoded = [name.encode("utf-8", "surrogateescape") for name in index.names]
    found: dict[str, Any] = {
        "features": index.features, "hashes": index.hashes, "labels": index.labels,
        "names": np.frombuffer(b"".join(encoded), np.uint8),
        "name_stops": np.cumsum([len(each) for each in encoded], dtype=np.int64),
        "centers": index.centers, "cell_stops": index.cell_stops,
    }  # fmt: skip
    return {
        name: np.ascontiguousarray(each, np.dtype(_KINDS[name][2])) for name, each in found.items() if each is not None
    }


def _bytes_of(array: np.ndarray) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _find_checksum(header: bytes) -> tuple[int, int]:
    """Where in the header the checksum stands. Quotes inside strings are escaped: no other place matches."""
    found = _CHECKSUM.search(header)
    if found is None:
        raise ModelFileError("the header holds no checksum")
    return found.span(1)


def _parse_about(text: str) -> dict[str, Any]:
    """The fields of an ImageIndex that are no arrays."""
    try:
        about = strict_json(text)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"its description is not JSON ({one_line(error)})") from None
    if not isinstance(about, dict) or type(about.get("version")) is not int:
        raise ModelFileError("its description has no version")
    if about.pop("version") != VERSION:
        raise ModelFileError(f"its format is not version {VERSION}, the only one this one reads; update striate")
    for key, kind in {**_TEXTS, "class_names": list}.items():
        if key not in about or not isinstance(about[key], kind):
            raise ModelFileError(f"its description has no {key}")
    if set(about) != {*_TEXTS, "class_names"}:
        raise ModelFileError("its description has other fields than an index")
    if about["metric"] not in METRICS or not _DIGEST.fullmatch(about["digest"]):
        raise ModelFileError(f"its metric is none of {', '.join(METRICS)}, or its digest no digest")
    if not all(isinstance(name, str) for name in about["class_names"]):
        raise ModelFileError("a class name is no string")
    if any("\0" in about[key] for key in ("source", "model")):
        raise ModelFileError("its source or model holds a NUL")
    return {**about, "class_names": tuple(about["class_names"])}


def _check_table(table: dict[str, TensorInfo]) -> None:
    """Names, types and shapes that fit each other, before anything is read."""
    needed = set(_KINDS) - set(_CELLS)
    if set(table) not in (needed, set(_KINDS)):
        raise ModelFileError(f"its tensors are not {', '.join(sorted(needed))}")
    if wrong := [name for name, info in table.items() if info.dtype != _KINDS[name][0]]:
        raise ModelFileError(f"its tensor {wrong[0]} is of another type than {_KINDS[wrong[0]][1]}")
    shapes = {name: info.shape for name, info in table.items()}
    if len(shapes["features"]) != 2:
        raise ModelFileError("its features are no rows")
    count, columns = shapes["features"]
    if not (count >= 1 and 1 <= columns <= MAX_FEATURES):
        raise ModelFileError(f"it has {count:,} images of {columns:,} features")
    expected = {"hashes": (count, HASH_BYTES), "labels": (count,), "name_stops": (count,)}
    cells = shapes.get("cell_stops", (1,))
    if (
        len(cells) != 1
        or not 1 <= cells[0] <= count
        or shapes.get("centers", (cells[0], columns)) != (cells[0], columns)
    ):
        raise ModelFileError("its cells do not fit its features")
    if len(shapes["names"]) != 1 or any(shapes[name] != shape for name, shape in expected.items()):
        raise ModelFileError("its tensors are not of as many images")


def _check_bytes(file: BufferedReader, header: bytes) -> None:
    """The checksum, in memory that does not grow with the file."""
    start, stop = _find_checksum(header)
    digest = hashlib.sha256(header[:start] + _NO_CHECKSUM.encode() + header[stop:])
    file.seek(len(header))
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    if digest.hexdigest().encode() != header[start:stop]:
        raise ModelFileError("it is damaged: its checksum does not match; make it again")


def _array(path: str | Path, offset: int, name: str, info: TensorInfo) -> np.ndarray:
    kind = np.dtype(_KINDS[name][2])
    if info.stop == info.start:
        return np.zeros(info.shape, kind)
    mapped = np.memmap(path, kind, "r", offset + info.start, info.shape)
    return mapped if name == "features" else np.array(mapped)


def _names(data: np.ndarray, stops: np.ndarray) -> tuple[str, ...]:
    """The images' names; stops must rise to the end of the bytes."""
    if (np.diff(stops, prepend=0) < 0).any() or stops[-1] != len(data):
        raise ModelFileError("its names do not end where they should")
    whole, starts = data.tobytes(), [0, *stops[:-1].tolist()]
    parts = zip(starts, stops.tolist(), strict=True)
    return tuple(whole[start:stop].decode("utf-8", "surrogateescape") for start, stop in parts)


def _check_numbers(arrays: dict[str, np.ndarray], num_classes: int) -> None:
    """Labels that are classes, cells that fill the rows, features that are numbers."""
    labels, features = arrays["labels"], arrays["features"]
    if labels.min() < -1 or labels.max() >= num_classes:
        raise ModelFileError(
            f"its labels run from {labels.min()} to {labels.max()} but there are {num_classes} classes"
        )
    if "cell_stops" in arrays:
        stops = arrays["cell_stops"]
        if (np.diff(stops, prepend=0) < 0).any() or stops[-1] != len(features):
            raise ModelFileError("its cells do not end where they should")
    step = max(1, _CHUNK // (4 * features.shape[1]))
    for rows in (features, arrays.get("centers", features[:1])):
        if not all(np.isfinite(rows[start : start + step]).all() for start in range(0, len(rows), step)):
            raise ModelFileError("its features are no finite numbers")
