import dataclasses
import gzip
import hashlib
import http.server
import io
import os
import struct
import tarfile
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from striate.data.readers.cifar import holds_cifar, read_cifar_folder
from striate.data.readers.idx import holds_idx, read_idx_folder
from striate.data.readers.sources import open_source
from striate.data.readers.standard import STANDARD_SETS, Download, StandardSet, fetch
from striate.errors import DataError
from striate.registry import Registry


@pytest.fixture
def server() -> Iterator[tuple[str, dict[str, bytes]]]:
    """A server on this machine and the files it has, by name."""
    files: dict[str, bytes] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            name = self.path.removeprefix("/")
            self.send_response(200 if name in files else 404)
            self.end_headers()
            self.wfile.write(files.get(name, b""))

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}/", files
        listening.shutdown()
        thread.join()


def idx(array: np.ndarray) -> bytes:
    return gzip.compress(bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes())


def publish(server, name: str, data: bytes, members: tuple[str, ...] = ()) -> Download:
    url, files = server
    files[name] = data
    return Download(url + name, len(data), hashlib.md5(data).hexdigest(), members)


@pytest.fixture
def idx_set(server) -> StandardSet:
    downloads = []
    for part in ("train", "t10k"):
        downloads.append(publish(server, f"{part}-images-idx3-ubyte.gz", idx(np.zeros((3, 4, 4), np.uint8))))
        downloads.append(publish(server, f"{part}-labels-idx1-ubyte.gz", idx(np.array([0, 1, 1], np.uint8))))
    return StandardSet("tiny", "here", ("tiny", "Tiny/raw"), tuple(downloads), holds_idx, read_idx_folder)


@pytest.fixture
def archive_set(server) -> StandardSet:
    buffer = io.BytesIO()
    files = {
        "set/train.bin": bytes(3074),
        "set/test.bin": bytes(3074),
        "set/fine_label_names.txt": b"apple\n",
        "../evil.txt": b"out of the folder",
    }
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    members = tuple(name for name in files if name.startswith("set/"))
    download = publish(server, "set.tar.gz", buffer.getvalue(), members)
    return StandardSet("tiny", "here", ("tiny",), (download,), holds_cifar, read_cifar_folder)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("STRIATE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_nothing_is_fetched_unless_asked(idx_set, own_cache):
    message = (
        rf"^tiny is not in {own_cache}/tiny; name its folder with --data-dir, or fetch it \(0 MB\) with --download$"
    )
    with pytest.raises(DataError, match=message):
        open_source("tiny", standard_sets=Registry("data set", (idx_set,)))
    assert not own_cache.exists()


def test_a_set_is_fetched_once_and_told_with_its_size(idx_set, own_cache):
    told, tracked = [], []

    def track(items, what, total):
        tracked.append((what, total))
        return items

    sets = Registry("data set", (idx_set,))
    dataset = open_source("tiny", download=True, log=told.append, track=track, standard_sets=sets)
    assert len(dataset) == 6
    assert dataset.source == "tiny"
    assert told[0] == f"downloading {idx_set.downloads[0].url} (0.0 MB) to {own_cache / 'tiny'}"
    assert told[-1] == f"reading tiny from {own_cache / 'tiny'}"
    assert tracked[0] == ("downloading train-images-idx3-ubyte.gz", 1)
    assert len(os.listdir(own_cache / "tiny")) == 4
    told.clear()
    open_source("tiny", download=True, log=told.append, standard_sets=sets)
    assert told == [f"reading tiny from {own_cache / 'tiny'}"]
    assert len(open_source("tiny", standard_sets=sets)) == 6


def test_a_fetch_that_was_broken_off_goes_on(idx_set, own_cache):
    fetch(dataclasses.replace(idx_set, downloads=idx_set.downloads[:1]), own_cache / "tiny")
    told = []
    fetch(idx_set, own_cache / "tiny", log=told.append)
    assert len(told) == 3


def test_of_an_archive_only_the_members_are_unpacked(archive_set, own_cache, tmp_path):
    fetch(archive_set, own_cache / "tiny")
    assert sorted(os.listdir(own_cache / "tiny")) == ["fine_label_names.txt", "test.bin", "train.bin"]
    assert not list(tmp_path.rglob("evil.txt"))
    assert len(read_cifar_folder(own_cache / "tiny")) == 2


def test_another_file_is_refused_and_not_kept(idx_set, server, own_cache):
    _, files = server
    name = idx_set.downloads[0].file_name
    right = files[name]
    for wrong in (right[:-1] + b"!", right[:-1], right + b"!" * 100_000):
        files[name] = wrong
        with pytest.raises(
            DataError, match=r"should have \d+ bytes and MD5 [0-9a-f]{32} but has .*; nothing of it was kept$"
        ):
            fetch(idx_set, own_cache / "tiny")
        assert os.listdir(own_cache / "tiny") == []


def test_an_archive_without_its_members(archive_set, own_cache):
    (download,) = archive_set.downloads
    lacking = dataclasses.replace(archive_set, downloads=(dataclasses.replace(download, members=("set/other.bin",)),))
    with pytest.raises(DataError, match=r"the archive has no file set/other.bin$"):
        fetch(lacking, own_cache / "tiny")


def test_what_cannot_be_fetched(idx_set, server, own_cache, tmp_path):
    server[1].clear()
    advice = r"get it by hand and name its folder with --data-dir$"
    with pytest.raises(DataError, match=r"cannot be fetched to .*tiny: HTTP Error 404: Not Found; " + advice):
        fetch(idx_set, own_cache / "tiny")
    nowhere = dataclasses.replace(idx_set, downloads=(Download("http://127.0.0.1:1/x.gz", 1, "0"),))
    with pytest.raises(DataError, match=r"cannot be fetched to .*: .*refused.*; " + advice):
        fetch(nowhere, own_cache / "tiny")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match=r"cannot be fetched to .*file.*; " + advice):
        fetch(idx_set, tmp_path / "file" / "tiny")


@pytest.mark.parametrize("where", ["tiny", "Tiny/raw", "."])
def test_the_data_folder_comes_first(idx_set, tmp_path, where, own_cache):
    fetch(idx_set, tmp_path / "data" / where)
    told = []
    sets = Registry("data set", (idx_set,))
    dataset = open_source("tiny", data_dir=tmp_path / "data", download=True, log=told.append, standard_sets=sets)
    assert len(dataset) == 6
    assert told == [f"reading tiny from {tmp_path / 'data' / where}"]
    assert not own_cache.exists()


def test_the_data_folder_is_named_when_it_does_not_help(idx_set, tmp_path):
    with pytest.raises(DataError, match=rf"^tiny is not in {tmp_path} or {tmp_path}/cache/tiny; name its folder"):
        open_source("tiny", data_dir=tmp_path, standard_sets=Registry("data set", (idx_set,)))


def test_the_published_table():
    assert list(STANDARD_SETS) == ["mnist", "fashion-mnist", "cifar10", "cifar100"]
    for standard_set in STANDARD_SETS.values():
        assert all(len(download.md5) == 32 and download.size_bytes > 4000 for download in standard_set.downloads)
