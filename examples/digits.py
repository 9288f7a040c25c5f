"""The main job from Python: train, judge and use a classifier of handwritten digits, as `striate demo` does."""

import json
from pathlib import Path

from PIL import Image

import striate
from striate.cli.console import log
from striate.cli.progress_display import LiveDisplay
from striate.data.opening import Access


def main() -> None:
    """Train a small network, predict a few test images written out as PNG files, and say where everything lies."""
    display = LiveDisplay()
    run = striate.train("digits", access=Access(log=log), observer=display)
    display.show_run(run)
    model = striate.load_model(run.path)
    for prediction in model.predict(write_test_images(run.path / "samples")).predictions:
        best, expected = prediction.classes[0], Path(prediction.path).stem.split("-")[1]
        print(f"{prediction.path}: expected {expected}, predicted {best.name} ({100 * best.probability:.1f} %)")


def write_test_images(folder: Path) -> list[Path]:
    """The first five held-out images as PNG files, each named after the digit it shows and its place in the set."""
    digits = striate.open_source("digits")
    place_of = {digits.images.name(place): place for place in range(len(digits))}
    folder.mkdir()
    paths = []
    for name in json.loads((folder.parent / "splits.json").read_text())["test"][:5]:
        place = place_of[name]
        path = folder / f"a-{digits.class_names[digits.labels[place]]}-{place}.png"
        Image.fromarray(digits.images.read(place)[..., 0]).save(path)
        paths.append(path)
    return paths


if __name__ == "__main__":
    main()
