"""The identity of a MODEL on the command line, from its bytes and without torch, so that nothing stale is used."""

import hashlib
import re
from pathlib import Path
from typing import Any

from striate.version import __version__

_MODEL_FILE = "model.safetensors"  # networks.model_file.MODEL_FILE, which cannot be imported without torch
_CHECKSUM = re.compile(rb'"sha256":"([0-9a-f]{64})"')
_MAX_HEADER_BYTES = 16 * 2**20
_CHUNK_BYTES = 1 << 20
_COMPRESSED = b"\x89striat"  # weights.compressed_file.MAGIC without the version, which cannot be imported without torch


def model_key(ref: str | Path) -> str | None:
    """64 hexadecimal digits that stand for a run folder, a model file or NETWORK:FILE; None where it is none of these.

    Every byte of the file is read. None also for a model file whose checksum does not hold: whoever loads it says why.
    The version of striate is part of it, as it may decide what a network of this name computes.
    """
    path = Path(ref)
    try:
        if path.is_dir():
            path = path / _MODEL_FILE
        if path.is_file():
            return _with_version("file", _checked_digest(path))
        network, _, weights = str(ref).partition(":")
        source = Path(weights).expanduser()
        if weights and source.is_file():  # a published name of the same spelling is then a key that is never found
            return _with_version(network, _digest(source))
    except (OSError, ValueError):
        return None
    return None


def _with_version(kind: str, digest: str | None) -> str | None:
    if digest is None:
        return None
    return hashlib.sha256(f"{__version__}\n{kind}\n{digest}".encode()).hexdigest()


def content_key(parts: dict[str, Any], state: list[tuple[str, bytes]]) -> str:
    """The same for a model in memory: of what describes it, as plain values, and of the bytes of its weights by
    name.
    """
    digest = hashlib.sha256(f"{__version__}\n{parts!r}\n".encode())
    for name, data in state:
        digest.update(f"{name}\n{len(data)}\n".encode())
        digest.update(data)
    return digest.hexdigest()


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _compressed_digest(prefix: bytes, rest: bytes) -> str | None:
    """The checksum of a compressed file (docs/compressed-file.md), once it is verified."""
    checksum = rest[:32]
    return checksum.hex() if hashlib.sha256(prefix + rest[32:]).digest() == checksum else None


def _checked_digest(path: Path) -> str | None:
    """The checksum in a model file's header, once it is verified (docs/model-file.md); None for any other file."""
    with path.open("rb") as file:
        prefix = file.read(8)
        if prefix[:7] == _COMPRESSED:
            return _compressed_digest(prefix, file.read())
        length = int.from_bytes(prefix, "little")
        if len(prefix) < 8 or not 2 <= length <= _MAX_HEADER_BYTES:
            return None
        header = prefix + file.read(length)
        found = _CHECKSUM.search(header)
        if found is None:
            return None
        start, stop = found.span(1)
        digest = hashlib.sha256(header[:start] + b"0" * 64 + header[stop:])
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    wanted = header[start:stop].decode()
    return wanted if digest.hexdigest() == wanted else None
