"""Ultralytics' own way to classify a folder of photos, as its guide to predicting has it: one call, results as a
stream.

python predict_ultralytics.py CONFIGURATION FOLDER OUT BATCH_SIZE
"""

import csv
import sys
from pathlib import Path

from ultralytics import YOLO

configuration, folder, out, batch_size = sys.argv[1:]
model = YOLO(configuration, task="classify")
with Path(out).open("w", newline="") as file:
    for result in model.predict(f"{folder}/**/*.jpg", imgsz=224, batch=int(batch_size), stream=True, verbose=False):
        csv.writer(file).writerow([result.path, *result.probs.top5, *result.probs.top5conf.tolist()])
