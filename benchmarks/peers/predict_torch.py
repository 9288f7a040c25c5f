"""What a careful user of PyTorch writes to classify a folder: DataLoader, channels-last, inference mode, batches of 32.

python predict_torch.py NETWORK WEIGHTS FOLDER OUT NUM_WORKERS
"""

import csv
import sys
from pathlib import Path

import torch
import torchvision
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

network, weights, folder, out, num_workers = sys.argv[1:]


class Photos(Dataset):
    def __init__(self) -> None:
        self.paths = sorted(path for path in Path(folder).rglob("*") if path.is_file())
        self.prepare = v2.Compose(
            [
                v2.Resize(256, antialias=True),
                v2.CenterCrop(224),
                v2.PILToTensor(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
            ]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        with Image.open(self.paths[index]) as image:
            return self.prepare(image.convert("RGB"))


photos = Photos()
model = getattr(torchvision.models, network)(weights=None)
model.load_state_dict(torch.load(weights, weights_only=True))
model.eval().to(memory_format=torch.channels_last)
answers = []
with torch.inference_mode():
    for images in DataLoader(photos, batch_size=32, num_workers=int(num_workers)):
        probabilities = model(images.to(memory_format=torch.channels_last)).softmax(1)
        answers += zip(*(each.tolist() for each in probabilities.topk(5)), strict=True)
with Path(out).open("w", newline="") as file:
    for path, (values, classes) in zip(photos.paths, answers, strict=True):
        csv.writer(file).writerow([path, *classes, *values])
