"""What timm's inference.py does with a folder at its defaults (its loader, float32, top 5), without the parts for other
formats of answer: the script is not in the package.

python predict_timm.py NETWORK WEIGHTS FOLDER OUT NUM_WORKERS
"""

import csv
import sys
from pathlib import Path

import timm
import torch
from timm.data import create_dataset, create_loader, resolve_data_config

network, weights, folder, out, num_workers = sys.argv[1:]
model = timm.create_model(network, pretrained=False)
model.load_state_dict(torch.load(weights, weights_only=True))
model.eval()
config = resolve_data_config({}, model=model)
dataset = create_dataset(root=folder, name="", split="validation", class_map="")
loader = create_loader(
    dataset,
    batch_size=32,
    use_prefetcher=False,
    num_workers=int(num_workers),
    device=torch.device("cpu"),
    **config,
)
answers = []
with torch.inference_mode():
    for images, _ in loader:
        values, classes = model(images).softmax(-1).topk(5)
        answers += zip(values.tolist(), classes.tolist(), strict=True)
with Path(out).open("w", newline="") as file:
    for name, (values, classes) in zip(dataset.filenames(basename=True), answers, strict=True):
        csv.writer(file).writerow([name, *classes, *values])
