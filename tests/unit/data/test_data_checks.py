"""Near duplicates, flaws and shortcuts: planted in pictures whose answer is known, and in real photos."""

import csv
import io
import shutil

import numpy as np
import pytest
from PIL import Image, ImageOps

from striate.cli.data import look_at_data
from striate.data.checks.image_statistics import image_statistics, name_pattern
from striate.data.checks.near_duplicates import (
    ORIENTATIONS,
    NearPair,
    grouped,
    near_pairs,
    oriented,
    proposed_by_tables,
    transform,
    turned_pixels,
)
from striate.data.checks.shortcuts import find_shortcuts
from striate.data.decoding import image_facts
from striate.data.readers.sources import open_source
from striate.evaluation.data_checks import check_data
from striate.reports.data_page import data_page
from striate.tasks.intervals import wilson_interval

PLANTS = {
    "resized": lambda image: image.resize((image.width // 2, image.height // 2)),
    "encoded": lambda image: image,
    "turned": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "upside": lambda image: image.transpose(Image.Transpose.ROTATE_180),
    "mirrored": ImageOps.mirror,
    "bright": lambda image: Image.eval(image, lambda value: min(255, int(1.3 * value))),
    "dim": lambda image: Image.eval(image, lambda value: int(0.7 * value)),
}


def test_orientations_of_frequencies_are_those_of_the_pixels():
    greys = np.random.default_rng(0).integers(0, 256, (3, 32, 32), np.uint8)
    for orientation in ORIENTATIONS:
        expected = transform(turned_pixels(greys, orientation))
        assert np.allclose(oriented(transform(greys), orientation), expected, atol=0.5)


def test_tables_find_mirrored_hashes_among_many():
    frequencies = np.random.default_rng(1).normal(size=(20_000, 8, 8)).astype(np.float32)
    frequencies[-50:] = oriented(frequencies[:50], ((0, 1), True))
    frequencies[-50:, 7, 7] *= -1  # one bit differs
    found = {tuple(pair) for _, pairs in proposed_by_tables(frequencies) for pair in pairs.tolist()}
    assert {(place, 19_950 + place) for place in range(50)} <= found
    assert len(found) < 60


def test_pairs_join_to_groups():
    pairs = [NearPair(0, 4, 1.0), NearPair(2, 3, 1.0), NearPair(4, 7, 1.0)]
    assert grouped(pairs) == [[0, 4, 7], [2, 3]]


def test_blank_images_are_no_duplicates_of_each_other():
    assert near_pairs(np.zeros((5, 32, 32), np.uint8)) == []


def test_images_that_are_all_alike_are_no_duplicates(tmp_path):
    """scikit-learn's digits resemble each other; one of them encoded anew is found among them all the same."""
    checks = check_data(open_source("digits"))
    assert len(checks.near_duplicates) <= 2
    assert (checks.near_leaks, checks.shortcuts, checks.image_flaws) == ((), (), {})
    digits = open_source("digits")
    for number in range(60):
        Image.fromarray(digits.images.read(number)[..., 0]).resize((32, 32)).save(tmp_path / f"{number}.png")
    Image.open(tmp_path / "7.png").resize((40, 40)).save(tmp_path / "again.jpg", quality=90)
    (tmp_path / "labels.csv").write_text(
        "path,label\n" + "".join(f"{name},x\n" for name in (*(f"{n}.png" for n in range(60)), "again.jpg"))
    )
    found = check_data(open_source(str(tmp_path / "labels.csv"))).near_duplicates
    assert ("7.png", "again.jpg") in found
    assert len(found) <= 2  # of 8 x 8 pixels two sixes are nearly the same


@pytest.fixture(scope="module")
def planted(shared_data, tmp_path_factory):
    """60 photos, one copy of seven of them for each plant, in another split and class; {copy's name: original's
    name}.
    """
    folder = tmp_path_factory.mktemp("planted")
    files = sorted((shared_data / "flowers" / "train" / "tulips").glob("*.jpg"))[:60]
    (folder / "train" / "tulips").mkdir(parents=True)
    (folder / "test" / "other").mkdir(parents=True)
    (folder / "train" / "other").mkdir(parents=True)
    (folder / "test" / "tulips").mkdir(parents=True)
    planted = {}
    for number, file in enumerate(files):
        shutil.copy(file, folder / "train" / "tulips" / f"{number}.jpg")
    for place, (kind, change) in enumerate(PLANTS.items()):
        for number in range(7 * place, 7 * place + 7):
            with Image.open(files[number]) as image:
                change(image.convert("RGB")).save(folder / "test" / "other" / f"{kind}{number}.jpg", quality=50)
            planted[f"test/other/{kind}{number}.jpg"] = f"train/tulips/{number}.jpg"
    for name in ("train/other", "test/tulips"):
        shutil.copy(
            sorted((shared_data / "flowers" / "train" / "roses").glob("*.jpg"))[len(name)], folder / name / "x.jpg"
        )
    return folder, planted


def test_planted_duplicates_are_found_and_nothing_else(planted):
    folder, pairs = planted
    checks = check_data(open_source(str(folder)))
    found = {frozenset(group) for group in checks.near_duplicates}
    assert found == {frozenset(pair) for pair in pairs.items()}
    assert {frozenset(group) for group in checks.near_leaks} == found
    assert {frozenset(group) for group in checks.near_conflicts} == found


def test_crops_are_found_mostly(shared_data):
    files = sorted((shared_data / "flowers" / "val").glob("*/*.jpg"))[:60]
    rng = np.random.default_rng(0)
    greys, cut = [], []
    for file in files:
        data = file.read_bytes()
        with Image.open(io.BytesIO(data)) as opened:
            image = opened.convert("RGB")
        left, top = rng.random(2) * 0.1 * (image.width, image.height)
        part = image.crop((int(left), int(top), int(left + 0.9 * image.width), int(top + 0.9 * image.height)))
        greys.append(image_statistics(data, image, image_facts(data)).grey)
        cut.append(image_statistics(data, part, image_facts(data)).grey)
    found = {(pair.first, pair.second) for pair in near_pairs(np.stack(greys + cut))}
    assert sum((place, 60 + place) in found for place in range(60)) >= 42
    assert all(second - first == 60 for first, second in found)


def test_flaws_are_named(tmp_path):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (80, 100, 3), np.uint8)
    pictures = {
        f"good{number}": np.roll(noise, 7 * number, 1) ^ rng.integers(0, 255, (80, 100, 3), np.uint8)
        for number in range(24)
    }
    pictures |= {
        "blank": np.full((80, 100, 3), 120, np.uint8),
        "dark": (noise // 20).astype(np.uint8),
        "white": (255 - noise // 20).astype(np.uint8),
        "smooth": np.tile(np.linspace(0, 255, 100).astype(np.uint8)[None, :, None], (80, 1, 3)),
        "tiny": noise[:10, :12],
        "strip": np.concatenate([noise] * 5, axis=1)[:60],
        "grey": noise[..., 0],
    }
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    for number, (name, pixels) in enumerate(pictures.items()):
        Image.fromarray(pixels).save(tmp_path / "ab"[number % 2] / f"{name}.png")
    found = check_data(open_source(str(tmp_path))).image_flaws
    assert {kind: [name.split("/")[1].split(".")[0] for name in names] for kind, names in found.items()} == {
        "blank": ["blank"],
        "dark": ["dark"],
        "overexposed": ["white"],
        "blurred": ["smooth"],
        "tiny": ["tiny"],
        "oddly shaped": ["strip"],
        "other channels": ["grey"],
    }


def test_a_planted_shortcut_is_reported_and_a_clean_set_has_none(tmp_path):
    rng = np.random.default_rng(0)
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label"])
        for number in range(60):
            label = "cat" if number % 2 else "dog"
            pixels = rng.integers(0, 256, (40, 40, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"{number}.jpg", quality=90 if label == "cat" else 60)
            rows.writerow([f"{number}.jpg", label])
    found = {each.what: each for each in check_data(open_source(str(tmp_path / "labels.csv"))).shortcuts}
    assert found["JPEG quality"].accuracy == 1
    assert found["JPEG quality"].majority == 0.5
    assert set(found) <= {"JPEG quality", "bytes a pixel"}
    statistics = []
    for number in range(60):
        data = (tmp_path / f"{number}.jpg").read_bytes()
        with Image.open(io.BytesIO(data)) as image:
            statistics.append(image_statistics(data, image, image_facts(data)))
    shuffled = rng.permutation(np.arange(60) % 2)
    assert find_shortcuts(statistics, [f"{number}.jpg" for number in range(60)], shuffled, wilson_interval) == []


def test_patterns_of_names():
    assert name_pattern("train/cats/IMG_0012 (3).jpg") == "IMG_9 (9).jpg"


def test_the_page_is_self_contained_and_escapes_names(tmp_path):
    (tmp_path / "<b>x").mkdir()
    (tmp_path / "y").mkdir()
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8).repeat(2, 0).repeat(2, 1))
    image.save(tmp_path / "<b>x" / "one.png")
    image.resize((96, 96)).save(tmp_path / "y" / "two.png")
    dataset = open_source(str(tmp_path))
    page = data_page(check_data(dataset), dataset)
    assert "Near duplicates in several classes" in page
    assert page.count("data:image/jpeg;base64,") == 4  # in both sections
    assert "<b>x" not in page
    assert "http" not in page.replace("http-equiv", "")


def test_flawed_boxes_are_named_on_the_page_and_the_terminal(tmp_path, capsys):
    Image.new("RGB", (64, 48)).save(tmp_path / "a&b.png")
    table = tmp_path / "boxes.csv"
    table.write_text("path,label,x1,y1,x2,y2\na&b.png,cat,1,2,30,40\na&b.png,cat,100,100,120,120\n")
    dataset = open_source(str(table))
    checks = check_data(dataset)
    page = data_page(checks, dataset)
    assert "a&amp;b.png, object 2: outside its image, left out" in page
    assert "no flaws" not in page
    look_at_data(str(table))
    shown = capsys.readouterr().out
    assert "flawed boxes (1)\n  a&b.png, object 2: outside its image, left out" in shown
    assert "boxes.csv lists several objects of 1 of 1 images" in shown


def test_shortcuts_are_told_where_one_class_is_common_and_for_colours(tmp_path):
    """250 of 300 images are dogs, on green; cats on red: saved mistakes count, not points above the commonest class."""
    rng = np.random.default_rng(1)
    for number in range(300):
        name = "cat" if number % 6 == 0 else "dog"
        pixels = rng.integers(0, 100, (24, 24, 3), np.uint8)
        pixels[..., 0 if name == "cat" else 1] += 150
        (tmp_path / name).mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / name / f"{number}.png")
    found = {each.what: each for each in check_data(open_source(str(tmp_path))).shortcuts}
    assert found["mean colour"].accuracy == 1
    assert found["mean colour"].majority == pytest.approx(5 / 6)


def test_images_with_many_objects_have_no_class_of_their_own_to_conflict_or_be_told(tmp_path):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (64, 64, 3), np.uint8).repeat(2, 0).repeat(2, 1)
    Image.fromarray(image).save(tmp_path / "one.png")
    Image.fromarray(image).resize((96, 96)).save(tmp_path / "two.png")
    (tmp_path / "boxes.csv").write_text(
        "path,label,x1,y1,x2,y2\none.png,cat,1,1,90,90\none.png,dog,2,2,20,20\ntwo.png,dog,1,1,60,60\n"
    )
    checks = check_data(open_source(str(tmp_path / "boxes.csv")))
    assert checks.near_duplicates == (("one.png", "two.png"),)
    assert (checks.near_conflicts, checks.shortcuts, checks.imbalance) == ((), (), 1.0)
