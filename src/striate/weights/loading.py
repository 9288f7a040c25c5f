"""Weights from elsewhere: published ones by name, and files recognised by what they hold. Nothing is ever executed.

A name is a request: published weights are fetched once, checked against their checksum and kept in the cache.
"""

import dataclasses
import hashlib
import http.client
import pickle
import tempfile
import urllib.error
import urllib.request
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from striate.data.cache import cache_dir, move_into_place
from striate.data.preprocessing import Preprocessing
from striate.errors import InputError, ModelFileError
from striate.networks.entry import Entry, Weights
from striate.networks.imagenet import imagenet_class_names
from striate.progress import Log, log_nothing
from striate.weights.compressed_file import is_compressed_file, read_compressed_file
from striate.weights.deep_compression_file import (
    CAFFE_PREPROCESSING,
    NETWORK,
    is_deep_compression_file,
    read_deep_compression_file,
)
from striate.weights.model_file import MODEL_FILE, is_model_file, read_model_file
from striate.weights.tensor_table import MAX_DIMENSIONS, open_weights, parse_header, read_header_bytes

_WRAPPERS = ("state_dict", "model_state_dict", "model")
_PREFIXES = ("module.", "_orig_mod.")  # DistributedDataParallel and torch.compile put these before every name
_CHUNK_BYTES = 1 << 20
_TIMEOUT_S = 60


@dataclass(frozen=True)
class LoadedWeights:
    """Weights by parameter name, on the CPU, and what is known of them; None where the file does not say.

    `class_names` are in the order of the outputs; `description` says where the weights come from, in a few words.
    """

    state: dict[str, Tensor]
    preprocessing: Preprocessing | None
    class_names: tuple[str, ...] | None
    description: str


def load_weights(entry: Entry, spec: str | Path, *, download: bool = True, log: Log = log_nothing) -> LoadedWeights:
    """The weights that `spec` names for a network: the name of published ones, or the path of a file or a run folder.

    Files may be a striate model, safetensors, a torch file without code, or SqueezeNet's deep-compressed file. A
    published name goes before a file of that name. With `download=False` published weights must be in the cache
    already. The state is as the file has it, but for the names of parameters that `entry.rename` brings up to date:
    `fit_weights` checks and adapts it. Raises InputError for what is neither a name nor a path, or cannot be fetched,
    and ModelFileError for files that are foreign, damaged or for another network.
    """
    loaded = _load(entry, spec, download=download, log=log)
    return dataclasses.replace(loaded, state=rename_params(entry, loaded.state))


