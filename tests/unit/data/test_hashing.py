import dataclasses
import hashlib

import numpy as np

from striate.data.dataset import Dataset
from striate.data.hashing import fingerprint, hash_image, hash_images, pixel_fingerprint
from striate.data.packed import PackedImages
from striate.data.readers.access import ArrayImages, FileImages

PIXELS = np.arange(4 * 2 * 3, dtype=np.uint8).reshape(4, 2, 3)


def array_dataset(pixels: np.ndarray = PIXELS) -> Dataset:
    return Dataset(
        source="here",
        kind="npz",
        class_names=("a", "b"),
        images=ArrayImages((("train", pixels),)),
        labels=np.array([0, 1, 0, 1]),
        given_splits=np.array([0, 0, 0, 2], dtype=np.int8),
    )


def test_rows_are_blake2b_of_the_bytes(tmp_path):
    for name in "abc":
        (tmp_path / name).write_bytes(b"same" if name != "c" else b"other")
    dataset = dataclasses.replace(array_dataset(), images=FileImages(tmp_path, ["a", "b", "c", "absent"]))
    hashes = hash_images(dataset, num_workers=2)
    assert hashes.shape == (4, 16)
    assert hashes.dtype == np.uint8
    assert bytes(hashes[0]) == bytes(hashes[1]) == hashlib.blake2b(b"same", digest_size=16).digest()
    assert bytes(hashes[2]) == hashlib.blake2b(b"other", digest_size=16).digest()
    assert not hashes[3].any()


def test_pixels_count_with_their_shape():
    assert hash_image(np.zeros((2, 3, 1), np.uint8)) != hash_image(np.zeros((3, 2, 1), np.uint8))
    turned = np.asfortranarray(PIXELS[0][..., None])
    assert hash_image(turned) == hash_image(PIXELS[0][..., None])


def test_progress_is_shown():
    seen = []

    def track(items, what, total):
        seen.append((what, total))
        return items

    hash_images(array_dataset(), track=track)
    assert seen == [("reading images", 4)]


def test_the_number_of_threads_does_not_matter():
    dataset = array_dataset(np.random.default_rng(0).integers(0, 256, (4, 5, 5), dtype=np.uint8))
    np.testing.assert_array_equal(hash_images(dataset, num_workers=1), hash_images(dataset, num_workers=4))


def test_the_fingerprint_changes_with_each_part():
    dataset = array_dataset()
    hashes = hash_images(dataset)
    first = fingerprint(dataset, hashes)
    assert len(first) == 64
    renamed = dataclasses.replace(dataset, class_names=("a", "c"))
    relabelled = dataclasses.replace(dataset, labels=np.array([1, 1, 0, 1]))
    resplit = dataclasses.replace(dataset, given_splits=np.array([0, 0, 0, 0], dtype=np.int8))
    moved = dataclasses.replace(dataset, images=ArrayImages((("test", PIXELS),)))
    others = {fingerprint(changed, hashes) for changed in (renamed, relabelled, resplit, moved)}
    others.add(fingerprint(dataset, hashes[::-1]))
    assert len(others | {first}) == 6


def test_the_fingerprint_does_not_change_with_the_order_of_classes_or_where_the_source_lies():
    dataset = array_dataset()
    hashes = hash_images(dataset)
    swapped = dataclasses.replace(dataset, class_names=("b", "a"), labels=1 - dataset.labels, source="there")
    assert fingerprint(swapped, hashes) == fingerprint(dataset, hashes)


def test_the_pixels_fingerprint_changes_with_any_size_and_with_sampled_pixels():
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (4, 5, 3), np.uint8) for _ in range(70)]
    everything = np.arange(70)
    found = pixel_fingerprint(PackedImages.from_images(images), everything)
    assert len(found) == 32
    assert found == pixel_fingerprint(PackedImages.from_images([image.copy() for image in images]), everything)
    assert found != pixel_fingerprint(PackedImages.from_images(images), everything[:-1])
    changed = [*images[:-1], images[-1] ^ 1]
    assert found != pixel_fingerprint(PackedImages.from_images(changed), everything)
    turned = [images[0].reshape(5, 4, 3), *images[1:]]
    assert found != pixel_fingerprint(PackedImages.from_images(turned), everything)
