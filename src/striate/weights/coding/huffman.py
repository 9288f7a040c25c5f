"""Huffman coding of symbols with canonical codes (Huffman 1952, doi:10.1109/JRPROC.1952.273898).

A code is made from a frequency table by writer and reader alike: lengths by merging the two rarest again and again, the
smaller number first where frequencies are equal; code words in the order of (length, symbol), counted up. Bits fill
bytes from the highest down.
"""

import heapq
from collections.abc import Sequence
from itertools import count

import numpy as np

from striate.errors import ModelFileError

_WINDOW = 12
"""Code words no longer than this are found by one look into a table."""


def code_lengths(table: np.ndarray) -> np.ndarray:
    """Frequencies (K,) -> bits of each symbol's code word (K,), 0 for a symbol of frequency 0, 1 where there is only
    one symbol.
    """
    lengths = np.zeros(len(table), dtype=np.int64)
    numbers = count()
    heap: list[tuple[int, int, tuple[int, ...]]] = []
    for symbol in np.flatnonzero(table).tolist():
        heap.append((int(table[symbol]), next(numbers), (symbol,)))
    heapq.heapify(heap)
    if len(heap) == 1:
        lengths[heap[0][2][0]] = 1
    while len(heap) > 1:
        first, second = heapq.heappop(heap), heapq.heappop(heap)
        merged = first[2] + second[2]
        lengths[list(merged)] += 1
        heapq.heappush(heap, (first[0] + second[0], next(numbers), merged))
    return lengths


def code_words(lengths: np.ndarray) -> np.ndarray:
    """The canonical code words (K,) of these lengths, as whole numbers of so many bits."""
    words = np.zeros(len(lengths), dtype=np.int64)
    word = last = 0
    for symbol in sorted(np.flatnonzero(lengths).tolist(), key=lambda each: (lengths[each], each)):
        word <<= int(lengths[symbol]) - last
        last = int(lengths[symbol])
        words[symbol] = word
        word += 1
    return words


def encode(symbols: np.ndarray, contexts: np.ndarray, tables: Sequence[np.ndarray]) -> bytes:
    """Symbols (n,), each in the code of `tables[contexts[i]]` -> bytes, the last one filled up with zeros. ValueError
    as in range_coder.
    """
    if not len(symbols):
        return b""
    all_lengths = [code_lengths(table) for table in tables]
    starts = np.cumsum([0, *(len(table) for table in tables)])[:-1]
    places = starts[contexts] + symbols
    lengths = np.concatenate(all_lengths)[places]
    words = np.concatenate([code_words(each) for each in all_lengths])[places]
    if lengths.min() == 0:
        raise ValueError("a symbol has the frequency 0 in its table")
    ends = np.cumsum(lengths)
    bits = np.zeros(int(ends[-1]), dtype=np.uint8)
    for bit in range(int(lengths.max())):  # the bit of worth 2**bit stands so far before the end of its word
        has_bit = lengths > bit
        bits[ends[has_bit] - 1 - bit] = (words[has_bit] >> bit) & 1
    return np.packbits(bits).tobytes()


def decode(data: bytes, contexts: np.ndarray, tables: Sequence[np.ndarray]) -> np.ndarray:
    """The symbols (n,) int64 that `encode` made `data` of. ModelFileError where the bytes are not exactly theirs."""
    codes = [_Code(table) for table in tables]
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    padded = np.concatenate([bits, np.zeros(_WINDOW, np.uint8)]).astype(np.int64)
    windows = np.zeros(len(bits) + 1, dtype=np.int64)
    for bit in range(_WINDOW):
        windows = (windows << 1) | padded[bit : bit + len(windows)]
    seen = windows.tolist()
    symbols, place = [], 0
    for context in contexts.tolist():
        if place >= len(bits):
            raise ModelFileError("the coded weights are cut off")
        symbol, length = codes[context].find(seen[place], bits, place)
        symbols.append(symbol)
        place += length
    if place > len(bits) or len(bits) - place >= 8 or bits[place:].any():
        raise ModelFileError("the coded weights are damaged: they do not end where they should")
    return np.array(symbols, dtype=np.int64)


class _Code:
    """One code made ready for reading."""

    def __init__(self, table: np.ndarray) -> None:
        lengths = code_lengths(table)
        words = code_words(lengths)
        self.symbol_of: list[int] = [-1] * (1 << _WINDOW)
        self.length_of: list[int] = [0] * (1 << _WINDOW)
        self.long: dict[tuple[int, int], int] = {}
        for symbol in np.flatnonzero(lengths).tolist():
            length, word = int(lengths[symbol]), int(words[symbol])
            if length > _WINDOW:
                self.long[length, word] = symbol
                continue
            start, num = word << (_WINDOW - length), 1 << (_WINDOW - length)
            self.symbol_of[start : start + num] = [symbol] * num
            self.length_of[start : start + num] = [length] * num

    def find(self, window: int, bits: np.ndarray, place: int) -> tuple[int, int]:
        """The symbol whose word stands at `place`, and how many bits it has."""
        if self.symbol_of[window] >= 0:
            return self.symbol_of[window], self.length_of[window]
        word = 0
        for length, bit in enumerate(bits[place : place + 64].tolist(), start=1):
            word = (word << 1) | bit
            if (length, word) in self.long:
                return self.long[length, word], length
        raise ModelFileError("the coded weights are damaged: no code word stands there")
