"""The outside of a safetensors file, read with suspicion: the length, the JSON header and the table of tensors.

Every check of docs/model-file.md that needs neither striate's description nor the network stands here.
"""

import json
import math
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from striate.data.files import open_file
from striate.errors import ModelFileError

MAX_HEADER_BYTES = 16 * 2**20
MAX_DIMENSIONS = 16
"""Of a tensor's shape."""
_LARGEST = 2**63 - 1
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


@dataclass(frozen=True)
class TensorInfo:
    """Where one tensor lies: `start` and `stop` count bytes from the end of the header."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int
    stop: int


def open_weights(path: str | Path) -> BufferedReader:
    """The file, open for reading bytes; ModelFileError where it cannot be."""
    try:
        return open_file(path)
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:  # a NUL in the path
        raise ModelFileError(f"{str(path)!r} is no path: {error}") from None


def read_header_bytes(file: BufferedReader, path: str | Path) -> bytes:
    """Length and header together, the length checked against the limit first; ModelFileError for foreign files."""
    try:
        prefix = file.read(8)
        length = int.from_bytes(prefix, "little")
        if len(prefix) < 8 or length < 2:
            raise ModelFileError(f"{path} is not a model file: a safetensors header was expected at its beginning")
        if length > MAX_HEADER_BYTES and prefix.startswith((b"PK\x03\x04", b"\x80\x02")):  # a zip file or a pickle
            raise ModelFileError(f"{path} looks like a file of torch, not of striate; use it as NETWORK:{path}")
        if length > MAX_HEADER_BYTES:
            raise ModelFileError(
                f"{path} is not a model file: "
                f"its header would have {length} bytes, over the limit of {MAX_HEADER_BYTES}"
            )
        text = file.read(length)
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror}") from None
    if len(text) < length:
        raise ModelFileError(f"{path} is cut off: its header should have {length} bytes but has {len(text)}")
    return prefix + text


def parse_header(header: bytes, path: str | Path) -> dict[str, Any]:
    """The JSON object of the header; ModelFileError where it is none."""
    try:
        parsed = strict_json(header[8:].decode())
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise ModelFileError(f"{path} is not a model file: its header is not JSON ({one_line(error)})") from None
    if not isinstance(parsed, dict):
        raise ModelFileError(f"{path} is not a model file: its header is not a JSON object")
    return parsed


def strict_json(text: str) -> Any:
    """Parsed JSON; ValueError for keys that occur twice and for NaN or infinity."""

    def without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        if len(values) != len(pairs):
            raise ValueError("a key occurs twice")
        return values

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON number")

    return json.loads(text, object_pairs_hook=without_duplicates, parse_constant=refuse)


def parse_tensor(name: str, entry: Any) -> TensorInfo:
    """One entry of the table, its shape, type and place agreeing with each other; ModelFileError otherwise."""
    try:
        if set(entry) != {"dtype", "shape", "data_offsets"}:
            raise ValueError
        dtype, shape, (start, stop) = DTYPES[entry["dtype"]], tuple(entry["shape"]), entry["data_offsets"]
        if len(shape) > MAX_DIMENSIONS:
            raise ModelFileError(
                f"the tensor {name!r} has {len(shape):,} dimensions, over the limit of {MAX_DIMENSIONS}"
            )
        if not all(type(number) is int and 0 <= number <= _LARGEST for number in (*shape, start, stop)):
            raise ValueError
    except (KeyError, TypeError, ValueError):
        raise ModelFileError(f"the entry of the tensor {name!r} is not dtype, shape and data_offsets") from None
    if stop - start != math.prod(shape) * dtype.itemsize or start % dtype.itemsize:
        raise ModelFileError(f"the tensor {name!r} cannot lie at bytes {start} to {stop}")
    return TensorInfo(dtype, shape, start, stop)


def check_offsets(table: dict[str, TensorInfo], data_bytes: int) -> None:
    """The tensors must fill the rest of the file: no gap, no overlap, nothing behind them."""
    end = 0
    for name, info in sorted(table.items(), key=lambda item: (item[1].start, item[1].stop)):
        if info.start != end:
            raise ModelFileError(f"the tensor {name!r} starts at byte {info.start} but the one before it ends at {end}")
        end = info.stop
    if data_bytes < end:
        raise ModelFileError(f"it is cut off: its tensors should have {end} bytes but have {data_bytes}")
    if data_bytes > end:
        raise ModelFileError(f"{data_bytes - end} bytes follow its last tensor")


def tensor_bytes(tensor: Tensor) -> bytes:
    """The bytes of a contiguous tensor on the CPU, row-major."""
    return tensor.reshape(-1).view(torch.uint8).numpy().tobytes()


def tensor_from(data: bytearray, info: TensorInfo) -> Tensor:
    """The tensor that lies in `data` where the table says; it shares that memory."""
    count = math.prod(info.shape)
    if count == 0:
        return torch.empty(info.shape, dtype=info.dtype)
    return torch.frombuffer(data, dtype=info.dtype, count=count, offset=info.start).view(info.shape)


def one_line(error: BaseException) -> str:
    """An error's message on one line, shortened."""
    return " ".join(str(error).split())[:200]
