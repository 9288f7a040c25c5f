"""The standard sets that can be asked for by name: what their files are called, where they are published, and how to
get them.

Nothing is fetched unless the caller says so. A file is used only when its length and checksum are those of the table.
"""

import hashlib
import http.client
import tarfile
import tempfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from striate.data.cache import write_atomically, writing_atomically
from striate.data.dataset import Dataset
from striate.data.readers.cifar import holds_cifar, read_cifar_folder
from striate.data.readers.idx import holds_idx, read_idx_folder
from striate.errors import DataError
from striate.progress import Log, Track, log_nothing, track_silently
from striate.registry import Registry

_CHUNK_BYTES = 1 << 16
_TIMEOUT_S = 60


@dataclass(frozen=True)
class Download:
    """A published file; `md5` is what its publishers print. Of an archive only `members` are unpacked, side by side."""

    url: str
    size_bytes: int
    md5: str
    members: tuple[str, ...] = ()

    @property
    def file_name(self) -> str:
        return self.url.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class StandardSet:
    """A data set known by name. `folders` are where other tools put it below their data folder, the likeliest first."""

    name: str
    source: str
    folders: tuple[str, ...]
    downloads: tuple[Download, ...]
    holds: Callable[[Path], bool]
    read: Callable[[Path], Dataset]


def fetch(standard_set: StandardSet, folder: Path, *, log: Log = log_nothing, track: Track = track_silently) -> None:
    """Put the files of a standard set into `folder`, checked; files that are there already are left alone.

    Raises DataError when a file cannot be had, stored, or is not the published one; then nothing of that file is left.
    """
    for download in standard_set.downloads:
        names = download.members or (download.file_name,)
        if all((folder / Path(name).name).is_file() for name in names):
            continue
        log(f"downloading {download.url} ({download.size_bytes / 1e6:.1f} MB) to {folder}")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _fetch_file(download, folder, track)
        except (OSError, http.client.HTTPException, tarfile.TarError, EOFError, zlib.error) as error:
            if isinstance(error, urllib.error.HTTPError):
                error.close()  # it holds the connection
            raise DataError(
                f"{download.url} cannot be fetched to {folder}: {error}; get it by hand and name its folder "
                "with --data-dir"
            ) from error


def _fetch_file(download: Download, folder: Path, track: Track) -> None:
    """One file, or the members of one archive, put in place when whole and right."""
    if not download.members:
        with writing_atomically(folder / download.file_name) as file:
            _download_into(file, download, track)
        return
    with tempfile.TemporaryFile(dir=folder) as archive:
        _download_into(archive, download, track)
        archive.seek(0)
        _unpack(archive, download.members, folder)


