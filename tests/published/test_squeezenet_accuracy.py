"""The real weights on real photos: network, file format, preprocessing and order of classes fit together."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from striate.weights.adapting import load_pretrained

NUM_PHOTOS = 50
"""Of 500, so that the test takes seconds. All 500 give 64.8 % top-1 and 84.0 % top-5, as the data's README says."""


def test_deep_compressed_squeezenet_on_imagenet_samples(shared_data: Path) -> None:
    folder = shared_data / "imagenet-samples"
    weights = shared_data / "squeezenet-v1.0-deep-compressed" / "compressed_SqueezeNet.net"
    loaded = load_pretrained("squeezenet1_0", weights)
    assert loaded.preprocessing is not None
    assert loaded.class_names is not None
    with (folder / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))[:: 500 // NUM_PHOTOS]
    labels = torch.tensor([int(row["index"]) for row in rows])
    photos = [next(folder.rglob(row["file"])) for row in rows]
    pixels = np.stack([loaded.preprocessing.to_pixels(np.asarray(Image.open(photo))) for photo in photos])
    images = loaded.preprocessing.normalize(torch.from_numpy(pixels).permute(0, 3, 1, 2))
    with torch.inference_mode():
        best = torch.cat([loaded.network.eval()(batch).topk(5).indices for batch in images.split(20)])
    num_right = (best[:, 0] == labels).sum().item(), (best == labels[:, None]).any(dim=1).sum().item()
    # rounding differs by machine and may turn one photo whose best classes are close
    assert num_right == pytest.approx((TOP1, TOP5), abs=1)
    assert loaded.class_names[labels[0]] in photos[0].name.replace("_", " ")


TOP1, TOP5 = 37, 42
"""Right answers, counted once with this network and these weights."""
