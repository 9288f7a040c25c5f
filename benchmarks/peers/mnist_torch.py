"""MNIST as PyTorch's own example trains it: two convolutions, dropout, Adadelta at 1 falling by 0.7 an epoch, batches
of 64.

python mnist_torch.py FOLDER_OF_IDX_FILES TARGET SEED; prints seconds from the start of the process.
"""

import sys

import torch
from common import Clock, idx_dataset
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

clock = Clock()
folder, target, seed = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
torch.manual_seed(seed)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 32, 3), nn.Conv2d(32, 64, 3)
        self.dropout1, self.dropout2 = nn.Dropout(0.25), nn.Dropout(0.5)
        self.fc1, self.fc2 = nn.Linear(9216, 128), nn.Linear(128, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = F.max_pool2d(F.relu(self.conv2(F.relu(self.conv1(images)))), 2)
        hidden = F.relu(self.fc1(self.dropout1(features).flatten(1)))
        return F.log_softmax(self.fc2(self.dropout2(hidden)), dim=1)


train = DataLoader(idx_dataset(folder, "train"), batch_size=64, shuffle=True)
test = DataLoader(idx_dataset(folder, "t10k"), batch_size=1000)
model = Net()
optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)
schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.7)
for epoch in range(1, 15):
    model.train()
    for images, labels in train:
        optimizer.zero_grad()
        F.nll_loss(model(images), labels).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        hits = sum(int((model(images).argmax(1) == labels).sum()) for images, labels in test)
    schedule.step()
    clock.log(epoch, hits / 10_000, target)
