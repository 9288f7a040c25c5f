import pytest
import torch

from striate.training.randomness import generator_for, preserved_randomness, seed_device, seed_for


def test_places_have_different_seeds_that_never_change():
    places = [(seed, kind, step) for seed in range(3) for kind in ("a", "b") for step in range(50)]
    seeds = {seed_for(*place) for place in places}
    assert len(seeds) == len(places)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert seed_for(0, "layers", 1, 0) == 4617408786428691623  # stored: runs made before must resume


def test_equal_places_draw_equal_numbers():
    first, second = generator_for(1, "x"), generator_for(1, "x")
    assert torch.equal(torch.rand(3, generator=first), torch.rand(3, generator=second))


def test_global_stream_comes_back_also_after_an_error():
    def draw_and_fail():
        with preserved_randomness(torch.device("cpu")):
            seed_device(torch.device("cpu"), 5)
            torch.rand(3)
            raise RuntimeError("afterwards")

    before = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="afterwards"):
        draw_and_fail()
    assert torch.equal(torch.get_rng_state(), before)
