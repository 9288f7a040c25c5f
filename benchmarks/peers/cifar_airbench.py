"""CIFAR-10 by the recipe of airbench94 (Jordan 2024, arXiv:2404.00498), written plainly for a CPU: everything in
memory, bfloat16 autocast and channels last, as a careful user of PyTorch would run it.

python cifar_airbench.py FILE.npz TARGET SEED [EPOCHS]; prints seconds from the start of the process. Epochs (10) are
judged by single answers, the last one by six views an image as in the paper.
"""

import sys

import torch
from common import Clock, npz_images
from torch import nn
from torch.nn import functional as F

clock = Clock()
path, target, seed = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
num_epochs = int(sys.argv[4]) if len(sys.argv) > 4 else 10
torch.manual_seed(seed)
BATCH, MOMENTUM, LABEL_SMOOTHING, BIAS_FACTOR = 1024, 0.85, 0.2, 64
DECOUPLED = 1024 * (1 + 1 / (1 - MOMENTUM))
RATE, DECAY = 11.5 / DECOUPLED, 0.0153 * BATCH / DECOUPLED  # of the summed loss
WHITENING_EPOCHS = 3

means = torch.tensor([0.4914, 0.4822, 0.4465]).view(1, 3, 1, 1)
stds = torch.tensor([0.2470, 0.2435, 0.2616]).view(1, 3, 1, 1)


def in_memory(part: str) -> tuple[torch.Tensor, torch.Tensor]:
    images, labels = npz_images(path, part)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    return ((pixels - means) / stds).contiguous(memory_format=torch.channels_last), torch.from_numpy(labels)


def block(in_channels: int, width: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for number, channels in enumerate((in_channels, width)):
        conv = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        with torch.no_grad():
            nn.init.dirac_(conv.weight[:channels])
        norm = nn.BatchNorm2d(width, eps=1e-12, momentum=0.4)
        norm.weight.requires_grad_(False)
        layers += [conv, *[nn.MaxPool2d(2)] * (number == 0), norm, nn.GELU()]
    return layers


def build(images: torch.Tensor) -> nn.Sequential:
    whiten = nn.Conv2d(3, 24, 2)
    patches = images.unfold(2, 2, 1).unfold(3, 2, 1).permute(0, 2, 3, 1, 4, 5).reshape(-1, 12)
    values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
    filters = (vectors / (values + 5e-4).sqrt()).T.reshape(12, 3, 2, 2).flip(0)
    with torch.no_grad():
        whiten.weight.copy_(torch.cat([filters, -filters]))
        whiten.bias.zero_()
    whiten.weight.requires_grad_(False)
    head = nn.Linear(256, 10, bias=False)
    body = [*block(24, 64), *block(64, 256), *block(256, 256)]
    return nn.Sequential(whiten, nn.GELU(), *body, nn.MaxPool2d(3), nn.Flatten(), head)


def changed(images: torch.Tensor, epoch: int, first_mirrored: torch.Tensor) -> torch.Tensor:
    """Mirrored every other epoch, and moved by up to 2 pixels, what comes in being the reflection."""
    is_mirrored = (first_mirrored + epoch) % 2 == 1
    images = torch.where(is_mirrored.view(-1, 1, 1, 1), images.flip(3), images)
    padded, result = F.pad(images, (2, 2, 2, 2), "reflect"), torch.empty_like(images)
    moves = torch.randint(0, 5, (len(images), 2))
    for down in range(5):
        for right in range(5):
            own = (moves == torch.tensor([down, right])).all(1)
            result[own] = padded[own, :, down : down + 32, right : right + 32]
    return result


def answers(images: torch.Tensor, *, views: int) -> torch.Tensor:
    """Logits; six views are the image and two moved by a pixel, each mirrored too, the first counting half."""

    def both(part: torch.Tensor) -> torch.Tensor:
        return (model(part) + model(part.flip(3))) / 2

    parts = []
    for part in images.split(1000):
        part = part.contiguous(memory_format=torch.channels_last)
        if views == 1:
            parts.append(model(part))
        else:
            padded = F.pad(part, (1, 1, 1, 1), "reflect")
            moved = (both(padded[:, :, 0:32, 0:32]) + both(padded[:, :, 2:34, 2:34])) / 2
            parts.append((both(part) + moved) / 2)
    return torch.cat(parts)


train_images, train_labels = in_memory("train")
test_images, test_labels = in_memory("test")
first_mirrored = torch.randint(0, 2, (len(train_images),))
model = build(train_images[:5000]).to(memory_format=torch.channels_last)
biases = [p for name, p in model.named_parameters() if p.requires_grad and name.endswith("bias")]
others = [p for name, p in model.named_parameters() if p.requires_grad and not name.endswith("bias")]
groups = [
    {"params": biases, "lr": RATE * BIAS_FACTOR, "weight_decay": DECAY / (RATE * BIAS_FACTOR)},
    {"params": others, "lr": RATE, "weight_decay": DECAY / RATE},
]
optimizer = torch.optim.SGD(groups, momentum=MOMENTUM, nesterov=True, fused=True)
steps_per_epoch = len(train_images) // BATCH
num_steps = num_epochs * steps_per_epoch
peak = 0.23 * num_steps


def factor(step: int) -> float:
    return 0.2 + 0.8 * step / peak if step < peak else 1 - 0.93 * (step - peak) / (num_steps - peak)


schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
slow = {key: value.clone() for key, value in model.state_dict().items() if value.is_floating_point()}
step = 0
for epoch in range(num_epochs):
    model.train()
    model[0].bias.requires_grad_(epoch < WHITENING_EPOCHS)
    order = torch.randperm(len(train_images))
    for number in range(steps_per_epoch):
        indices = order[number * BATCH : (number + 1) * BATCH]
        images = changed(train_images[indices], epoch, first_mirrored[indices])
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(images) / 9
        loss = F.cross_entropy(logits.float(), train_labels[indices], label_smoothing=LABEL_SMOOTHING, reduction="sum")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        step += 1
        if step % 5 == 0:  # Lookahead, ever slower to follow
            decay = 0.95**5 * (step / num_steps) ** 3
            for key, value in model.state_dict().items():
                if key in slow:
                    slow[key].lerp_(value, 1 - decay)
                    value.copy_(slow[key])
    is_last = epoch == num_epochs - 1
    if is_last:
        model.load_state_dict({**model.state_dict(), **slow})
    model.eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        single = float((answers(test_images, views=1).argmax(1) == test_labels).float().mean())
        clock.log(epoch + 1, single, target)
        if is_last:
            six = float((answers(test_images, views=6).argmax(1) == test_labels).float().mean())
            clock.log(epoch + 1, six, target)
