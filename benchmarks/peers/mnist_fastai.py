"""MNIST as fastai's example trains it: images from folders, a ResNet-18 (no published weights: nothing is downloaded),
one-cycle at 0.01, batches of 256; one epoch, and another until the target is met.

python mnist_fastai.py FOLDER_OF_PNG TARGET SEED; the folder has training/ and testing/ with a folder for each digit, as
fastai's copy of MNIST has. Prints seconds from the start of the process.
"""

import sys

from common import Clock
from fastai.vision.all import ImageDataLoaders, PILImageBW, accuracy, resnet18, set_seed, vision_learner

clock = Clock()
folder, target, seed = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
set_seed(seed)
loaders = ImageDataLoaders.from_folder(folder, train="training", valid="testing", bs=256, img_cls=PILImageBW)
learner = vision_learner(loaders, resnet18, pretrained=False, n_in=1, metrics=accuracy)
for epoch in range(1, 9):
    with learner.no_bar(), learner.no_logging():
        learner.fit_one_cycle(1, 1e-2)
        reached = float(learner.validate()[1])
    clock.log(epoch, reached, target)
