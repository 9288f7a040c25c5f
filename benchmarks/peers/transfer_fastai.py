"""A SqueezeNet with real weights, as fastai's documents have one tuned: `vision_learner` and `fine_tune` at its
defaults, images of 224 by random resized crops and fastai's usual augmentation.

python transfer_fastai.py FOLDER WEIGHTS EPOCHS SEED NUM_WORKERS; FOLDER has train and val.
"""

import json
import sys

import torch
from common import Clock
from fastai.vision.all import (
    ImageDataLoaders,
    Normalize,
    RandomResizedCrop,
    accuracy,
    aug_transforms,
    imagenet_stats,
    models,
    set_seed,
    vision_learner,
)

clock = Clock()
folder, weights, epochs, seed, num_workers = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
set_seed(seed)
loaders = ImageDataLoaders.from_folder(
    folder,
    train="train",
    valid="val",
    item_tfms=RandomResizedCrop(224, min_scale=0.35),
    batch_tfms=[*aug_transforms(), Normalize.from_stats(*imagenet_stats)],
    bs=64,
    num_workers=num_workers,
)
learner = vision_learner(loaders, models.squeezenet1_0, pretrained=False, normalize=False, metrics=accuracy)
real = torch.load(weights, weights_only=True)
body = {name.removeprefix("features."): value for name, value in real.items() if name.startswith("features.")}
learner.model[0][0].load_state_dict(body)
learner.freeze()  # as it is with weights of fastai's own
with learner.no_bar(), learner.no_logging():
    learner.fine_tune(epochs)
    accuracy_at_the_end = float(learner.validate()[1])
print(json.dumps({"accuracy": accuracy_at_the_end, "seconds": clock.seconds()}))
