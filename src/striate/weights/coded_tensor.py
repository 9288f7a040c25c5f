"""One tensor of a compressed file: plain numbers, or places and values of its non-zero weights as symbols for an
entropy coder.

A weight is seen as a matrix of R rows (its first axis) and D columns (all others together). Four kinds:
`plain`: all numbers as they are. `sparse`: places as symbols, the N non-zero numbers as they are. `shared`: places, and
for each non-zero weight its index in a codebook of K numbers. `scaled`: as `shared`, and the value is multiplied by a
number of its row, as the rows of binary weights want. Numbers are stored in 16 bits where that is exact, else in 32.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from striate.errors import ModelFileError
from striate.weights.coding.frequencies import TOTAL, check_table, entropy_bits, quantize_frequencies
from striate.weights.coding.positions import (
    MAX_LEVEL,
    Positions,
    describe_positions,
    gap_table,
    num_groups,
    restore_mask,
)
from striate.weights.tensor_table import DTYPES, tensor_bytes

MAX_CODEBOOK = 1024
"""A tensor with more different numbers than this is not shared."""
MIN_CODED = 64
"""Smaller tensors are stored plain."""
_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_FLOATS = ("F32", "F16", "BF16")
_KINDS = {
    "plain": {"kind", "dtype"},
    "sparse": {"kind", "dtype", "levels", "densities", "gaps", "num_weights"},
    "shared": {"kind", "dtype", "levels", "densities", "gaps", "num_weights", "codebook", "frequencies"},
    "scaled": {"kind", "dtype", "levels", "densities", "gaps", "num_weights", "codebook", "frequencies"},
}
_INDEXED = ("shared", "scaled")


@dataclass(frozen=True, eq=False)
class CodedTensor:
    """A tensor of `shape` and `dtype` once read; `stored` is the type its plain bytes have. Of kinds with places:
    `levels` are the tables of the levels of rows and columns, None where all positions are one group; `gap_counts` says
    how many gap symbols each group has.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    stored: torch.dtype
    plain: bytes
    levels: tuple[np.ndarray, np.ndarray] | None = None
    densities: tuple[int, ...] = ()
    gap_counts: tuple[int, ...] = ()
    num_weights: int = 0
    codebook_size: int = 0
    frequencies: np.ndarray | None = None
    symbols: np.ndarray | None = None

    @property
    def matrix(self) -> tuple[int, int]:
        """Rows and columns."""
        rows = self.shape[0] if self.shape else 1
        return rows, int(np.prod(self.shape[1:], dtype=np.int64))

    @property
    def symbol_counts(self) -> tuple[int, ...]:
        """How many symbols are coded with each of its tables: levels of rows and of columns, gaps of each group,
        codebook indices.
        """
        level_counts = self.matrix if self.levels else ()
        value_counts = (self.num_weights,) if self.kind in _INDEXED else ()
        return (*level_counts, *self.gap_counts, *value_counts)

    @property
    def tables(self) -> list[np.ndarray]:
        """The tables of these symbols."""
        own = [] if self.frequencies is None else [self.frequencies]
        return [*(self.levels or ()), *(gap_table(density) for density in self.densities), *own]

    @property
    def num_tables(self) -> int:
        return len(self.symbol_counts)

    @property
    def num_symbols(self) -> int:
        return sum(self.symbol_counts)

    def to_json(self) -> dict[str, Any]:
        """Its entry in the header."""
        values: dict[str, Any] = {"kind": self.kind, "dtype": _NAMES[self.stored]}
        if self.kind != "plain":
            levels = None if self.levels is None else [table.tolist() for table in self.levels]
            values |= {"levels": levels, "densities": list(self.densities), "gaps": list(self.gap_counts)}
            values["num_weights"] = self.num_weights
        if self.kind in _INDEXED:
            assert self.frequencies is not None
            values |= {"codebook": self.codebook_size, "frequencies": self.frequencies.tolist()}
        return values


@dataclass(frozen=True, eq=False)
class Symbols:
    """All symbols of a file in their order (n,), the number of each one's table (n,), and the tables. `values` is empty
    when reading.
    """

    values: np.ndarray
    contexts: np.ndarray
    tables: Sequence[np.ndarray]


