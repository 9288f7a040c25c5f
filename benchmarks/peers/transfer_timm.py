"""A SqueezeNet with real weights, trained by timm's own train.py: SGD, its schedule and its augmentation at their
defaults.

TIMM_TRAIN=PATH/train.py python transfer_timm.py FOLDER WEIGHTS EPOCHS SEED NUM_WORKERS; FOLDER has train and val.

timm has no SqueezeNet, so torchvision's is registered with it, and train.py, which has no flag for it, is given a
network whose body is frozen already. Three choices are made where the defaults are made for ImageNet: batches of 32, a
rate of 0.01 and one epoch of warm-up. The best epoch on the validation images counts.
"""

import json
import os
import runpy
import sys
import tempfile
from pathlib import Path

import torch
from common import Clock
from torch import nn
from torchvision import models

clock = Clock()
folder, weights, epochs, seed, num_workers = sys.argv[1:]
script = os.environ["TIMM_TRAIN"]
sys.path.insert(0, str(Path(script).parent))  # as `python train.py` has it

from timm.models import register_model  # noqa: E402


@register_model
def squeezenet1_0_frozen(num_classes: int = 1000, **_: object) -> nn.Module:
    """torchvision's SqueezeNet, its body from the file and frozen."""
    network = models.squeezenet1_0(num_classes=num_classes)
    real = torch.load(weights, weights_only=True)
    network.features.load_state_dict({name[9:]: each for name, each in real.items() if name.startswith("features.")})
    network.features.requires_grad_(False)
    network.pretrained_cfg = {"architecture": "squeezenet1_0_frozen", "input_size": (3, 224, 224)}
    return network


with tempfile.TemporaryDirectory() as output:
    sys.argv = [script, folder, "--model", "squeezenet1_0_frozen", "--val-split", "val"]
    sys.argv += ["--num-classes", str(len(list(Path(folder, "train").iterdir()))), "--epochs", epochs, "--seed", seed]
    sys.argv += ["--batch-size", "32", "--lr", "0.01", "--warmup-epochs", "1", "--workers", num_workers]
    sys.argv += ["--device", "cpu", "--output", output, "--experiment", "run"]
    runpy.run_path(script, run_name="__main__")
    seconds = clock.seconds()
    rows = [line.split(",") for line in Path(output, "run", "summary.csv").read_text().splitlines()]
best = max(float(row[rows[0].index("eval_top1")]) for row in rows[1:])
print(json.dumps({"accuracy": best / 100, "seconds": seconds}))
