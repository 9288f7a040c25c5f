"""The cache is shown and emptied; nothing else in its folder is."""

import pytest

from striate.data.cache_contents import cache_contents, empty_cache
from striate.errors import InputError


def test_the_cache_is_measured_and_emptied_kind_by_kind(tmp_path, monkeypatch):
    monkeypatch.setenv("STRIATE_CACHE", str(tmp_path / "cache"))
    assert cache_contents() == ()
    assert empty_cache() == 0
    for name, size in (("packs/a/x", 5), ("packs/b", 7), ("modes/m.json", 3), ("thesis.txt", 100), ("own/folder", 1)):
        (tmp_path / "cache" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "cache" / name).write_bytes(bytes(size))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "mine").touch()
    (tmp_path / "cache" / "engines").symlink_to(tmp_path / "elsewhere")
    assert [(each.kind, each.num_files, each.size_bytes) for each in cache_contents()] == [
        ("packs", 2, 12),
        ("modes", 1, 3),
    ]
    assert empty_cache("modes") == 3
    assert empty_cache() == 12
    assert cache_contents() == ()
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert left == ["cache/own/folder", "cache/thesis.txt", "elsewhere/mine"]
    with pytest.raises(InputError, match="no 'own'; say all, or one of packs"):
        empty_cache("own")
