"""A frozen SqueezeNet with a new head, as PyTorch's transfer tutorial trains one (its transforms, SGD at 0.001, a tenth
after every 7 epochs), in batches of 8 as its tutorial on torchvision's models has it; the best epoch on the validation
images counts.

python transfer_torch.py FOLDER WEIGHTS EPOCHS SEED NUM_WORKERS; FOLDER has train and val.
"""

import json
import sys
from pathlib import Path

import torch
from common import Clock
from torch import nn
from torch.utils.data import DataLoader
from torchvision import datasets, models, transforms

clock = Clock()
folder, weights, epochs, seed, num_workers = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
torch.manual_seed(seed)
normalize = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
prepare = {
    "train": transforms.Compose(
        [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), transforms.ToTensor(), normalize]
    ),
    "val": transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(), normalize]),
}
sets = {part: datasets.ImageFolder(Path(folder, part), each) for part, each in prepare.items()}
loaders = {
    part: DataLoader(each, batch_size=8, shuffle=part == "train", num_workers=num_workers)
    for part, each in sets.items()
}
model = models.squeezenet1_0(weights=None)
model.load_state_dict(torch.load(weights, weights_only=True))
for param in model.parameters():
    param.requires_grad = False
num_classes = len(sets["train"].classes)
model.classifier[1] = nn.Conv2d(512, num_classes, kernel_size=1)
optimizer = torch.optim.SGD(model.classifier[1].parameters(), lr=0.001, momentum=0.9)
schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=7, gamma=0.1)
best = 0.0
for _ in range(epochs):
    for part, loader in loaders.items():
        model.train(part == "train")
        hits = 0
        for images, labels in loader:
            optimizer.zero_grad()
            with torch.set_grad_enabled(part == "train"):
                answer = model(images)
                loss = nn.functional.cross_entropy(answer, labels)
                if part == "train":
                    loss.backward()
                    optimizer.step()
            hits += int((answer.argmax(1) == labels).sum())
    schedule.step()
    best = max(best, hits / len(sets["val"]))
print(json.dumps({"accuracy": best, "seconds": clock.seconds()}))