def _download_into(file: IO[bytes], download: Download, track: Track) -> None:
    """Write the published file; DataError when what comes is another."""
    digest = hashlib.md5(usedforsecurity=False)
    num_chunks = -(-download.size_bytes // _CHUNK_BYTES)
    for chunk in track(_chunks(download), f"downloading {download.file_name}", num_chunks):
        digest.update(chunk)
        file.write(chunk)
    if (file.tell(), digest.hexdigest()) != (download.size_bytes, download.md5):
        raise DataError(
            f"{download.url} should have {download.size_bytes} bytes and MD5 {download.md5} "
            f"but has {file.tell()} and {digest.hexdigest()}; nothing of it was kept"
        )


def _chunks(download: Download) -> Iterator[bytes]:
    """The bytes of the published file; never more than one chunk beyond its published length."""
    request = urllib.request.Request(download.url, headers={"User-Agent": "striate"})
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:
        left = download.size_bytes
        while left >= 0 and (chunk := response.read(_CHUNK_BYTES)):
            left -= len(chunk)
            yield chunk


def _unpack(archive: IO[bytes], members: tuple[str, ...], folder: Path) -> None:
    """Write the named members, and no others, directly into `folder`."""
    with tarfile.open(fileobj=archive, mode="r:gz") as file:
        for name in members:
            try:
                member = file.extractfile(name)
            except KeyError:
                member = None
            if member is None:
                raise DataError(f"the archive has no file {name}")
            with member:
                write_atomically(folder / Path(name).name, member.read())


FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
DIGIT_CLASSES = tuple("0123456789")
_MNIST_URL = "https://ossci-datasets.s3.amazonaws.com/mnist/"
_FASHION_URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
_CIFAR_URL = "https://www.cs.toronto.edu/~kriz/"

STANDARD_SETS: Registry[StandardSet] = Registry(
    "data set",
    (
        StandardSet(
            name="mnist",
            source="yann.lecun.com/exdb/mnist",
            folders=("mnist", "MNIST/raw"),
            downloads=(
                Download(f"{_MNIST_URL}train-images-idx3-ubyte.gz", 9_912_422, "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
                Download(f"{_MNIST_URL}train-labels-idx1-ubyte.gz", 28_881, "d53e105ee54ea40749a09fcbcd1e9432"),
                Download(f"{_MNIST_URL}t10k-images-idx3-ubyte.gz", 1_648_877, "9fb629c4189551a2d022fa330f9573f3"),
                Download(f"{_MNIST_URL}t10k-labels-idx1-ubyte.gz", 4_542, "ec29112dd5afa0611ce80d1b7f02629c"),
            ),
            holds=holds_idx,
            read=partial(read_idx_folder, class_names=DIGIT_CLASSES),
        ),
        StandardSet(
            name="fashion-mnist",
            source="github.com/zalandoresearch/fashion-mnist",
            folders=("fashion-mnist", "FashionMNIST/raw"),
            downloads=(
                Download(f"{_FASHION_URL}train-images-idx3-ubyte.gz", 26_421_880, "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
                Download(f"{_FASHION_URL}train-labels-idx1-ubyte.gz", 29_515, "25c81989df183df01b3e8a0aad5dffbe"),
                Download(f"{_FASHION_URL}t10k-images-idx3-ubyte.gz", 4_422_102, "bef4ecab320f06d8554ea6380940ec79"),
                Download(f"{_FASHION_URL}t10k-labels-idx1-ubyte.gz", 5_148, "bb300cfdad3c16e7a12a480ee83cd310"),
            ),
            holds=holds_idx,
            read=partial(read_idx_folder, class_names=FASHION_CLASSES),
        ),
        StandardSet(
            name="cifar10",
            source="www.cs.toronto.edu/~kriz/cifar.html",
            folders=("cifar10", "cifar-10-batches-bin", "cifar-10-batches-py"),
            downloads=(
                Download(
                    f"{_CIFAR_URL}cifar-10-binary.tar.gz",
                    170_052_171,
                    "c32a1d4ab5d03f1284b67883e8d87530",
                    members=(
                        *(f"cifar-10-batches-bin/data_batch_{number}.bin" for number in range(1, 6)),
                        "cifar-10-batches-bin/test_batch.bin",
                        "cifar-10-batches-bin/batches.meta.txt",
                    ),
                ),
            ),
            holds=partial(holds_cifar, name="CIFAR-10"),
            read=partial(read_cifar_folder, name="CIFAR-10"),
        ),
        StandardSet(
            name="cifar100",
            source="www.cs.toronto.edu/~kriz/cifar.html",
            folders=("cifar100", "cifar-100-binary", "cifar-100-python"),
            downloads=(
                Download(
                    f"{_CIFAR_URL}cifar-100-binary.tar.gz",
                    168_513_733,
                    "03b5dce01913d631647c71ecec9e9cb8",
                    members=(
                        "cifar-100-binary/train.bin",
                        "cifar-100-binary/test.bin",
                        "cifar-100-binary/fine_label_names.txt",
                    ),
                ),
            ),
            holds=partial(holds_cifar, name="CIFAR-100"),
            read=partial(read_cifar_folder, name="CIFAR-100"),
        ),
    ),
)
