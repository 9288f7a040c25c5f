"""Range coding of symbols by asymmetric numeral systems, many interleaved coders at once (Duda 2013, arXiv:1311.2540).

The variant is rANS with 32-bit states that are refilled 16 bits at a time: coding symbol s of frequency f and cumulated
frequency c turns the state x into (x // f) * TOTAL + c + x % f; decoding turns it back. Symbol i belongs to coder i % L
of L, so that a step handles L symbols with array arithmetic (Giesen 2014, arXiv:1402.3392). Each symbol may have a
table of its own.

Bytes: the L final states as uint32, then the 16-bit words in the order in which a reader wants them; all little-endian.
"""

from collections.abc import Sequence

import numpy as np

from striate.errors import ModelFileError
from striate.weights.coding.frequencies import PRECISION_BITS, TOTAL

MAX_LANES = 4096
SYMBOLS_PER_LANE = 2048
"""A coder costs three bytes or so, a step of all of them some microseconds: this many symbols each keep both small."""
_LOW = 1 << 16


def num_lanes(num_symbols: int) -> int:
    """How many interleaved coders there are for so many symbols: part of the format."""
    return max(1, min(MAX_LANES, num_symbols // SYMBOLS_PER_LANE))


def encode(symbols: np.ndarray, contexts: np.ndarray, tables: Sequence[np.ndarray]) -> bytes:
    """Symbols (n,), each coded with table `tables[contexts[i]]`, contexts (n,) -> bytes. ValueError for a symbol of
    frequency 0.
    """
    flat, starts = _flattened(tables)
    cumulated = np.concatenate([np.cumsum(table) - table for table in tables]) if tables else flat
    places = starts[contexts] + symbols
    frequencies, offsets = flat[places], cumulated[places]
    if len(frequencies) and frequencies.min() <= 0:
        raise ValueError("a symbol has the frequency 0 in its table")
    lanes = num_lanes(len(symbols))
    states = np.full(lanes, _LOW, dtype=np.int64)
    blocks = []
    for start in range((max(1, len(symbols)) - 1) // lanes * lanes, -1, -lanes):
        f, c = frequencies[start : start + lanes], offsets[start : start + lanes]
        x = states[: len(f)]
        is_full = x >= (f << (32 - PRECISION_BITS))
        blocks.append((x[is_full] & 0xFFFF).astype("<u2"))
        x = np.where(is_full, x >> 16, x)
        states[: len(f)] = (x // np.maximum(f, 1) << PRECISION_BITS) + c + x % np.maximum(f, 1)
    return states.astype("<u4").tobytes() + b"".join(block.tobytes() for block in reversed(blocks))


def decode(data: bytes, contexts: np.ndarray, tables: Sequence[np.ndarray]) -> np.ndarray:
    """The symbols (n,) int64 that `encode` made `data` of. ModelFileError where the bytes are not exactly theirs."""
    lanes, n = num_lanes(len(contexts)), len(contexts)
    if len(data) < 4 * lanes or len(data) % 2:
        raise ModelFileError(f"the coded weights have {len(data)} bytes, which hold no whole states and words")
    states = np.frombuffer(data, "<u4", count=lanes).astype(np.int64)
    words = np.frombuffer(data, "<u2", offset=4 * lanes).astype(np.int64)
    if (states < _LOW).any():
        raise ModelFileError("the coded weights are damaged: a state is out of range")
    lookup, frequency, rest = _slots(tables)
    bases = contexts.astype(np.int64) << PRECISION_BITS
    symbols, place = np.empty(n, dtype=np.int64), 0
    for start in range(0, n, lanes):
        base = bases[start : start + lanes]
        x = states[: len(base)]
        slots = base + (x & (TOTAL - 1))
        symbols[start : start + lanes] = lookup[slots]
        x = frequency[slots] * (x >> PRECISION_BITS) + rest[slots]
        is_low = np.flatnonzero(x < _LOW)
        refill = words[place : place + len(is_low)]
        if len(refill) < len(is_low):
            raise ModelFileError("the coded weights are cut off")
        x[is_low] = (x[is_low] << 16) | refill
        states[: len(base)] = x
        place += len(is_low)
    if place != len(words) or (states != _LOW).any():
        raise ModelFileError("the coded weights are damaged: they do not end where they should")
    return symbols


def _flattened(tables: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """All tables one after the other, and where each starts."""
    sizes = np.array([len(table) for table in tables], dtype=np.int64)
    flat = np.concatenate(tables) if tables else np.empty(0, np.int64)
    return flat, np.cumsum(sizes) - sizes


def _slots(tables: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each table and each of its TOTAL slots, in a row: the symbol, its frequency, and the slot minus its first
    one.
    """
    shape = (len(tables), TOTAL)
    lookup, frequency, rest = np.empty(shape, np.uint16), np.empty(shape, np.int32), np.empty(shape, np.int32)
    slots = np.arange(TOTAL)
    for row, table in enumerate(tables):
        symbols = np.repeat(np.arange(len(table)), table)
        lookup[row], frequency[row] = symbols, table[symbols]
        rest[row] = slots - (np.cumsum(table) - table)[symbols]
    return lookup.reshape(-1), frequency.reshape(-1), rest.reshape(-1)
