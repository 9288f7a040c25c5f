"""The model file: what goes in comes out, and nothing else comes in."""

import json
import struct
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from striate.data.preprocessing import Preprocessing
from striate.errors import ModelFileError
from striate.networks.catalogue import CATALOGUE, build_network
from striate.weights.model_file import (
    ModelFile,
    is_model_file,
    read_header,
    read_model_file,
    write_model_file,
)
from striate.weights.tensor_table import MAX_HEADER_BYTES

NAMES = tuple(f"class {k}" for k in range(10))
PREPROCESSING = Preprocessing(channels=1, resize_size=28, crop_size=(28, 28), mean=(0.1,), std=(0.3,))
ABOUT = ModelFile("lenet_300_100", {"in_channels": 1, "num_classes": 10}, NAMES, PREPROCESSING, provenance={"seed": 3})


def small_network() -> torch.nn.Module:
    return build_network("lenet_300_100", seed=0)


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    write_model_file(path, ABOUT, small_network().state_dict())
    return path


def split_file(path: Path) -> tuple[dict, bytes]:
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def join_file(path: Path, header: dict | str, data: bytes) -> Path:
    text = (header if isinstance(header, str) else json.dumps(header, separators=(",", ":"))).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def changed(model_path: Path, path: Path, **changes: object) -> Path:
    """The file with entries of its description replaced."""
    header, data = split_file(model_path)
    about = json.loads(header["__metadata__"]["striate"]) | changes
    header["__metadata__"]["striate"] = json.dumps(about)
    return join_file(path, header, data)


def test_what_is_written_is_read(model_path: Path) -> None:
    about, state = read_model_file(model_path)
    expected = small_network().state_dict()
    assert about == ABOUT
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], expected[name]) for name in expected)


def test_a_temperature_makes_it_version_2(model_path: Path, tmp_path: Path) -> None:
    """A reader of version 1 would give other probabilities, so it must refuse; without one nothing changes for it."""
    about = replace(ABOUT, temperature=1.5)
    write_model_file(tmp_path / "m", about, small_network().state_dict())
    assert read_model_file(tmp_path / "m")[0] == about
    versions = [json.loads(split_file(path)[0]["__metadata__"]["striate"]) for path in (model_path, tmp_path / "m")]
    assert [(each["version"], each.get("temperature")) for each in versions] == [(1, None), (2, 1.5)]
    for wrong in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ModelFileError, match="the temperature is"):
            replace(ABOUT, temperature=wrong)


def test_safetensors_reads_the_same_weights(model_path: Path) -> None:
    """An independent reader: the safetensors library itself."""
    _, ours = read_model_file(model_path)
    theirs = safetensors.torch.load_file(model_path)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    with safetensors.safe_open(model_path, "pt") as file:
        assert file.metadata()["format"] == "pt"


def test_same_model_same_bytes(model_path: Path, tmp_path: Path) -> None:
    write_model_file(tmp_path / "again", ABOUT, dict(reversed(small_network().state_dict().items())))
    assert (tmp_path / "again").read_bytes() == model_path.read_bytes()


@pytest.mark.parametrize("name", ["lenet5", "squeezenet1_1", "resnet20_cifar", "resnet18"])
def test_networks_with_counters_and_settings_round_trip(name: str, tmp_path: Path) -> None:
    network = build_network(name, num_classes=3, in_channels=2, seed=1)
    config = asdict(replace(CATALOGUE[name].config, num_classes=3, in_channels=2))
    preprocessing = Preprocessing(2, 64, (64, 64), (0.0, 0.0), (1.0, 1.0))
    about = ModelFile(name, config, ("a", "Käse und Brot", "猫"), preprocessing)
    write_model_file(tmp_path / "m.safetensors", about, network.state_dict())
    read, state = read_model_file(tmp_path / "m.safetensors")
    assert read == about
    rebuilt = read.build_network()
    rebuilt.load_state_dict(state)
    assert all(
        torch.equal(a, b) for a, b in zip(network.state_dict().values(), rebuilt.state_dict().values(), strict=True)
    )


