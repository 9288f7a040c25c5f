"""The one file that is a model: weights, network, class names, preprocessing and how it came to be.

The format is written down in docs/model-file.md: a safetensors file whose header holds one JSON document for striate
and a checksum of the whole file. Nothing is ever executed, and nothing is allocated before names, shapes and types fit
the network.
"""

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from striate.data.cache import write_atomically
from striate.data.preprocessing import Preprocessing
from striate.errors import InputError, ModelFileError, StriateError
from striate.networks.bounded_build import at_most_tensors
from striate.networks.catalogue import entry_for, names_network
from striate.networks.entry import Entry
from striate.networks.given import EXTERNAL, GivenConfig
from striate.weights.structure import Structure, restructure
from striate.weights.task_outputs import TASKS, fits_outputs
from striate.weights.tensor_table import (
    DTYPES,
    MAX_HEADER_BYTES,
    TensorInfo,
    check_offsets,
    one_line,
    open_weights,
    parse_header,
    parse_tensor,
    read_header_bytes,
    strict_json,
    tensor_bytes,
    tensor_from,
)

VERSIONS = (1, 2, 3, 4)
"""The second has a temperature, the third the settings of its task, which may be another than classification, the
fourth a structure. What an older one can hold is written as that, since older readers know it too.
"""
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.01, 100.0
MODEL_FILE = "model.safetensors"
"""The file's name in a run folder."""
MAX_CONFIG_NUMBER, MAX_CONFIG_PART = 1_000_000, 4096
"""No number in a network's configuration is larger, and none within a sequence of it (depths, widths).

A damaged one must not build a network of a billion layers."""

_SPARE_BYTES, _SPARE_TIMES = 64 << 20, 16

_DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_WEIGHT_DTYPES = (torch.float32, torch.float16, torch.bfloat16)
_NO_CHECKSUM = "0" * 64
_CHECKSUM = re.compile(rb'"sha256":"([0-9a-f]{64})"')


@dataclass(frozen=True)
class ModelFile:
    """Everything in a model file but the weights. K classes.

    `config` holds the fields of the network's configuration, `in_channels` and `num_classes` always among them;
    `class_names` are the K different names in the order of the outputs; `provenance` is any plain JSON (data, recipe,
    figures, versions); `temperature` is what logits are divided by before the softmax; `task_settings` are plain values
    that the task itself checks; `structure` says which layers are smaller than the configuration makes them
    (structure.py). Raises ModelFileError when the parts contradict each other or the catalogue.
    """

    network: str
    config: dict[str, Any]
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    task: str = "classification"
    provenance: dict[str, Any] = field(default_factory=dict)
    temperature: float = 1.0
    task_settings: dict[str, Any] = field(default_factory=dict)
    structure: Structure = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not MIN_TEMPERATURE <= self.temperature <= MAX_TEMPERATURE:
            raise ModelFileError(
                f"the temperature is {self.temperature!r}, not a number in [{MIN_TEMPERATURE:g}, {MAX_TEMPERATURE:g}]"
            )
        if self.task not in TASKS:
            raise ModelFileError(f"the task is {self.task!r} but this version of striate knows {', '.join(TASKS)}")
        usual = GivenConfig(1, 1) if self.network == EXTERNAL else _entry_of(self.network).config
        config = _restore_config(usual, self.config)
        if not fits_outputs(self.task, len(self.class_names), config.num_classes):
            raise ModelFileError(f"there are {len(self.class_names)} class names for {config.num_classes} outputs")
        if not all(isinstance(name, str) and name for name in self.class_names):
            raise ModelFileError("a class name is empty or not a string")
        if len(set(self.class_names)) != len(self.class_names):
            raise ModelFileError("a class name occurs twice")
        if self.preprocessing.channels != config.in_channels:
            raise ModelFileError(
                f"the preprocessing gives {self.preprocessing.channels} channels "
                f"but the network takes {config.in_channels}"
            )
        object.__setattr__(self, "config", dataclasses.asdict(config))  # complete, and equal however it was spelt

    def build_network(self, device: torch.device | str = "cpu", *, most_tensors: int | None = None) -> nn.Module:
        """The network with fresh weights, the global random state untouched. ModelFileError if it cannot be built.

        With `most_tensors`, how many a file holds, building is given up once the network has clearly more. One that was
        given from Python is in no file, and cannot be built.
        """
        if self.network == EXTERNAL:
            raise ModelFileError("its network was given from Python, and no file holds its code")
        entry = _entry_of(self.network)
        config = _restore_config(entry.config, self.config)
        bound = nullcontext() if most_tensors is None else at_most_tensors(most_tensors)
        try:
            with torch.random.fork_rng(devices=[]), torch.device(device), bound:
                network = entry.build(config)
                restructure(network, self.structure)
                return network
        except ModelFileError:
            raise
        except Exception as error:  # whatever a constructor makes of numbers from a damaged file
            raise ModelFileError(
                f"{self.network} cannot be built with {_shown(self.config)}: {one_line(error)}"
            ) from error


