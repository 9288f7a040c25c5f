"""Fingerprints of the bytes of images: they find copies, name packed stores and tell whether a source has changed."""

import hashlib

import numpy as np

from striate.data.dataset import Dataset
from striate.data.packed import PreparedImages
from striate.data.parallel import map_in_order
from striate.progress import Track, track_silently

HASH_BYTES = 16
_SAMPLED = 64


def hash_images(dataset: Dataset, *, track: Track = track_silently, num_workers: int | None = None) -> np.ndarray:
    """(N, 16) uint8: BLAKE2b of each image's encoded bytes, or of its pixels and their shape.

    Equal rows are equal images. The row of a file that cannot be read is all zeros. Files are read in `num_workers`
    threads (as many as there are processors when None).
    """
    hashes = np.zeros((len(dataset), HASH_BYTES), dtype=np.uint8)
    rows = map_in_order(lambda index: _hash_row(dataset, index), range(len(dataset)), num_workers=num_workers)
    for index, row in enumerate(track(rows, "reading images", len(dataset))):
        hashes[index] = np.frombuffer(row, dtype=np.uint8)
    return hashes


def hash_image(data: bytes | np.ndarray) -> bytes:
    """The 16 bytes for one image, encoded or as pixels."""
    digest = hashlib.blake2b(digest_size=HASH_BYTES)
    if isinstance(data, np.ndarray):
        digest.update(repr(data.shape).encode())
        digest.update(np.ascontiguousarray(data).data)
    else:
        digest.update(data)
    return digest.digest()


def fingerprint(dataset: Dataset, hashes: np.ndarray) -> str:
    """64 hexadecimal digits that change with any image's name, bytes, class name, given split, box or mask, and nothing
    else.
    """
    digest = hashlib.sha256()
    rows = sorted(
        (dataset.images.name(i), dataset.class_names[dataset.labels[i]], int(dataset.given_splits[i]), bytes(hashes[i]))
        for i in range(len(dataset))
    )
    for name, class_name, split, row in rows:
        digest.update(f"{name}\0{class_name}\0{split}\0".encode())
        digest.update(row)
    if dataset.boxes is not None:
        for name, box in sorted((dataset.images.name(i), dataset.boxes[i].tolist()) for i in range(len(dataset))):
            digest.update(f"{name}\0{box}\0".encode())
    if (objects := dataset.objects) is not None:
        places = range(len(objects))
        listed = sorted((dataset.images.name(int(objects.images[k])), int(objects.numbers[k]), k) for k in places)
        digest.update(repr((objects.class_names, objects.are_fractions)).encode())
        for name, _, k in listed:
            digest.update(
                f"{name}\0{objects.labels[k]}\0{objects.boxes[k].tolist()}\0{objects.are_ignored[k]}\0".encode()
            )
    if dataset.masks is not None:
        digest.update(repr(dataset.class_names).encode())
        digest.update(dataset.masks.digest().encode())
    return digest.hexdigest()


def pixel_fingerprint(images: PreparedImages, indices: np.ndarray) -> str:
    """32 hexadecimal digits that change with the prepared pixels of these images: of all their sizes, and of the pixels
    of up to `_SAMPLED` images spread evenly, so that a collection of any size takes a moment. Broken images are left
    out.
    """
    usable = indices[images.usable[indices]]
    digest = hashlib.blake2b(digest_size=HASH_BYTES)
    digest.update(np.ascontiguousarray(images.shapes[usable], dtype="<i8").data)
    for place in np.unique(np.linspace(0, len(usable) - 1, min(_SAMPLED, len(usable))).astype(int)):
        digest.update(np.ascontiguousarray(images.image(int(usable[place]))).data)
    return digest.hexdigest()


def _hash_row(dataset: Dataset, index: int) -> bytes:
    try:
        return hash_image(dataset.images.read(index))
    except OSError:
        return bytes(HASH_BYTES)
