"""A network of somebody who has never heard of this project: functions, views, in-place activations and dropout."""

import torch
from torch import nn
from torch.nn import functional as F


class Net(nn.Module):
    """28 x 28 grey images to class scores, in the style of many a tutorial."""

    def __init__(self, num_classes=10):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 5)
        self.conv2 = nn.Conv2d(8, 16, 5)
        self.norm = nn.BatchNorm2d(16)
        self.act = nn.ReLU(inplace=True)
        self.fc1 = nn.Linear(256, 32)
        self.fc2 = nn.Linear(32, num_classes)

    def forward(self, x):
        x = self.act(F.max_pool2d(self.conv1(x), 2))
        x = F.relu(F.max_pool2d(self.norm(self.conv2(x)), 2), inplace=True)
        x = x.view(-1, 256)
        x = self.act(self.fc1(x))
        return self.fc2(F.dropout(x, 0.2, self.training))


def build(num_classes):
    """The same from a function."""
    return Net(num_classes)


def wide(num_classes, in_channels):
    """Any number of channels, any size."""
    return nn.Sequential(
        nn.Conv2d(in_channels, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, num_classes)
    )


def lazy(num_classes):
    """Without weights until it has seen an image."""
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(num_classes))


def segmenting(num_classes):
    """No classifier."""
    return nn.Conv2d(1, num_classes, 3)


def broken(num_classes):
    """Fails."""
    raise torch.cuda.OutOfMemoryError(f"no room for {num_classes}\nclasses")
