"""Write a model for another engine, prove that it answers the same, and only then put it in its place."""

import hashlib
import json
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from striate.data.cache import move_into_place, write_atomically
from striate.data.opening import Access
from striate.errors import InputError
from striate.export.about import describe_export
from striate.export.onnx_file import write_onnx
from striate.export.openvino_file import write_openvino
from striate.export.parity import ParityCheck, verify
from striate.export.parity_images import NUM_IMAGES, built_in_images, source_images
from striate.export.running import open_exported
from striate.export.torch_file import write_torch
from striate.tasks.model import Model, load_model
from striate.weights.model_file import MODEL_FILE

FOLDER = "exported"
"""Where in a run folder its exports lie."""
_WRITERS: dict[str, tuple[str, Callable[..., None]]] = {
    "onnx": (".onnx", write_onnx),
    "openvino": (".xml", write_openvino),
    "torch": (".pt2", write_torch),
}
FORMATS = tuple(_WRITERS)


@dataclass(frozen=True)
class Exported:
    """A finished export: where it is, which files it is made of, what it says of itself, and the proof.

    Where the proof failed nothing was written, and what lay at `path` before is still there.
    """

    path: Path
    files: tuple[Path, ...]
    about: dict[str, Any]
    parity: ParityCheck

    def to_json(self) -> dict[str, Any]:
        """Plain values: path, files, about and proof."""
        files = [str(file) for file in self.files]
        return {"path": str(self.path), "files": files, "about": self.about, "proof": self.parity.to_json()}


def export_model(
    model: Model | str | Path,
    to: str,
    *,
    output: str | Path | None = None,
    images: str | Path | None = None,
    num_images: int = NUM_IMAGES,
    resize: bool = True,
    force: bool = False,
    access: Access | None = None,
) -> Exported:
    """Write a model, or what `load_model` takes for one, as "onnx", "openvino" or "torch", and prove it on real images.

    The file takes pixels (N, H, W, C) uint8 and gives probabilities (N, K) float32; docs/export.md describes it.
    `output` is RUN/exported/model.SUFFIX by default, or NETWORK.SUFFIX in the current folder. Without `resize` it takes
    pixels of `preprocessing.crop_size` only. The proof runs on up to `num_images` of `images` (an image, a folder or a
    source), or on built-in photos. Beside the file, NAME.json holds the document, the proof and a checksum; only files
    that it vouches for are replaced without `force`. Raises InputError where the network cannot be expressed, something
    is not installed or a file is in the way.

    `to` is one of those three words.
    """
    access = access or Access()
    if to not in _WRITERS:
        raise InputError(f"cannot export to {to!r}; choose {', '.join(FORMATS)}")
    if num_images < 1:
        raise InputError(f"num_images must be at least 1 but is {num_images}")
    suffix, write = _WRITERS[to]
    loaded = model if isinstance(model, Model) else load_model(model, download=access.download, log=access.log)
    path = _output_path(model, loaded, output, suffix)
    names = [each.name for each in _files_of(path)]
    if not force:
        _check_replaceable(path)
    proof_images = _images(loaded, images, num_images, access)
    about = describe_export(loaded, resize=resize, model_sha256=_model_sha256(model))
    with _Workshop(path.parent) as folder:
        write(loaded, folder / path.name, resize=resize, about=about)
        parity = verify(loaded, open_exported(folder / path.name, trust=True), proof_images)
        if parity.passed:
            digests = {name: _sha256(folder / name) for name in names}
            for name in reversed(names):  # the file that is opened comes last, so that it never lacks the others
                move_into_place(folder / name, path.with_name(name))
            _write_sidecar(path, about, parity, digests)
    return Exported(path, tuple(path.with_name(name) for name in names) if parity.passed else (), about, parity)


def check_exported(
    model: Model | str | Path,
    exported: str | Path,
    source: str | Path | None = None,
    *,
    num_images: int = NUM_IMAGES,
    engine: str | None = None,
    trust: bool = False,
    access: Access | None = None,
) -> ParityCheck:
    """The proof of `export_model` once more, for a file that may have come from anywhere; nothing is written or
    deleted.

    `engine` is one that runs such files (`running.ENGINES`), its usual one by default; a .pt2 file needs `trust`.

    `exported` is the file, and up to `num_images` of `source` are compared, or built-in photos without one.
    """
    access = access or Access()
    if num_images < 1:
        raise InputError(f"num_images must be at least 1 but is {num_images}")
    runner = open_exported(exported, engine=engine, trust=trust)
    loaded = model if isinstance(model, Model) else load_model(model, download=access.download, log=access.log)
    return verify(loaded, runner, _images(loaded, source, num_images, access))


