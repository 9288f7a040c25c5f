"""What engines keep in the cache, with parts of wrong types: told and ignored, or read as what it says; never another
error.
"""

import json
import random
from collections import Counter

import pytest

from damaged_json import TEXTS, with_another_part
from striate.data.preprocessing import Preprocessing
from striate.engines.engine import REFERENCE, EngineKind
from striate.engines.engine_cache import About, EngineCache, Measured
from striate.engines.measurement import Agreement, Row, Timing
from striate.engines.predicting import EngineRequest, _line_of, _pick
from striate.tasks.catalogue import make_task

NUM_TRIES = 300
AGREED = Agreement(10, 10, 1e-6, is_on_own_images=True)
ROWS = (
    Row(REFERENCE, 0.0, 0, (Timing(1, 2.0, 3), Timing(8, 9.0, 3)), AGREED, accuracy=0.5),
    Row(EngineKind("onnxruntime"), 0.5, None, (Timing(1, 1.0, 3),), AGREED),
    Row(EngineKind("openvino", "near-ties", "latency"), problem="there is no bfloat16 arithmetic here"),
)
REQUESTS = [EngineRequest(num_images=5), EngineRequest("torch"), EngineRequest("onnxruntime", "float32", 8)]
PREPROCESSING = Preprocessing(channels=3, resize_size=32, crop_size=(32, 32), mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))


@pytest.fixture
def measured(tmp_path):
    """A folder of measurements and the one file in it."""
    engine_cache = EngineCache(tmp_path)
    engine_cache.write_measured(Measured(ROWS, "photos"))
    (path,) = tmp_path.iterdir()
    return engine_cache, path


def use(engine_cache: EngineCache) -> str:
    """Read what is kept, and choose by it as `predict` does."""
    told: list[str] = []
    found = engine_cache.read_measured(log=told.append)
    assert all("\n" not in line and len(line) < 500 for line in told)
    if found is None:
        return "told" if told else "passed over"
    for request in REQUESTS:
        row = _pick(found, request, is_torch_there=True)
        if row is not None:
            _line_of(row, request)
    return "read"


def test_measurements_of_any_json(measured, seed):
    engine_cache, path = measured
    whole, draw = json.loads(path.read_text()), random.Random(seed)
    assert use(engine_cache) == "read"
    outcomes = Counter()
    for _ in range(NUM_TRIES):
        path.write_text(json.dumps(with_another_part(whole, draw)))
        outcomes[use(engine_cache)] += 1
    assert outcomes["told"] > NUM_TRIES / 4
    for text in TEXTS:
        path.write_text(text)
        assert use(engine_cache) != "read"


@pytest.mark.parametrize(
    ("name", "value"),
    [("open_s", "soon"), ("memory_bytes", 0.5), ("timings", {"batch_size": 1}), ("gap", True), ("problem", 3)],
)
def test_a_part_of_the_wrong_type_is_told(measured, name, value):
    engine_cache, path = measured
    document = json.loads(path.read_text())
    document["rows"][0][name] = value
    path.write_text(json.dumps(document))
    told: list[str] = []
    assert engine_cache.read_measured(log=told.append) is None
    assert "is damaged and was ignored" in told[0]
    assert "is expected where" in told[0]


def test_copies_of_any_json(tmp_path, seed):
    engine_cache, draw = EngineCache(tmp_path), random.Random(seed)
    engine_cache.onnx_path.write_bytes(b"copy")
    about = About("lenet5", PREPROCESSING, make_task("classification", ("cat", "dog")))
    engine_cache.write_about(about)
    assert engine_cache.read_about() == about
    path = tmp_path / "about.json"
    whole = json.loads(path.read_text())
    for _ in range(NUM_TRIES):
        path.write_text(json.dumps(with_another_part(whole, draw)))
        told: list[str] = []
        found = engine_cache.read_about(log=told.append)
        assert found is None or isinstance(found.network_name, str)
        assert all("\n" not in line for line in told)
    for text in TEXTS:
        path.write_text(text)
        assert engine_cache.read_about() is None
