"""Entropy coders: what goes in comes out, in as few bits as theory allows; Huffman's lengths by hand and beside another
implementation.
"""

import heapq

import numpy as np
import pytest

from striate.errors import ModelFileError
from striate.weights.coding import huffman, range_coder
from striate.weights.coding.frequencies import TOTAL, check_table, entropy_bits, quantize_frequencies
from striate.weights.coding.positions import describe_positions, gap_table, restore_mask

CODERS = (range_coder, huffman)


def drawn(seed: int, num: int) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Symbols from three tables, one of them with a single symbol."""
    rng = np.random.default_rng(seed)
    tables = [quantize_frequencies(np.array(counts)) for counts in ([5, 1, 0, 100], [7], rng.integers(1, 1000, 200))]
    contexts = rng.integers(0, 3, num)
    symbols = np.zeros(num, dtype=np.int64)
    for number, table in enumerate(tables):
        is_own = contexts == number
        symbols[is_own] = rng.choice(len(table), is_own.sum(), p=table / TOTAL)
    return symbols, contexts, tables


@pytest.mark.parametrize("coder", CODERS)
@pytest.mark.parametrize("num", [0, 1, 2, 7, 5000])
def test_symbols_come_back(coder, num):
    symbols, contexts, tables = drawn(num, num)
    data = coder.encode(symbols, contexts, tables)
    assert np.array_equal(coder.decode(data, contexts, tables), symbols)


def test_range_coder_comes_within_one_percent_of_the_entropy():
    symbols, contexts, tables = drawn(1, 60_000)
    bound = sum(entropy_bits(np.bincount(symbols[contexts == number])) for number in range(3)) / 8
    assert bound < len(range_coder.encode(symbols, contexts, tables)) < 1.01 * bound
    assert len(huffman.encode(symbols, contexts, tables)) > bound


@pytest.mark.parametrize("coder", CODERS)
def test_damaged_symbols_are_refused_or_are_others(coder):
    symbols, contexts, tables = drawn(2, 300)
    data = coder.encode(symbols, contexts, tables)
    rng = np.random.default_rng(0)
    num_refused = 0
    for _ in range(200):
        changed = bytearray(data)
        changed[rng.integers(len(data))] ^= 1 << rng.integers(8)
        try:
            assert len(coder.decode(bytes(changed), contexts, tables)) == len(symbols)
        except ModelFileError:
            num_refused += 1
    assert num_refused > 0
    for length in (0, 1, len(data) // 2, len(data) - 2):
        with pytest.raises(ModelFileError):
            coder.decode(data[:length], contexts, tables)
    with pytest.raises(ModelFileError):
        coder.decode(data + b"\0\0", contexts, tables)


def test_huffman_by_hand():
    """Frequencies 1/2, 1/4, 1/8, 1/8: words 0, 10, 110, 111."""
    table = np.array([2048, 1024, 512, 512])
    lengths = huffman.code_lengths(table)
    assert lengths.tolist() == [1, 2, 3, 3]
    assert huffman.code_words(lengths).tolist() == [0b0, 0b10, 0b110, 0b111]
    symbols = np.array([0, 1, 3, 2])
    data = huffman.encode(symbols, np.zeros(4, np.int64), [table])
    assert data == bytes([0b0_10_111_11, 0b0_0000000])  # the last word, 110, crosses into the second byte


def test_huffman_costs_what_the_textbook_algorithm_costs():
    """The cost of an optimal code is the sum of all merged weights, found here without any code."""
    rng = np.random.default_rng(3)
    for _ in range(30):
        table = quantize_frequencies(rng.integers(0, 50, 40) + np.eye(40, dtype=int)[0])
        heap = [int(n) for n in table if n]
        heapq.heapify(heap)
        cost = 0
        while len(heap) > 1:
            merged = heapq.heappop(heap) + heapq.heappop(heap)
            cost += merged
            heapq.heappush(heap, merged)
        lengths = huffman.code_lengths(table)
        assert int((table * lengths).sum()) == cost
        assert sum(2.0 ** -int(length) for length in lengths if length) == 1  # Kraft: no word is wasted


def test_tables_add_up_and_keep_every_symbol():
    rng = np.random.default_rng(4)
    for size in (1, 2, 255, 4096):
        counts = rng.integers(0, 1 + 10 ** rng.integers(1, 7), size)
        counts[0] = 1
        table = quantize_frequencies(counts)
        assert table.sum() == TOTAL
        assert np.array_equal(table > 0, counts > 0)
    with pytest.raises(ValueError, match="1 to 4096"):
        quantize_frequencies(np.zeros(3))
    with pytest.raises(ModelFileError, match="add up to 5"):
        check_table([2, 3], "w")
    with pytest.raises(ModelFileError, match="whole numbers"):
        check_table([-1, 4097], "w")


@pytest.mark.parametrize("use_levels", [False, True])
@pytest.mark.parametrize("density", [0.0, 0.002, 0.1, 0.9, 1.0])
def test_positions_come_back(density, use_levels):
    rng = np.random.default_rng(5)
    mask = rng.random((40, 100)) < density * (2 * rng.random(100) if 0 < density < 1 else 1)
    found = describe_positions(mask, use_levels=use_levels)
    assert np.array_equal(restore_mask(found.row_levels, found.column_levels, found.densities, found.gaps), mask)


def test_gaps_by_hand():
    """Zeros before each weight: 1 0 0 0 1 | 0 1 has gaps 0, 3, 1."""
    mask = np.array([[1, 0, 0, 0, 1, 0, 1]], dtype=bool)
    found = describe_positions(mask, use_levels=False)
    assert [gaps.tolist() for gaps in found.gaps] == [[0, 3, 1]]
    assert found.densities == (round(3 / 7 * 65536),)


def test_gap_table_is_geometric():
    table = gap_table(1 << 14) / TOTAL  # a quarter is filled
    expected = 0.25 * 0.75 ** np.arange(5)
    assert np.allclose(table[:5], expected, atol=2 / TOTAL)
