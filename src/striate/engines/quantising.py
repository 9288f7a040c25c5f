"""An exported copy in 8-bit integers, its ranges found on real images. Only ever used when asked for."""

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from striate.engines.engine import check_installed
from striate.engines.exported_engines import INPUT
from striate.errors import InputError

FEWEST_IMAGES = 8
MOST_IMAGES = 100
_CHUNK = 4


def write_int8(onnx_path: Path, int8_path: Path, pixels: np.ndarray) -> None:
    """Write the model at `onnx_path` with weights and activations of 8 bits, their ranges those met on `pixels`.

    Weights are quantised channel by channel, symmetrically; activations layer by layer, minimum to maximum over the
    images (N, H, W, C), of which up to MOST_IMAGES are used, evenly spread. The format is ONNX's QuantizeLinear and
    DequantizeLinear, which ONNX Runtime and OpenVINO both run in integers. InputError where onnxruntime or onnx is
    missing, or the model has no such form.
    """
    check_installed("onnxruntime")
    if len(pixels) < FEWEST_IMAGES:
        raise InputError(f"int8 needs at least {FEWEST_IMAGES} images to find its ranges on but got {len(pixels)}")
    try:
        from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ImportError as error:
        raise InputError(f"int8 needs {error.name}, which is missing; pip install 'striate[onnx]'") from None
    int8_path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=int8_path.parent, prefix=".int8-") as folder, _quiet():
        prepared, written = Path(folder) / "prepared.onnx", Path(folder) / "int8.onnx"
        try:
            quant_pre_process(str(onnx_path), str(prepared), skip_symbolic_shape=True)
            quantize_static(
                str(prepared),
                str(written),
                _reader(pixels),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
        except Exception as error:  # whatever it does not know of a network
            raise InputError(f"the model cannot be quantised: {' '.join(str(error).split())[:200]}") from error
        written.replace(int8_path)


def _reader(pixels: np.ndarray) -> Any:
    """The reader onnxruntime draws calibration batches from; a class of its own kind, which exists only once that is
    imported.
    """
    from onnxruntime.quantization import CalibrationDataReader

    chosen = np.linspace(0, len(pixels) - 1, min(len(pixels), MOST_IMAGES)).round().astype(np.int64)
    batches = iter([pixels[chosen[start : start + _CHUNK]] for start in range(0, len(chosen), _CHUNK)])

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # ONNX Runtime has no types
        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(batches, None)
            return None if batch is None else {INPUT: batch}

    return Reader()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No prints, warnings and log lines, of which these tools are full."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