def write_model_file(path: str | Path, model_file: ModelFile, state: Mapping[str, Tensor]) -> None:
    """Write a model file in one stroke: the path holds either what it held before, or all of the new file.

    `state` is the network's state_dict. The bytes depend on the arguments alone. Raises ModelFileError when the state
    does not fit the network, OSError when the file cannot be written.
    """
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise ModelFileError(f"{name} is {type(value).__name__} and no tensor, which a model file cannot hold")
    tensors = {name: state[name].detach().cpu().contiguous() for name in sorted(state)}
    table: dict[str, TensorInfo] = {}
    stop = 0
    for name in sorted(tensors, key=lambda name: (-tensors[name].element_size(), name)):  # aligned without any padding
        tensor = tensors[name]
        if tensor.dtype not in _DTYPE_NAMES:
            raise ModelFileError(f"the tensor {name} is {tensor.dtype}, which a model file cannot hold")
        start, stop = stop, stop + tensor.numel() * tensor.element_size()
        table[name] = TensorInfo(tensor.dtype, tuple(tensor.shape), start, stop)
    if model_file.network != EXTERNAL:  # which the state has just come from
        _check_against_network(model_file, model_file.build_network(device="meta"), table)
    header = _encode_header(model_file, table)
    data = b"".join(tensor_bytes(tensors[name]) for name in table)
    digest = hashlib.sha256(header)
    digest.update(data)
    start, stop = _find_checksum(header)
    write_atomically(Path(path), b"".join((header[:start], digest.hexdigest().encode(), header[stop:], data)))


def read_header(path: str | Path) -> tuple[ModelFile, dict[str, TensorInfo]]:
    """Read a model file's description and tensor table, checked against the network; no weight is read.

    The checksum is left to `read_model_file`. Raises ModelFileError.
    """
    with open_weights(path) as file:
        _, model_file, table = _read_checked_header(file, path)
    return model_file, table


def read_model_file(path: str | Path, network: nn.Module | None = None) -> tuple[ModelFile, dict[str, Tensor]]:
    """A model file and its weights by name, on the CPU. ModelFileError for anything that is not whole and a model.

    `network` is the one that the weights must fit, for a file whose network was given from Python.
    """
    with open_weights(path) as file:
        header, model_file, table = _read_checked_header(file, path, network)
        data = bytearray(max((info.stop for info in table.values()), default=0))
        if file.readinto(data) != len(data):
            raise ModelFileError(f"{path} became shorter while it was read")
    start, stop = _find_checksum(header)
    digest = hashlib.sha256(header[:start] + _NO_CHECKSUM.encode() + header[stop:])
    digest.update(data)
    if digest.hexdigest().encode() != header[start:stop]:
        raise ModelFileError(f"{path} is damaged: its checksum does not match; get a fresh copy")
    return model_file, {name: tensor_from(data, info) for name, info in table.items()}


def is_model_file(path: str | Path) -> bool:
    """Whether a file is a safetensors file with striate's header (of any version, and perhaps damaged further on)."""
    try:
        with open_weights(path) as file:
            parsed = parse_header(read_header_bytes(file, path), path)
    except ModelFileError:
        return False
    metadata = parsed.get("__metadata__")
    return isinstance(metadata, dict) and "striate" in metadata


def _encode_header(model_file: ModelFile, table: dict[str, TensorInfo]) -> bytes:
    """Length and header of the file, the checksum still zeros, filled up with spaces to a multiple of eight bytes."""
    striate = encode_about(model_file)
    header: dict[str, Any] = {"__metadata__": {"format": "pt", "sha256": _NO_CHECKSUM, "striate": striate}}
    for name, info in table.items():
        header[name] = {"dtype": _DTYPE_NAMES[info.dtype], "shape": info.shape, "data_offsets": (info.start, info.stop)}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER_BYTES:
        raise ModelFileError(
            f"the header would have {len(text)} bytes, over the limit of {MAX_HEADER_BYTES}; shorten the provenance"
        )
    return len(text).to_bytes(8, "little") + text


