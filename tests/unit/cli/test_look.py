"""`striate look`: options that exclude one another are refused before anything is read."""

import pytest

from striate.cli.look import look
from striate.errors import InputError


def test_units_beside_a_map_are_refused(tmp_path) -> None:
    with pytest.raises(InputError, match="--unit"):
        look("no-model", "photos", units=[7], as_map=True, out_dir=tmp_path / "looked")
    assert not (tmp_path / "looked").exists()