def test_half_precision_weights_are_kept_as_they_are(tmp_path: Path) -> None:
    state = {name: value.to(torch.bfloat16) for name, value in small_network().state_dict().items()}
    write_model_file(tmp_path / "half.safetensors", ABOUT, state)
    _, read = read_model_file(tmp_path / "half.safetensors")
    assert all(value.dtype == torch.bfloat16 and torch.equal(value, state[name]) for name, value in read.items())


def test_building_leaves_the_random_state_alone(model_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    read_model_file(model_path)[0].build_network()
    assert torch.equal(torch.rand(3), expected)


def test_header_alone_can_be_read(model_path: Path) -> None:
    about, table = read_header(model_path)
    assert about == ABOUT
    assert {name: info.shape for name, info in table.items()} == {
        name: tuple(value.shape) for name, value in small_network().state_dict().items()
    }


def test_a_write_that_fails_leaves_the_old_file(model_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(model_path.read_bytes())
    with pytest.raises(ModelFileError, match="it lacks"):
        write_model_file(path, ABOUT, {})
    assert path.read_bytes() == model_path.read_bytes()
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_no_plain_json_cannot_be_provenance(tmp_path: Path) -> None:
    about = replace(ABOUT, provenance={"loss": float("nan")})
    with pytest.raises(ModelFileError, match="the provenance of a model must be plain JSON"):
        write_model_file(tmp_path / "m", about, small_network().state_dict())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": "lenet_5"}, "the network is 'lenet_5', which this version of striate does not have"),
        (
            {"task": "telepathy"},
            "the task is 'telepathy' but this version of striate knows classification, localization",
        ),
        ({"class_names": NAMES[:9]}, "there are 9 class names for 10 outputs"),
        ({"class_names": (*NAMES[:9], "")}, "a class name is empty or not a string"),
        ({"class_names": (*NAMES[:9], NAMES[0])}, "a class name occurs twice"),
        ({"config": {"in_channels": 1}}, "its network lacks the settings num_classes"),
        ({"config": {"in_channels": 1, "num_classes": 10, "depth": 3}}, "its network has unknown settings: depth"),
        ({"config": {"in_channels": 1, "num_classes": "10"}}, "its network setting num_classes is '10' but 10 is"),
        ({"config": {"in_channels": 1, "num_classes": True}}, "its network setting num_classes is True but 10 is"),
        ({"config": {"in_channels": 1, "num_classes": 10**9}}, "num_classes holds a number over 1000000"),
        ({"config": {"in_channels": 0, "num_classes": 10}}, "its network needs at least one channel and one class"),
        (
            {"config": {"in_channels": 3, "num_classes": 10}},
            "the preprocessing gives 1 channels but the network takes 3",
        ),
    ],
)
def test_parts_that_contradict_each_other(changes: dict, message: str) -> None:
    with pytest.raises(ModelFileError, match=message):
        replace(ABOUT, **changes)


