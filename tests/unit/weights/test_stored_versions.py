"""Files of every version of the format, as they were stored once, still load and predict what they did.

stored/version-N.safetensors are networks `mlp` for images of 2 x 2: softmax regression, the same with a temperature, a
class and a box, and one whose two layers were replaced by factors. They are never written anew.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from striate.tasks.model import load_model
from striate.weights.model_file import VERSIONS

STORED = Path(__file__).parent / "stored"
PIXELS = 60 * np.arange(4, dtype=np.uint8).reshape(1, 2, 2, 1)
PREDICTED = {
    1: [0.5069565, 0.49304354],
    2: [0.50463784, 0.4953622],
    3: [0.50432813, 0.49567187, 0.0, 0.0, 0.0, 0.0238505],
    4: [0.49908185, 0.5009181],
}


@pytest.mark.parametrize("version", sorted(VERSIONS))
def test_a_stored_file_still_predicts_what_it_did(version: int) -> None:
    model = load_model(STORED / f"version-{version}.safetensors", device="cpu")
    assert model.class_names == ("ant", "bee")
    assert model.task.name == ("localization" if version == 3 else "classification")
    assert model.temperature == (1.5 if version == 2 else 1.0)
    assert bool(model.structure) == (version == 4)
    with torch.no_grad():
        assert np.asarray(model.run(PIXELS))[0].tolist() == pytest.approx(PREDICTED[version], abs=1e-5)