def encode_tensor(name: str, tensor: Tensor) -> CodedTensor:
    """The kind that takes the fewest bytes, exact but for the sign of zeros."""
    stored = _exact_type(tensor)
    plain = CodedTensor(name, "plain", tuple(tensor.shape), tensor.dtype, stored, tensor_bytes(tensor.to(stored)))
    if not tensor.is_floating_point() or tensor.ndim < 2 or tensor.numel() < MIN_CODED:
        return plain
    values = tensor.reshape(tensor.shape[0], -1).numpy()
    if not np.isfinite(values).all():
        return plain
    mask = values != 0
    scales = _row_scales(values)
    numbers_of = values if scales is None else np.round(values / scales[:, None])
    codebook, indices = np.unique(numbers_of[mask], return_inverse=True)
    size = 2 if stored != torch.float32 else 4
    best = min((_place(mask, use_levels=use) for use in (False, True)), key=lambda each: each[1])
    positions, place_bits = best
    counts = np.bincount(indices, minlength=len(codebook)) if len(codebook) <= MAX_CODEBOOK else None
    shared_bytes = np.inf
    if counts is not None and len(codebook):
        shared_bytes = (place_bits + entropy_bits(counts)) / 8 + len(codebook) * (size + 1) + 40
        shared_bytes += 0 if scales is None else size * len(scales)
    sparse_bytes = place_bits / 8 + len(indices) * size + 40
    if len(plain.plain) <= min(shared_bytes, sparse_bytes):
        return plain
    is_shared = shared_bytes < sparse_bytes
    kept = [values[mask]] if not is_shared else [codebook] if scales is None else [codebook, scales]
    stored = torch.float16 if is_shared and scales is not None else stored
    numbers = torch.from_numpy(np.concatenate(kept)).to(stored)
    has_levels = bool((positions.row_levels != 1).any() or (positions.column_levels != 1).any())
    levels = (positions.row_levels, positions.column_levels)
    return CodedTensor(
        name,
        "sparse" if not is_shared else "shared" if scales is None else "scaled",
        tuple(tensor.shape),
        tensor.dtype,
        stored,
        tensor_bytes(numbers) if len(numbers) else b"",
        levels=tuple(map(_level_table, levels)) if has_levels else None,  # type: ignore[arg-type]
        densities=positions.densities,
        gap_counts=tuple(map(len, positions.gaps)),
        num_weights=len(indices),
        codebook_size=len(codebook) if is_shared else 0,
        frequencies=quantize_frequencies(counts) if is_shared and counts is not None else None,
        symbols=np.concatenate([*(levels if has_levels else ()), *positions.gaps, *((indices,) if is_shared else ())]),
    )


def plan_symbols(tensors: Sequence[CodedTensor]) -> Symbols:
    """The symbols of all tensors in one row, and with which table each is coded."""
    counts = [count for each in tensors for count in each.symbol_counts]
    values = [each.symbols for each in tensors if each.symbols is not None]
    return Symbols(
        np.concatenate(values).astype(np.int64) if values else np.empty(0, np.int64),
        np.repeat(np.arange(len(counts)), counts),
        [table for each in tensors for table in each.tables],
    )


def parse_coded(name: str, info: Any, expected: Tensor, plain: bytes) -> CodedTensor:
    """The entry of one tensor in a header, with its plain bytes cut from the front of `plain`. ModelFileError unless it
    fits `expected`.
    """
    kind = info.get("kind") if isinstance(info, dict) else None
    if not isinstance(kind, str) or set(info) != _KINDS.get(kind):
        raise ModelFileError(f"the entry of {name} is none of this format")
    dtype = info["dtype"]
    allowed = _FLOATS if expected.is_floating_point() else (_NAMES[expected.dtype],)
    if dtype not in allowed:
        raise ModelFileError(f"{name} is {dtype!r} but one of {', '.join(allowed)} was expected")
    stored = DTYPES[dtype]
    shape = tuple(expected.shape)
    if kind == "plain":
        return CodedTensor(name, kind, shape, expected.dtype, stored, _cut(name, plain, expected.numel(), stored))
    if expected.ndim < 2 or not expected.is_floating_point():
        raise ModelFileError(f"{name} is no matrix of weights, so it must be stored plain")
    num_weights = _whole(name, info["num_weights"], expected.numel())
    densities = _all_whole(name, info["densities"], 2 * MAX_LEVEL, (1 << 16) - 1, least=1)
    gaps = _all_whole(name, info["gaps"], len(densities), 2 * expected.numel())
    if len(gaps) != len(densities) or sum(gaps) > 2 * expected.numel():
        raise ModelFileError(f"the gaps of {name} are more than its weights, or not one number a group")
    levels = None
    if info["levels"] is not None:
        if not isinstance(info["levels"], list) or len(info["levels"]) != 2:
            raise ModelFileError(f"the levels of {name} are not two tables")
        rows, columns = (check_table(table, name) for table in map(_as_list, info["levels"]))
        if max(len(rows), len(columns)) > MAX_LEVEL + 1:
            raise ModelFileError(f"{name} has more than {MAX_LEVEL + 1} levels")
        levels = (rows, columns)
    size, frequencies = num_weights, None
    if kind in _INDEXED:
        size = _whole(name, info["codebook"], TOTAL)
        frequencies = check_table(_as_list(info["frequencies"]), name)
        if len(frequencies) != size:
            raise ModelFileError(f"{name} has {size} shared values but {len(frequencies)} frequencies")
    return CodedTensor(
        name,
        kind,
        shape,
        expected.dtype,
        stored,
        _cut(name, plain, size + (shape[0] if kind == "scaled" else 0), stored),
        levels=levels,
        densities=densities,
        gap_counts=gaps,
        num_weights=num_weights,
        codebook_size=size if kind in _INDEXED else 0,
        frequencies=frequencies,
    )


