"""The table of engines in narrow and wide terminals."""

import pytest

from striate.cli import bench as command
from striate.engines.benching import Bench
from striate.engines.engine import EngineKind
from striate.engines.measurement import Agreement, Row, Timing


@pytest.mark.parametrize(("width", "sizes"), [(80, (1, 8, 32)), (80, (1, 2, 4, 8, 16, 32, 64)), (180, (1, 8, 32))])
def test_a_terminal_of_any_width_shows_whole_words_and_figures(width, sizes, monkeypatch, capsys):
    kinds = [EngineKind("openvino", "bfloat16", "throughput"), EngineKind("onnxruntime", "float32", "")]
    rows = tuple(
        Row(
            kind,
            memory_bytes=1_234_000_000,
            timings=tuple(Timing(size, 0.0123 * size, 5) for size in sizes),
            agreement=Agreement(200, 200, 1.5e-7, True),
            accuracy=0.9876,
        )
        for kind in kinds
    )
    bench = Bench("squeezenet1_1", "photos", 200, sizes, rows, dict.fromkeys(sizes, kinds[1]))
    monkeypatch.setattr(command.out, "_width", width)
    command._show(bench)
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= width
    words = shown.split()
    for kind in kinds:
        assert str(kind) in shown
    assert words.count("81,301/s") == 2 * len(sizes), shown
    assert {"1,234", "98.76", "1.5e-07", "0.012", "*"} <= set(words)