def rename_params(entry: Entry, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state under the names that parameters have in `entry`'s network. ModelFileError where two become one."""
    if entry.rename is None:
        return dict(state)
    renamed: dict[str, Tensor] = {}
    for old, value in state.items():
        name = entry.rename(old)
        if name in renamed:
            raise ModelFileError(f"the weights hold {name} of {entry.name} twice, under an old name and the new one")
        renamed[name] = value
    return renamed


def _load(entry: Entry, spec: str | Path, *, download: bool, log: Log) -> LoadedWeights:
    """Read weights under the names that the file has."""
    published = {weights.name: weights for weights in entry.weights}
    if str(spec) in published:
        return _load_published(entry, published[str(spec)], download=download, log=log)
    path = Path(spec).expanduser()
    if (own := packaged_weights(entry, str(spec))) is not None:
        path = own
    if path.is_dir() and (path / MODEL_FILE).is_file():
        path = path / MODEL_FILE
    if not path.is_file():
        choices = f"{', '.join(published)} or a path" if published else "a path, for there are no published ones"
        if entry.family == "timm":
            choices = "the path of a file, for striate fetches none from timm's hub"
        raise InputError(f"{entry.name} has no weights {str(spec)!r}, nor is that a file; give {choices}")
    try:
        return _load_file(entry, path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}; check its permissions") from None


def packaged_weights(entry: Entry, name: str) -> Path | None:
    """The file of these weights in striate itself (docs/compression.md says how they were made); None where it has none
    of that name.
    """
    path = Path(__file__).parent / "packaged" / f"{entry.name}-{name}.striate"
    return path if name.isidentifier() and path.is_file() else None


def read_torch_file(path: str | Path) -> dict[str, Tensor]:
    """Tensors by name from a file of torch.save, unwrapped from {"state_dict": ...} and freed of "module." prefixes.

    Raises ModelFileError when the file is damaged or holds anything but tensors: code in it is never run.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols; what cannot be read raises anyway
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ModelFileError(
            f"{path} holds Python objects beside tensors, or is damaged, and code is never run; "
            "save network.state_dict() alone, best as safetensors"
        ) from None
    except Exception as error:  # torch.load raises many kinds for damaged files, OSError and KeyError among them
        raise ModelFileError(f"{path} cannot be read as a torch file: {_first_line(error)}") from None
    return _unwrap(content, path)


def _load_file(entry: Entry, path: Path) -> LoadedWeights:
    """The weights in one file, its kind told by its first bytes."""
    with path.open("rb") as file:
        head = file.read(128)
    if (is_compressed := is_compressed_file(path)) or is_model_file(path):
        model_file, state = read_compressed_file(path) if is_compressed else read_model_file(path)
        if model_file.network != entry.name:
            raise ModelFileError(f"{path} is a model of {model_file.network}, not of {entry.name}; choose that network")
        return LoadedWeights(state, model_file.preprocessing, model_file.class_names, f"the striate model {path}")
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= path.stat().st_size:
        return LoadedWeights(_read_safetensors(path), None, None, f"the safetensors file {path}")
    if head[:4] == b"PK\x03\x04" or head[:1] == b"\x80":
        return LoadedWeights(read_torch_file(path), None, None, f"the torch file {path}")
    if is_deep_compression_file(head):
        if entry.name != NETWORK:
            raise ModelFileError(f"{path} is a deep-compressed {NETWORK}, not a {entry.name}; choose that network")
        state = read_deep_compression_file(path)
        return LoadedWeights(state, CAFFE_PREPROCESSING, imagenet_class_names(), f"the deep-compressed file {path}")
    raise ModelFileError(
        f"{path} is no weights file that striate can read; give a striate model, safetensors, a torch file "
        "or the deep-compressed SqueezeNet"
    )


def _load_published(entry: Entry, weights: Weights, *, download: bool, log: Log) -> LoadedWeights:
    path = fetch_published(entry, weights, download=download, log=log)
    description = f"{entry.name}'s published weights {weights.name!r} ({weights.source})"
    return LoadedWeights(read_torch_file(path), weights.preprocessing, weights.class_names(), description)


def fetch_published(entry: Entry, weights: Weights, *, download: bool, log: Log = log_nothing) -> Path:
    """The published file, whole and verified: from striate's cache or torch's, else downloaded into striate's."""
    name = weights.url.rpartition("/")[2]
    path = cache_dir() / "weights" / name
    for place in (path, Path(torch.hub.get_dir()) / "checkpoints" / name):
        if place.is_file():
            if _sha256(place).startswith(weights.sha256_prefix):
                return place
            log(f"{place} does not have the checksum of {entry.name}'s weights {weights.name!r} and is passed over")
    size = f"{weights.size_bytes / 1e6:.1f} MB"
    if not download:
        raise InputError(
            f"{entry.name}'s weights {weights.name!r} ({size}) are not at {path}; allow the download (--download), "
            f"or fetch {weights.url} yourself and put it there"
        )
    log(f"downloading {entry.name}'s weights {weights.name!r}, {size}, from {weights.url} to {path}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _download(weights, path)
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it holds the connection
        raise InputError(
            f"{weights.url} could not be fetched: {_first_line(error)}; fetch it elsewhere and give its path"
        ) from None
    return path


def _download(weights: Weights, path: Path) -> None:
    """Fetch the file into its folder and rename it to `path` once its checksum is right; nothing is left otherwise."""
    limit = round(1.1 * weights.size_bytes) + _CHUNK_BYTES
    digest, num_bytes = hashlib.sha256(), 0
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp", delete=False) as file:
        temporary = Path(file.name)
        try:
            with urllib.request.urlopen(weights.url, timeout=_TIMEOUT_S) as response:
                while (chunk := response.read(_CHUNK_BYTES)) and num_bytes <= limit:
                    file.write(chunk)
                    digest.update(chunk)
                    num_bytes += len(chunk)
            file.flush()
            if not digest.hexdigest().startswith(weights.sha256_prefix):
                raise ModelFileError(
                    f"{weights.url} arrived with {num_bytes} bytes and the wrong checksum "
                    f"(SHA-256 {digest.hexdigest()[:8]}..., not {weights.sha256_prefix}...); try again"
                )
            move_into_place(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    with open_weights(path) as file:
        table = parse_header(read_header_bytes(file, path), path)
    for name, info in table.items():
        shape = info.get("shape") if isinstance(info, dict) else None
        if isinstance(shape, list) and len(shape) > MAX_DIMENSIONS:
            raise ModelFileError(f"{path}: the tensor {name!r} has {len(shape):,} dimensions, over the limit")
    try:
        return _unwrap(load_file(path), path)
    except (SafetensorError, ValueError, KeyError) as error:
        raise ModelFileError(f"{path} is a damaged safetensors file: {_first_line(error)}") from None


def _unwrap(content: Any, path: str | Path) -> dict[str, Tensor]:
    """The innermost table of tensors, without the prefixes that wrappers put before every name."""
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    if not isinstance(content, Mapping) or not content:
        raise ModelFileError(f"{path} holds no table of weights by name; save network.state_dict()")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor) or not _is_plain(value):
            raise ModelFileError(f"{path} holds {name!r}, which is not a plain tensor; save network.state_dict() alone")
    state = dict(content)
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def _is_plain(tensor: Tensor) -> bool:
    """Whether every number stands in memory: a stretched tensor of a few bytes may claim any size."""
    if tensor.layout != torch.strided or tensor.device.type == "meta":
        return False
    return tensor.untyped_storage().nbytes() >= tensor.numel() * tensor.element_size()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