def stale_exports(run_dir: Path, temperature: float) -> tuple[Path, ...]:
    """Exports in a run folder that were made while the model had another temperature, and give other probabilities."""
    stale = []
    for sidecar in sorted((run_dir / FOLDER).glob("*.json")):
        try:
            made_at = json.loads(sidecar.read_text(encoding="utf-8"))["about"]["temperature"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        path = sidecar.with_suffix("")
        if made_at != temperature and path.is_file():
            stale.append(path)
    return tuple(stale)


def sidecar_path(path: Path) -> Path:
    """Where the document and the proof of an exported file lie: model.onnx.json beside model.onnx."""
    return path.with_name(path.name + ".json")


def _images(model: Model, source: str | Path | None, num_images: int, access: Access) -> list[np.ndarray]:
    channels = model.preprocessing.channels
    if source is None:
        return built_in_images(channels)
    return source_images(source, channels, num_images=num_images, access=access)


def _output_path(model: Model | str | Path, loaded: Model, output: str | Path | None, suffix: str) -> Path:
    if output is None:
        if not isinstance(model, Model) and (Path(model) / MODEL_FILE).is_file():
            return Path(model) / FOLDER / f"model{suffix}"
        return Path(loaded.network_name.replace("/", "-").replace(":", "-") + suffix)
    path = Path(output)
    if path.is_dir():
        raise InputError(f"{path} is a folder; name the file to write, such as {path / ('model' + suffix)}")
    if path.suffix != suffix:
        raise InputError(f"the output must end in {suffix} but is {path}; name it {path.with_suffix(suffix)}")
    return path


def _files_of(path: Path) -> list[Path]:
    """The files of an export: the one that is opened, then what belongs to it."""
    return [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path]


def _check_replaceable(path: Path) -> None:
    """Raise InputError where a file lies in the way that is not an export of striate, or was changed since."""
    sidecar = sidecar_path(path)
    vouched = _vouched(sidecar)
    in_the_way = [each for each in _files_of(path) if each.exists() and vouched.get(each.name) != _sha256(each)]
    if sidecar.exists() and not vouched:
        in_the_way.append(sidecar)
    if in_the_way:
        raise InputError(
            f"{in_the_way[0]} exists and is not as an export of striate left it; choose another --out, or replace it "
            "with --force"
        )


def _vouched(sidecar: Path) -> dict[str, str]:
    """The checksums by file name in a sidecar of ours; none where there is none."""
    try:
        document = json.loads(sidecar.read_text(encoding="utf-8"))
        files = document["files"]
        is_ours = isinstance(files, dict) and "proof" in document
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return files if is_ours else {}


def _write_sidecar(path: Path, about: dict[str, Any], parity: ParityCheck, digests: dict[str, str]) -> None:
    document = {"about": about, "files": digests, "proof": parity.to_json()}
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, indent=2)
    write_atomically(sidecar_path(path), (text + "\n").encode())


def _model_sha256(model: Model | str | Path) -> str | None:
    """The checksum of the file that a model was loaded from, where it is one file."""
    if isinstance(model, Model):
        return None
    candidates = (Path(model) / MODEL_FILE, Path(model), Path(str(model).partition(":")[2]))
    return next((_sha256(each) for each in candidates if each.is_file()), None)


def _sha256(path: Path) -> str:
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Workshop:
    """A hidden folder beside the output, in which the export is written and proven; it is gone afterwards, whatever
    came.
    """

    def __init__(self, parent: Path) -> None:
        self.folder = parent / f".striate-export.{secrets.token_hex(6)}.tmp"

    def __enter__(self) -> Path:
        try:
            self.folder.mkdir(parents=True)
        except OSError as error:
            raise InputError(
                f"{self.folder.parent} cannot be written: {error.strerror}; choose another --out"
            ) from None
        return self.folder

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
