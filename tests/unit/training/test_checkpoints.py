import errno
import json
import math
import os
import resource

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from striate.errors import RunError
from striate.training import checkpoints
from striate.training.checkpoints import (
    Checkpoint,
    has_checkpoints,
    load_newest_checkpoint,
    pack_tree,
    save_checkpoint,
    unpack_tree,
)


def checkpoint(step, value=1.0):
    return Checkpoint(step, {"epoch": step}, {"weight": torch.full((3,), value)})


def stems(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_is_saved_comes_back(tmp_path):
    weight = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    tensors = {"a": weight, "again": weight, "turned": weight.T, "n": torch.tensor(7), "none": torch.zeros(0)}
    save_checkpoint(tmp_path, Checkpoint(5, {"x": [1, None, 0.1]}, tensors))
    found = load_newest_checkpoint(tmp_path)
    assert (found.step, found.values) == (5, {"x": [1, None, 0.1]})
    assert found.tensors.keys() == tensors.keys()
    assert all(torch.equal(found.tensors[name], tensors[name]) for name in tensors)


def test_the_last_two_are_kept_and_leftovers_removed(tmp_path):
    (tmp_path / ".step-00000009.json.abc.tmp").write_text("half")
    (tmp_path / "step-00000000.safetensors").write_bytes(b"tensors whose JSON never came")
    for step in (1, 2, 3):
        save_checkpoint(tmp_path, checkpoint(step))
    assert stems(tmp_path) == [f"step-0000000{n}.{end}" for n in (2, 3) for end in ("json", "safetensors")]


def test_the_same_step_may_be_saved_again(tmp_path):
    save_checkpoint(tmp_path, checkpoint(1))
    save_checkpoint(tmp_path, checkpoint(2, value=1.0))
    save_checkpoint(tmp_path, checkpoint(2, value=5.0))
    assert load_newest_checkpoint(tmp_path).tensors["weight"][0] == 5
    assert len(stems(tmp_path)) == 4


def test_no_checkpoint_is_none(tmp_path):
    assert load_newest_checkpoint(tmp_path / "none") is None
    assert not has_checkpoints(tmp_path / "none")


DAMAGES = {
    "tensors cut off": lambda p: (tensors := p.with_suffix(".safetensors")).write_bytes(tensors.read_bytes()[:-1]),
    "tensors gone": lambda p: p.with_suffix(".safetensors").unlink(),
    "a bit of the tensors": lambda p: flip_bit(p.with_suffix(".safetensors")),
    "a bit of the JSON": lambda p: p.write_text(p.read_text().replace('"epoch": 2', '"epoch": 3')),
    "JSON cut off": lambda p: p.write_text(p.read_text()[:40]),
    "JSON empty": lambda p: p.write_text(""),
    "other JSON": lambda p: p.write_text("[]"),
    "binary JSON": lambda p: p.write_bytes(b"\xff\xfe\x00"),
}  # fmt: skip


def flip_bit(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_newest_falls_back_to_the_one_before_and_says_so(tmp_path, damage):
    for step in (1, 2):
        save_checkpoint(tmp_path, checkpoint(step))
    DAMAGES[damage](tmp_path / "step-00000002.json")
    told = []
    assert load_newest_checkpoint(tmp_path, log=told.append).step == 1
    (line,) = told
    assert line.startswith("checkpoint step-00000002 is damaged (")
    assert line.endswith("); going back to the one before")


def test_only_damaged_ones_is_an_error(tmp_path):
    save_checkpoint(tmp_path, checkpoint(1))
    flip_bit(tmp_path / "step-00000001.safetensors")
    with pytest.raises(RunError, match=r"^all 1 checkpoints in .* are damaged; start the run again in a new folder$"):
        load_newest_checkpoint(tmp_path)


def test_a_later_format_is_refused(tmp_path):
    save_checkpoint(tmp_path, checkpoint(1))
    path = tmp_path / "step-00000001.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 2}))
    with pytest.raises(RunError, match=r"has version 2; this striate reads up to 1: update it$"):
        load_newest_checkpoint(tmp_path)


def test_a_full_disk_leaves_the_checkpoints_from_before(tmp_path):
    """A real failure of the operating system: no file may grow beyond 100 kB."""
    save_checkpoint(tmp_path, checkpoint(1))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(
            RunError, match=r"^the disk is full: cannot write .* \(0.4 MB are needed\); free some space and"
        ):
            save_checkpoint(tmp_path, Checkpoint(2, {}, {"weight": torch.zeros(100_000)}))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert stems(tmp_path) == ["step-00000001.json", "step-00000001.safetensors"]
    assert load_newest_checkpoint(tmp_path).step == 1


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.ENOSPC, "the disk is full: cannot write"),
        (errno.EDQUOT, "the disk is full: cannot write"),
        (errno.EROFS, "cannot write .*: Read-only file system; make it writable and resume the run"),
    ],
)
def test_other_failures_are_told_apart(tmp_path, monkeypatch, number, text):
    def fail(_path, _data):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(checkpoints, "write_atomically", fail)
    with pytest.raises(RunError, match=f"^{text}"):
        save_checkpoint(tmp_path, checkpoint(1))


plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
trees = st.recursive(
    plain,
    lambda children: (
        st.lists(children) | st.lists(children).map(tuple) | st.dictionaries(st.integers() | st.text(), children)
    ),
    max_leaves=10,
)


@settings(max_examples=40, deadline=None)
@given(trees)
def test_trees_come_back_as_they_were(tree):
    packed = json.loads(json.dumps(pack_tree(tree, "t", {}), allow_nan=False))
    found = unpack_tree(packed, {})
    assert found == tree
    assert repr(found) == repr(tree)


def test_trees_hold_tensors_and_infinities_and_nothing_else():
    tensors = {}
    tree = {0: {"exp_avg": torch.ones(2), "old": [torch.zeros(1), None]}, "limit": math.inf}
    packed = pack_tree(tree, "optimizer", tensors)
    assert list(tensors) == ["optimizer.0.exp_avg", "optimizer.0.old.0"]
    found = unpack_tree(json.loads(json.dumps(packed, allow_nan=False)), tensors)
    assert found["limit"] == math.inf
    assert found[0]["exp_avg"] is tree[0]["exp_avg"]
    assert found[0]["old"][1] is None
    with pytest.raises(TypeError, match=r"^a checkpoint cannot hold t.x, a object$"):
        pack_tree({"x": object()}, "t", {})
