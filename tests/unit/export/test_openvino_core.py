"""OpenVINO beside Ctrl-C: in a process of its own, since a failure is a segmentation fault."""

import subprocess
import sys

import pytest

from export_cases import catalogue_model
from striate.export.onnx_file import write_onnx

pytest.importorskip("openvino")

SCRIPT = """
import signal, sys, threading
from striate.engines.engine import EngineKind
from striate.engines.exported_engines import open_exported_engine

import numpy as np

kept = [open_exported_engine(sys.argv[1], EngineKind("openvino", "float32", "latency"))]
kept[0].run(np.zeros((1, 32, 32, 3), np.uint8))
letting_go = threading.Thread(target=kept.clear)
letting_go.start()
letting_go.join()
signal.signal(signal.SIGINT, lambda number, frame: print("caught"))
signal.raise_signal(signal.SIGINT)
"""


def test_ctrl_c_is_safe_after_another_thread_let_an_engine_go(tmp_path):
    path = tmp_path / "model.onnx"
    write_onnx(catalogue_model("resnet20_cifar", (32, 32), num_classes=4), path, resize=False)
    done = subprocess.run([sys.executable, "-c", SCRIPT, path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "caught\n"), done.stderr
