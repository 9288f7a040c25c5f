"""Weights files of every kind, and published weights from a server on this machine."""

import dataclasses
import hashlib
import io
import os
import pickle
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from striate.data.preprocessing import Preprocessing
from striate.errors import InputError, ModelFileError
from striate.networks.catalogue import CATALOGUE, build_network
from striate.networks.entry import Entry, Weights
from striate.weights.loading import fetch_published, load_weights
from striate.weights.model_file import ModelFile, write_model_file

LENET = CATALOGUE["lenet5"]
GREY = Preprocessing(channels=1, resize_size=32, crop_size=(32, 32), mean=(0.5,), std=(0.5,))


@pytest.fixture
def state() -> dict[str, Tensor]:
    return build_network("lenet5", seed=0).state_dict()


def assert_same(found: dict[str, Tensor], state: dict[str, Tensor]) -> None:
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": state, "optimizer": {"lr": 0.1}},
        lambda state: {"model_state_dict": {f"module.{name}": value for name, value in state.items()}},
        lambda state: {f"module._orig_mod.{name}": value for name, value in state.items()},
    ],
)
def test_torch_files_however_wrapped(wrap: object, state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(wrap(state), tmp_path / "weights.pth")  # type: ignore[operator]
    weights = load_weights(LENET, tmp_path / "weights.pth")
    assert_same(weights.state, state)
    assert weights.preprocessing is None
    assert weights.class_names is None
    assert weights.description == f"the torch file {tmp_path / 'weights.pth'}"


def test_torch_files_of_the_old_format(state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(state, tmp_path / "weights.pkl", _use_new_zipfile_serialization=False)
    assert_same(load_weights(LENET, tmp_path / "weights.pkl").state, state)


def test_safetensors(state: dict[str, Tensor], tmp_path: Path) -> None:
    save_file(state, tmp_path / "weights.bin")  # told by content, not by name
    assert_same(load_weights(LENET, str(tmp_path / "weights.bin")).state, state)


@pytest.mark.parametrize("as_folder", [False, True])
def test_striate_models(as_folder: bool, state: dict[str, Tensor], tmp_path: Path) -> None:
    names = tuple("0123456789")
    model_file = ModelFile("lenet5", {"in_channels": 1, "num_classes": 10}, names, GREY)
    write_model_file(tmp_path / "model.safetensors", model_file, state)
    weights = load_weights(LENET, tmp_path if as_folder else tmp_path / "model.safetensors")
    assert_same(weights.state, state)
    assert (weights.preprocessing, weights.class_names) == (GREY, names)
    with pytest.raises(ModelFileError, match="is a model of lenet5, not of resnet18; choose that network"):
        load_weights(CATALOGUE["resnet18"], tmp_path / "model.safetensors")


class Bomb:
    """Makes a folder when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("form", ["zip", "old", "bare"])
def test_code_in_a_file_is_refused_and_never_run(form: str, tmp_path: Path) -> None:
    path, crater = tmp_path / "weights.pth", tmp_path / "crater"
    if form == "bare":
        path.write_bytes(pickle.dumps({"weight": Bomb(crater)}))
    else:
        torch.save({"weight": Bomb(crater)}, path, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(
        ModelFileError, match=r"holds Python objects .* code is never run; save network.state_dict\(\)"
    ) as caught:
        load_weights(LENET, path)
    assert not crater.exists()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.zeros(1)], r"holds no table of weights by name; save network.state_dict\(\)"),
        ({}, "holds no table of weights by name"),
        ({"conv1.weight": torch.zeros(1), "epoch": 3}, "holds 'epoch', which is not a plain tensor"),
        ({0: torch.zeros(1)}, "holds 0, which is not a plain tensor"),
        ({"huge": torch.zeros(1).expand(10**12)}, "holds 'huge', which is not a plain tensor"),
        ({"sparse": torch.zeros(2, 2).to_sparse()}, "holds 'sparse', which is not a plain tensor"),
        ({"nowhere": torch.zeros(2, device="meta")}, "holds 'nowhere', which is not a plain tensor"),
    ],
)
def test_files_with_other_things_are_refused(content: object, message: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(ModelFileError, match=message):
        load_weights(LENET, tmp_path / "weights.pth")


def test_damaged_files_are_refused(state: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "weights"
    buffer = io.BytesIO()
    torch.save(state, buffer)
    path.write_bytes(buffer.getvalue()[:50_000])
    with pytest.raises(ModelFileError, match=r"weights cannot be read as a torch file: .*") as caught:
        load_weights(LENET, path)
    assert "\n" not in str(caught.value)
    save_file(state, path)
    path.write_bytes(path.read_bytes()[:50_000])
    with pytest.raises(ModelFileError, match="weights is a damaged safetensors file: "):
        load_weights(LENET, path)
    for data in (b"", b"hello", b"\xff\xd8\xff\xe0" * 100):
        path.write_bytes(data)
        with pytest.raises(ModelFileError, match="is no weights file that striate can read; give a striate model, "):
            load_weights(LENET, path)


def test_unreadable_files_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "weights").write_bytes(b"x")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match="weights cannot be read: Permission denied; check its permissions"):
        load_weights(LENET, tmp_path / "weights")


def test_what_is_neither_name_nor_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="lenet5 has no weights 'imagenet', nor is that a file; give a path, for there"
    ):
        load_weights(LENET, "imagenet")
    with pytest.raises(InputError, match=r"resnet50 has no weights 'cifar', .*; give imagenet, imagenet_v2 or a path"):
        load_weights(CATALOGUE["resnet50"], "cifar")
    with pytest.raises(InputError, match="nor is that a file"):
        load_weights(LENET, tmp_path)  # a folder that is no run


@dataclasses.dataclass
class Server:
    """A web server on this machine with one file."""

    url: str
    data: bytes
    num_requests: int = 0


@pytest.fixture
def server(state: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("STRIATE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    buffer = io.BytesIO()
    torch.save(state, buffer)
    engine_cache = Server(url="", data=buffer.getvalue())

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            engine_cache.num_requests += 1
            self.send_response(200 if self.path == "/lenet5.pth" else 404)
            self.end_headers()
            if self.path == "/lenet5.pth":
                self.wfile.write(engine_cache.data)

        def log_message(self, *args: object) -> None:
            """Quiet."""

    http = HTTPServer(("127.0.0.1", 0), Handler)
    engine_cache.url = f"http://127.0.0.1:{http.server_port}/lenet5.pth"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield engine_cache
    http.shutdown()
    thread.join()
    http.server_close()


def published(server: Server, *, url: str | None = None) -> tuple[Entry, Weights]:
    weights = Weights(
        name="digits", url=url or server.url, size_bytes=len(server.data), preprocessing=GREY, source="a test",
        sha256_prefix=hashlib.sha256(server.data).hexdigest()[:8], class_names=lambda: tuple("0123456789"),
    )  # fmt: skip
    return dataclasses.replace(LENET, weights=(weights,)), weights


def test_published_weights_are_fetched_once(server: Server, state: dict[str, Tensor], tmp_path: Path) -> None:
    entry, _ = published(server)
    told: list[str] = []
    weights = load_weights(entry, "digits", log=told.append)
    assert_same(weights.state, state)
    assert (weights.preprocessing, weights.class_names) == (GREY, tuple("0123456789"))
    assert weights.description == "lenet5's published weights 'digits' (a test)"
    place = tmp_path / "cache" / "weights" / "lenet5.pth"
    assert told == [f"downloading lenet5's weights 'digits', 0.3 MB, from {server.url} to {place}"]
    load_weights(entry, "digits", log=told.append, download=False)
    assert len(told) == server.num_requests == 1
    assert [path.name for path in place.parent.iterdir()] == ["lenet5.pth"]


def test_without_leave_nothing_is_fetched(server: Server, tmp_path: Path) -> None:
    entry, weights = published(server)
    with pytest.raises(
        InputError, match=r"lenet5's weights 'digits' \(0.3 MB\) are not at .*; allow the download \(--download\), or "
    ):
        load_weights(entry, "digits", download=False)
    assert server.num_requests == 0
    place = tmp_path / "torch" / "hub" / "checkpoints" / "lenet5.pth"
    place.parent.mkdir(parents=True)
    place.write_bytes(server.data)
    assert fetch_published(entry, weights, download=False) == place  # torch's own cache serves as well


def test_a_wrong_checksum_is_refused_and_nothing_is_left(server: Server, tmp_path: Path) -> None:
    entry, _ = published(server)
    server.data = server.data[:-7]
    with pytest.raises(ModelFileError, match=r"arrived with \d+ bytes and the wrong checksum .* try again"):
        load_weights(entry, "digits")
    assert list((tmp_path / "cache" / "weights").iterdir()) == []


def test_an_endless_answer_is_cut_off(server: Server) -> None:
    entry, weights = published(server)
    limit = round(1.1 * weights.size_bytes) + 2**20
    server.data = server.data + b"\0" * (4 * limit)
    with pytest.raises(ModelFileError, match="wrong checksum") as caught:
        load_weights(entry, "digits")
    num_bytes = int(str(caught.value).split(" bytes")[0].rpartition(" ")[2])
    assert num_bytes <= limit + 2**20


def test_a_damaged_file_in_the_cache_is_passed_over_and_said_so(server: Server, tmp_path: Path) -> None:
    entry, _ = published(server)
    place = tmp_path / "cache" / "weights" / "lenet5.pth"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"half")
    told: list[str] = []
    load_weights(entry, "digits", log=told.append)
    assert told[0] == f"{place} does not have the checksum of lenet5's weights 'digits' and is passed over"
    assert place.read_bytes() == server.data


@pytest.mark.parametrize("path", ["/missing.pth", None])
def test_what_cannot_be_fetched_is_said(path: str | None, server: Server) -> None:
    base = server.url.removesuffix("/lenet5.pth")
    url = base + path if path else "http://127.0.0.1:1/lenet5.pth"
    entry, _ = published(server, url=url)
    with pytest.raises(
        InputError, match=r"pth could not be fetched: .*; fetch it elsewhere and give its path"
    ) as caught:
        load_weights(entry, "digits")
    assert "\n" not in str(caught.value)
