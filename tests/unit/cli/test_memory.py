"""What is loaded is never searched for garbage; the collector works on as before."""

import gc

import pytest

from striate.cli.memory import importing


@pytest.fixture(autouse=True)
def _unfrozen():
    yield
    gc.unfreeze()


def test_the_collector_rests_while_things_are_loaded_and_leaves_them_alone_afterwards():
    gc.unfreeze()
    with importing():
        assert not gc.isenabled()
        loaded = [[] for _ in range(1000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() >= len(loaded)


def test_the_collector_comes_back_after_an_import_that_fails():
    with pytest.raises(ImportError), importing():
        import striate.nothing_of_that_name  # noqa: F401
    assert gc.isenabled()
