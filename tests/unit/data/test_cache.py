import os
import stat
from pathlib import Path

import pytest

from striate.data.cache import _temporary_cache, cache_dir, write_atomically


def test_the_cache_is_where_the_environment_says(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    monkeypatch.setenv("STRIATE_CACHE", "/here")
    assert cache_dir() == Path("/here")
    monkeypatch.delenv("STRIATE_CACHE")
    assert cache_dir() == Path("/somewhere/striate")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_dir() == Path.home() / ".cache" / "striate"


def test_a_file_is_written_with_its_folders_and_replaced(tmp_path):
    path = tmp_path / "new" / "folder" / "file.bin"
    write_atomically(path, b"first")
    write_atomically(path, b"second")
    assert path.read_bytes() == b"second"
    assert os.listdir(path.parent) == ["file.bin"]


def test_permissions_are_those_of_a_plain_file_and_stay(tmp_path):
    plain, written = tmp_path / "plain", tmp_path / "written"
    plain.write_bytes(b"")
    write_atomically(written, b"")
    assert stat.S_IMODE(written.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)
    written.chmod(0o640)
    write_atomically(written, b"again")
    assert stat.S_IMODE(written.stat().st_mode) == 0o640


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def fail(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_writing_over_a_folder_fails_cleanly(tmp_path):
    (tmp_path / "name").mkdir()
    with pytest.raises(OSError):  # noqa: PT011  # the kind differs by system
        write_atomically(tmp_path / "name", b"")
    assert os.listdir(tmp_path) == ["name"]


def test_without_a_home_that_can_be_written_the_cache_is_a_closed_folder_of_ones_own(monkeypatch, tmp_path):
    for name in ("STRIATE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/dev/null")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    _temporary_cache.cache_clear()
    try:
        assert cache_dir().parent == tmp_path
        assert cache_dir().stat().st_mode & 0o777 == 0o700
        first = cache_dir()
        first.chmod(0o777)  # anybody could put files there
        _temporary_cache.cache_clear()
        assert cache_dir() != first
        assert cache_dir().stat().st_mode & 0o777 == 0o700
    finally:
        _temporary_cache.cache_clear()


def test_a_file_where_a_folder_is_needed_is_named(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "a", tmp_path / "file" / "b" / "a"):
        with pytest.raises(OSError, match=r"file is a file, and a folder is needed"):
            write_atomically(path, b"")
