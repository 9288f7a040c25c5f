"""MNIST as a LightningModule: the network, optimiser and batches of PyTorch's own example, Lightning's Trainer at its
defaults.

python mnist_lightning.py FOLDER_OF_IDX_FILES TARGET SEED; prints seconds from the start of the process.
"""

import sys

import lightning
import torch
from common import Clock, idx_dataset
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

clock = Clock()
folder, target, seed = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
lightning.seed_everything(seed)


class Digits(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(
            *(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25)),
            *(nn.Flatten(), nn.Linear(9216, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10)),
        )
        self.hits = 0

    def training_step(self, batch, number):  # noqa: ARG002 - Lightning gives it
        images, labels = batch
        return F.cross_entropy(self.network(images), labels)

    def validation_step(self, batch, number):  # noqa: ARG002
        images, labels = batch
        self.hits += int((self.network(images).argmax(1) == labels).sum())

    def on_validation_epoch_end(self):
        if not self.trainer.sanity_checking:
            clock.log(self.current_epoch + 1, self.hits / 10_000, target)
        self.hits = 0

    def configure_optimizers(self):
        optimizer = torch.optim.Adadelta(self.parameters(), lr=1.0)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.7)]


trainer = lightning.Trainer(
    max_epochs=14, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
)
trainer.fit(
    Digits(), DataLoader(idx_dataset(folder, "train"), 64, shuffle=True), DataLoader(idx_dataset(folder, "t10k"), 1000)
)