def encode_about(model_file: ModelFile) -> str:
    """The JSON document of a model file: all of it but the weights. ModelFileError where the provenance is no plain
    JSON.
    """
    has_temperature = model_file.temperature != 1
    has_settings = model_file.task != "classification" or bool(model_file.task_settings)
    version = 4 if model_file.structure else 3 if has_settings else 2 if has_temperature else 1
    about = {
        "version": version,
        "task": model_file.task,
        "network": {"name": model_file.network, "config": model_file.config},
        "class_names": model_file.class_names,
        "preprocessing": model_file.preprocessing.to_json(),
        "provenance": model_file.provenance,
        **({"temperature": model_file.temperature} if version >= 2 else {}),
        **({"task_settings": model_file.task_settings} if version >= 3 else {}),
        **({"structure": model_file.structure} if version >= 4 else {}),
    }
    try:
        return json.dumps(about, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ModelFileError(f"the provenance of a model must be plain JSON: {error}") from None


def _find_checksum(header: bytes) -> tuple[int, int]:
    """Where in the header the checksum's 64 digits stand. Quotes inside strings are escaped: no other place matches."""
    found = _CHECKSUM.search(header)
    if found is None:
        raise ModelFileError("the header holds no checksum")
    return found.span(1)


def _read_checked_header(
    file: BufferedReader, path: str | Path, network: nn.Module | None = None
) -> tuple[bytes, ModelFile, dict[str, TensorInfo]]:
    """The bytes of length and header, and what they say, checked against the size of the file and the network."""
    header = read_header_bytes(file, path)
    parsed = parse_header(header, path)
    metadata = parsed.pop("__metadata__", None)
    if not isinstance(metadata, dict) or not isinstance(metadata.get("striate"), str):
        raise ModelFileError(f"{path} holds weights but not which network they are for; use it as NETWORK:{path}")
    try:
        model_file = parse_about(metadata["striate"])
        _find_checksum(header)
        data_bytes = file.seek(0, 2) - len(header)
        file.seek(len(header))
        table = {name: parse_tensor(name, entry) for name, entry in parsed.items()}
        check_offsets(table, data_bytes)
        if network is None and model_file.network != EXTERNAL:
            network = model_file.build_network(device="meta", most_tensors=len(table))
            _check_memory(network, data_bytes)
        if network is not None:
            _check_against_network(model_file, network, table)
    except StriateError as error:
        raise ModelFileError(f"{path} is not a model that this version of striate can read: {error}") from error
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror}") from None
    return header, model_file, table


def parse_about(text: str) -> ModelFile:
    """The ModelFile of the JSON document under "striate"."""
    try:
        about = strict_json(text)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"its description is not JSON ({one_line(error)})") from None
    if not isinstance(about, dict) or type(about.get("version")) is not int:
        raise ModelFileError("its description has no version")
    version = about["version"]
    if version not in VERSIONS:
        raise ModelFileError(f"its format is version {version} but this one reads versions 1 to 4; update striate")
    temperature = about.get("temperature") if version >= 2 else 1.0
    structure = about.get("structure") if version >= 4 else {}
    if not isinstance(structure, dict):
        raise ModelFileError("its description has no structure")
    if not isinstance(temperature, float | int) or isinstance(temperature, bool):
        raise ModelFileError("its description has no temperature")
    expected = {"task": str, "network": dict, "class_names": list, "preprocessing": dict, "provenance": dict}
    for key, kind in expected.items():
        if not isinstance(about.get(key), kind):
            raise ModelFileError(f"its description has no {key}")
    task_settings = about.get("task_settings") if version >= 3 else {}
    if not isinstance(task_settings, dict):
        raise ModelFileError("its description has no task_settings")
    if version < 3 and about["task"] != "classification":
        raise ModelFileError(f"the task is {about['task']!r}, which no file of version {version} can have")
    network = about["network"]
    if not isinstance(network.get("name"), str) or not isinstance(network.get("config"), dict):
        raise ModelFileError("its description has no network name and config")
    try:
        preprocessing = Preprocessing.from_json(about["preprocessing"])
    except (TypeError, ValueError) as error:  # numbers where sequences should be, and the like
        raise ModelFileError(f"its preprocessing makes no sense: {one_line(error)}") from None
    return ModelFile(
        network=network["name"],
        config=network["config"],
        class_names=tuple(about["class_names"]),
        preprocessing=preprocessing,
        task=about["task"],
        provenance=about["provenance"],
        temperature=float(temperature),
        task_settings=task_settings,
        structure=structure,
    )