def decode_tensor(coded: CodedTensor, symbols: np.ndarray) -> Tensor:
    """The tensor once its symbols are decoded. ModelFileError where they contradict each other."""
    numbers = torch.frombuffer(bytearray(coded.plain), dtype=coded.stored) if coded.plain else torch.empty(0)
    numbers = numbers.to(coded.dtype)
    if coded.kind == "plain":
        return numbers.reshape(coded.shape)
    parts = np.split(symbols, np.cumsum(coded.symbol_counts)[:-1])
    rows, columns = (np.ones(count, dtype=np.int64) for count in coded.matrix)
    if coded.levels:
        rows, columns, *parts = parts
    indices = parts.pop() if coded.kind in _INDEXED else None
    if num_groups(rows, columns) != len(coded.densities):
        raise ModelFileError(f"{coded.name} has other groups of positions than it says")
    mask = restore_mask(rows, columns, coded.densities, parts)
    if int(mask.sum()) != coded.num_weights:
        raise ModelFileError(f"{coded.name} has {int(mask.sum())} weights, not the {coded.num_weights} that it says")
    weights = torch.zeros(mask.shape, dtype=coded.dtype)
    weights[torch.from_numpy(mask)] = numbers if indices is None else numbers[torch.from_numpy(indices)]
    if coded.kind == "scaled":
        weights *= numbers[coded.codebook_size :, None]
    return weights.reshape(coded.shape)


def _place(mask: np.ndarray, *, use_levels: bool) -> tuple[Positions, float]:
    """The symbols of a mask, and about how many bits they and their tables take."""
    positions = describe_positions(mask, use_levels=use_levels)
    bits = sum(
        float(-np.log2(np.maximum(gap_table(density)[gaps], 1) / TOTAL).sum()) + 40
        for density, gaps in zip(positions.densities, positions.gaps, strict=True)
    )
    if use_levels:
        bits += sum(entropy_bits(np.bincount(each)) + 80 for each in (positions.row_levels, positions.column_levels))
    return positions, bits


def _row_scales(values: np.ndarray) -> np.ndarray | None:
    """Scales (R,) such that each row is whole numbers of 8 bits times its scale, exactly; 1 for a row of zeros. None
    where there are none.

    Binary rows have one magnitude; rows of 8 bits have 127 times their scale as the largest.
    """
    magnitudes = np.abs(values).max(axis=1)
    if len(np.unique(magnitudes)) <= 2:
        return None
    for most in (1, 127):
        scales = np.where(magnitudes > 0, magnitudes / np.float32(most), np.float32(1))
        wholes = np.round(values / scales[:, None])
        if np.array_equal(wholes * scales[:, None], values) and np.array_equal(scales, scales.astype(np.float16)):
            return scales
    return None


def _level_table(levels: np.ndarray) -> np.ndarray:
    return quantize_frequencies(np.bincount(levels, minlength=MAX_LEVEL + 1))


def _exact_type(tensor: Tensor) -> torch.dtype:
    """float16 where it holds every number of the tensor exactly, else its own type."""
    if tensor.dtype != torch.float32:
        return tensor.dtype
    halved = tensor.to(torch.float16)
    return torch.float16 if torch.equal(halved.to(torch.float32), tensor) else torch.float32


def _cut(name: str, plain: bytes, count: int, dtype: torch.dtype) -> bytes:
    num_bytes = count * dtype.itemsize
    if num_bytes > len(plain):
        raise ModelFileError(f"{name} needs {num_bytes} plain bytes but {len(plain)} are left")
    return plain[:num_bytes]


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _whole(name: str, value: Any, most: int, least: int = 0) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ModelFileError(f"a number of {name} is {value!r}, not one from {least} to {most}")
    return value


def _all_whole(name: str, values: Any, max_length: int, most: int, least: int = 0) -> tuple[int, ...]:
    if not isinstance(values, list) or len(values) > max_length:
        raise ModelFileError(f"{name} should have a list of at most {max_length} numbers")
    return tuple(_whole(name, value, most, least) for value in values)
