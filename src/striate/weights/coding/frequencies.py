"""Frequency tables of entropy coders: counts of symbols rounded to whole parts of 4096.

A table is an integer array (K,): the frequency of each of K symbols, adding up to TOTAL; a symbol of frequency 0 cannot
be coded.
"""

from collections.abc import Sequence

import numpy as np

from striate.errors import ModelFileError

PRECISION_BITS = 12
TOTAL = 1 << PRECISION_BITS


def quantize_frequencies(counts: np.ndarray) -> np.ndarray:
    """Counts (K,) of symbols -> a table (K,) int64: whole parts of TOTAL, at least 1 for every symbol that occurs.

    Integer arithmetic only, so that writer and reader agree on every machine. Symbols that never occur get 0.
    ValueError where more than TOTAL different symbols occur, or none.
    """
    counts = np.asarray(counts, dtype=np.int64)
    occurring = counts > 0
    if not 1 <= occurring.sum() <= TOTAL:
        raise ValueError(f"a table holds 1 to {TOTAL} different symbols, not {occurring.sum()}")
    table = np.where(occurring, np.maximum(1, counts * TOTAL // counts.sum()), 0)
    surplus = int(table.sum()) - TOTAL
    while surplus != 0:  # the largest frequencies take up the rounding, each in proportion to what it can bear
        order = np.argsort(-table, kind="stable")
        for index in order[: abs(surplus)]:
            if surplus > 0 and table[index] <= 1:
                break
            table[index] -= 1 if surplus > 0 else -1
        surplus = int(table.sum()) - TOTAL
    return table


def check_table(table: Sequence[int] | np.ndarray, what: str) -> np.ndarray:
    """The table (K,) int64 of a file, 1 <= K <= TOTAL, whole numbers >= 0 that add up to TOTAL; ModelFileError
    otherwise.
    """
    if not 1 <= len(table) <= TOTAL or not all(type(n) is int and 0 <= n <= TOTAL for n in table):
        raise ModelFileError(f"the frequencies of {what} are not 1 to {TOTAL} whole numbers from 0 to {TOTAL}")
    if sum(table) != TOTAL:
        raise ModelFileError(f"the frequencies of {what} add up to {sum(table)}, not {TOTAL}")
    return np.array(table, dtype=np.int64)


def entropy_bits(counts: np.ndarray) -> float:
    """The entropy of symbols with these counts times their number: no code of single symbols needs fewer bits (Shannon
    1948).
    """
    counts = np.asarray(counts, dtype=np.float64)
    counts = counts[counts > 0]
    total = counts.sum()
    return float(-(counts * np.log2(counts / total)).sum()) if len(counts) else 0.0