def test_deep_networks_from_damaged_settings_are_not_built() -> None:
    config = asdict(CATALOGUE["resnet18"].config) | {"num_classes": 10, "depths": (10**6, 2, 2, 2)}
    with pytest.raises(ModelFileError, match="its network setting depths holds a number over 4096"):
        ModelFile("resnet18", config, NAMES, Preprocessing(3, 64, (64, 64), (0.0,) * 3, (1.0,) * 3))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 5}, "its format is version 5 but this one reads versions 1 to 4; update striate"),
        ({"version": 3, "temperature": 1.0}, "its description has no task_settings"),
        ({"version": 2}, "its description has no temperature"),
        ({"version": 2, "temperature": True}, "its description has no temperature"),
        ({"version": 2, "temperature": 0}, r"the temperature is 0.0, not a number in \[0.01, 100\]"),
        ({"version": "1"}, "its description has no version"),
        ({"task": None}, "its description has no task"),
        ({"class_names": "0123456789"}, "its description has no class_names"),
        ({"class_names": [*NAMES[:9], 9]}, "a class name is empty or not a string"),
        ({"network": {"name": "lenet5"}}, "its description has no network name and config"),
        ({"preprocessing": {}}, "preprocessing is incomplete"),
        ({"preprocessing": PREPROCESSING.to_json() | {"gamma": 2}}, "preprocessing has unknown fields: gamma"),
        (
            {"preprocessing": PREPROCESSING.to_json() | {"resize_size": "28"}},
            "resize_size must be made of whole numbers",
        ),
        (
            {"network": {"name": "lenet5", "config": {"in_channels": 1, "num_classes": 10}}},
            "it lacks conv1.bias, conv1.weight, conv2.bias and 3 more of lenet5",
        ),
        (
            {
                "network": {"name": "lenet_300_100", "config": {"in_channels": 1, "num_classes": 2}},
                "class_names": ["a", "b"],
            },
            "has shape .* but lenet_300_100 needs",
        ),
    ],
)
def test_descriptions_that_do_not_fit(changes: dict, message: str, model_path: Path, tmp_path: Path) -> None:
    path = changed(model_path, tmp_path / "m", **changes)
    with pytest.raises(ModelFileError, match=message) as caught:
        read_model_file(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{path} is not a model that this version of striate can read: ")


def with_table(model_path: Path, path: Path, name: str, **entry: object) -> Path:
    header, data = split_file(model_path)
    header[name] = header.get(name, {}) | entry
    return join_file(path, header, data)


def first_name(model_path: Path) -> str:
    return next(name for name in split_file(model_path)[0] if name != "__metadata__")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"data_offsets": [4, 1204]}, "starts at byte 4 but the one before it ends at 0"),
        ({"data_offsets": [0, 10**15]}, "cannot lie at bytes 0 to 1000000000000000"),
        ({"data_offsets": [-1200, 0]}, "is not dtype, shape and data_offsets"),
        ({"shape": [300.0]}, "is not dtype, shape and data_offsets"),
        ({"shape": [True, 300]}, "is not dtype, shape and data_offsets"),
        ({"dtype": "F8_E4M3"}, "is not dtype, shape and data_offsets"),
        ({"dtype": "I32"}, "is I32 but lenet_300_100 needs F32 or F16 or BF16"),
        ({"extra": 1}, "is not dtype, shape and data_offsets"),
    ],
)
def test_tables_that_lie(entry: dict, message: str, model_path: Path, tmp_path: Path) -> None:
    name = first_name(model_path)
    header, _ = split_file(model_path)
    assert header[name]["shape"] == [300]  # 1200 bytes, at the beginning
    with pytest.raises(ModelFileError, match=message):
        read_model_file(with_table(model_path, tmp_path / "m", name, **entry))


def test_tensors_that_overlap_are_refused(model_path: Path, tmp_path: Path) -> None:
    header, data = split_file(model_path)
    twice = {"dtype": "F32", "shape": [300], "data_offsets": [0, 1200]}
    with pytest.raises(ModelFileError, match="starts at byte 0 but the one before it ends at 1200"):
        read_model_file(join_file(tmp_path / "m", header | {"other": twice}, data))


def test_strange_names_stay_on_one_line(model_path: Path, tmp_path: Path) -> None:
    header, data = split_file(model_path)
    strange = {"a\nb": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}
    with pytest.raises(ModelFileError, match=r"it has 'a\\nb', which lenet_300_100 lacks"):
        read_model_file(join_file(tmp_path / "m", header | strange, data))


def test_keys_that_occur_twice_are_refused(model_path: Path, tmp_path: Path) -> None:
    header, data = split_file(model_path)
    text = json.dumps(header, separators=(",", ":"))
    with pytest.raises(ModelFileError, match=r"its header is not JSON \(a key occurs twice\)"):
        read_model_file(join_file(tmp_path / "m", text[:-1] + ',"__metadata__":{}}', data))


def test_damage_of_a_weight_is_noticed(model_path: Path, tmp_path: Path) -> None:
    data = bytearray(model_path.read_bytes())
    data[-1] ^= 1
    path = tmp_path / "m"
    path.write_bytes(data)
    read_header(path)
    with pytest.raises(ModelFileError, match="is damaged: its checksum does not match; get a fresh copy"):
        read_model_file(path)