def _check_against_network(model_file: ModelFile, network: nn.Module, table: dict[str, TensorInfo]) -> None:
    """Names, shapes and types must be those of the network; one of the catalogue is built on the meta device: without
    memory.
    """
    expected = network.state_dict()
    name = model_file.network if model_file.network != EXTERNAL else f"the {type(network).__name__} given"
    if missing := sorted(set(expected) - set(table)):
        raise ModelFileError(f"it lacks {_some(missing)} of {name}")
    if unexpected := sorted(set(table) - set(expected)):
        raise ModelFileError(f"it has {_some(unexpected)}, which {name} lacks")
    for key, tensor in expected.items():
        info = table[key]
        if info.shape != tuple(tensor.shape):
            raise ModelFileError(f"{key} has shape {info.shape} but {name} needs {tuple(tensor.shape)}")
        is_usual = tensor.is_floating_point() and tensor.dtype != torch.float64
        allowed = _WEIGHT_DTYPES if is_usual else (tensor.dtype,)
        if info.dtype not in allowed:
            names = " or ".join(_DTYPE_NAMES[dtype] for dtype in allowed)
            raise ModelFileError(f"{key} is {_DTYPE_NAMES[info.dtype]} but {name} needs {names}")


def _check_memory(network: nn.Module, data_bytes: int) -> None:
    """What a network keeps beside the weights in its file must be no more than a few times those."""
    kept_bytes = sum(buffer.numel() * buffer.element_size() for buffer in network.buffers())
    if kept_bytes > _SPARE_BYTES + _SPARE_TIMES * data_bytes:
        raise ModelFileError(f"its settings make a network that keeps {kept_bytes:,} bytes beside its weights")


def _shown(value: Any) -> str:
    """A value in a message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


def _entry_of(network: str) -> Entry:
    """The network's entry, in the catalogue or in a library that is installed; ModelFileError where it is in
    neither.
    """
    if not names_network(network):
        raise ModelFileError(f"the network is {network!r}, which this version of striate does not have")
    try:
        return entry_for(network)
    except InputError as error:
        raise ModelFileError(f"the network is {network!r}, but {error}") from None


def _restore_config(default: Any, values: Mapping[str, Any]) -> Any:
    """The family's configuration with these values, types checked; fields that are not given keep the catalogue's."""
    fields = {field.name for field in dataclasses.fields(default)}
    if unknown := sorted(set(values) - fields):
        raise ModelFileError(f"its network has unknown settings: {_some(unknown)}")
    if missing := {"in_channels", "num_classes"} - set(values):
        raise ModelFileError(f"its network lacks the settings {_some(sorted(missing))}")
    restored = {}
    for key, value in values.items():
        usual = getattr(default, key)
        restored[key] = _as_tuples(value)
        is_float = type(usual) is float and type(value) is int
        if usual is not None and not is_float and type(restored[key]) is not type(usual):
            raise ModelFileError(
                f"its network setting {key} is {_shown(value)} but {usual!r} is an example of what is expected"
            )
        limit = MAX_CONFIG_PART if isinstance(value, (list, tuple)) else MAX_CONFIG_NUMBER
        if not all(number <= limit for number in _numbers_in(restored[key])):
            raise ModelFileError(f"its network setting {key} holds a number over {limit}")
    if min(restored["in_channels"], restored["num_classes"]) < 1:
        raise ModelFileError("its network needs at least one channel and one class")
    try:
        return dataclasses.replace(default, **restored)
    except (StriateError, TypeError, ValueError) as error:
        raise ModelFileError(f"its network settings make no sense: {one_line(error)}") from None


def _as_tuples(value: Any) -> Any:
    return tuple(_as_tuples(part) for part in value) if isinstance(value, (list, tuple)) else value


def _numbers_in(value: Any) -> list[float]:
    if isinstance(value, tuple):
        return [number for part in value for number in _numbers_in(part)]
    return [value] if isinstance(value, (int, float)) else []


def _some(names: list[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(name if name.isprintable() else repr(name) for name in names[:most]) + more