def test_bytes_behind_the_last_tensor_are_refused(model_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.write_bytes(model_path.read_bytes() + b"12345678")
    with pytest.raises(ModelFileError, match="8 bytes follow its last tensor"):
        read_model_file(path)


def test_foreign_files(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    for data, message in (
        (b"", "is not a model file: a safetensors header was expected at its beginning"),
        (b"\0" * 100, "is not a model file: a safetensors header was expected"),
        (b"\x89PNG\r\n\x1a\n" + b"x" * 100, f"its header would have .* bytes, over the limit of {MAX_HEADER_BYTES}"),
        (struct.pack("<Q", MAX_HEADER_BYTES + 1) + b"{}", f"would have {MAX_HEADER_BYTES + 1} bytes, over the limit"),
        (struct.pack("<Q", 1000) + b"{}", "is cut off: its header should have 1000 bytes but has 2"),
        (struct.pack("<Q", 4) + b"\xff\xfe\xff\xfe", "its header is not JSON"),
        (struct.pack("<Q", 100_000) + b"[" * 100_000, "its header is not JSON"),
        (struct.pack("<Q", 2) + b"[]", "its header is not a JSON object"),
        (struct.pack("<Q", 2) + b"{}", "holds weights but not which network they are for; use it as NETWORK:"),
    ):
        path.write_bytes(data)
        assert not is_model_file(path)
        with pytest.raises(ModelFileError, match=message) as caught:
            read_model_file(path)
        assert "\n" not in str(caught.value)


def test_weights_of_others(tmp_path: Path) -> None:
    state = small_network().state_dict()
    torch.save(state, tmp_path / "m.pth")
    with pytest.raises(ModelFileError, match="looks like a file of torch, not of striate; use it as NETWORK:"):
        read_model_file(tmp_path / "m.pth")
    safetensors.torch.save_file(state, tmp_path / "m.safetensors")
    with pytest.raises(ModelFileError, match="holds weights but not which network they are for"):
        read_model_file(tmp_path / "m.safetensors")
    assert not is_model_file(tmp_path / "m.safetensors")


def test_paths_that_cannot_be_read(tmp_path: Path, model_path: Path) -> None:
    with pytest.raises(ModelFileError, match="cannot be read: No such file or directory"):
        read_model_file(tmp_path / "none")
    with pytest.raises(ModelFileError, match="cannot be read: it is a folder, not a regular file"):
        read_model_file(tmp_path)
    assert is_model_file(model_path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(flips=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 7)), min_size=1, max_size=4), in_header=st.booleans())
def test_flipped_bits_are_noticed_or_harmless(
    flips: list[tuple[float, int]], in_header: bool, model_path: Path, tmp_path: Path
) -> None:
    data = bytearray(model_path.read_bytes())
    reach = 8 + struct.unpack("<Q", data[:8])[0] if in_header else len(data)
    for place, bit in flips:
        data[min(reach - 1, int(place * reach))] ^= 1 << bit
    check_noticed_or_harmless(bytes(data), model_path, tmp_path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(length=st.one_of(st.integers(0, 3000), st.floats(0, 1)))
def test_cut_off_files_are_refused(length: int | float, model_path: Path, tmp_path: Path) -> None:
    data = model_path.read_bytes()
    cut = length if isinstance(length, int) else int(length * (len(data) - 1))
    path = tmp_path / "cut"
    path.write_bytes(data[:cut])
    with pytest.raises(ModelFileError) as caught:
        read_model_file(path)
    assert "\n" not in str(caught.value)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1), text=st.binary(min_size=1, max_size=12))
def test_text_put_into_the_header_is_noticed_or_harmless(
    place: float, text: bytes, model_path: Path, tmp_path: Path
) -> None:
    data = model_path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    where = 8 + int(place * length)
    changed = struct.pack("<Q", length + len(text)) + data[8:where] + text + data[where:]
    check_noticed_or_harmless(changed, model_path, tmp_path)


def check_noticed_or_harmless(data: bytes, model_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "fuzzed"
    path.write_bytes(data)
    try:
        about, state = read_model_file(path)
    except ModelFileError as error:
        lines = str(error).splitlines()
    else:
        original, weights = read_model_file(model_path)
        assert about == original
        assert all(torch.equal(state[name], weights[name]) for name in weights)
        return
    assert len(lines) == 1
