"""Processes that share every batch must train like one: the same numbers, up to the order of sums."""

import dataclasses
import json

import pytest
import safetensors.torch
import torch

from striate.errors import InputError
from training_cases import tiny_feed, train_tiny
from training_processes import SHARED_RECIPES, process_server, shared_network, shared_session


def lines(run_dir):
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(("name", "world_size"), [("everything random", 2), ("gradual, three batches an update", 3)])
def test_processes_train_like_one(tmp_path, name, world_size):
    folder = tmp_path / "together"
    folder.mkdir()
    server = process_server()
    workers = [
        server.Process(target=shared_session, args=(folder, name, rank, world_size)) for rank in range(world_size)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=120)
    assert [worker.exitcode for worker in workers] == [0] * world_size
    alone, _ = train_tiny(tmp_path / "alone", SHARED_RECIPES[name], network=shared_network())
    finals = [safetensors.torch.load_file(folder / f"final-{rank}.safetensors") for rank in range(world_size)]
    for key, value in alone.state_dict().items():
        assert all(final[key].equal(finals[0][key]) for final in finals), key  # bit for bit among themselves
        torch.testing.assert_close(finals[0][key], value, rtol=1e-5, atol=1e-7)
    for one, several in zip(lines(tmp_path / "alone"), lines(folder / "run"), strict=True):
        assert one["train_accuracy"] == several["train_accuracy"]
        assert one["validation_accuracy"] == several["validation_accuracy"]
        assert abs(one["train_loss"] - several["train_loss"]) < 1e-7
        assert abs(one["validation_loss"] - several["validation_loss"]) < 1e-6


def test_the_last_batch_is_large_enough_for_every_process():
    feed = tiny_feed()
    recipe = dataclasses.replace(SHARED_RECIPES["everything random"], batch_size=7)
    assert feed.num_batches(recipe) == feed.num_batches(recipe, world_size=3) == 7
    assert feed.num_batches(recipe, world_size=4) == 6  # the last three images go with the batch before


def test_a_batch_that_cannot_be_shared():
    feed = tiny_feed()
    recipe = dataclasses.replace(SHARED_RECIPES["everything random"], batch_size=3)
    with pytest.raises(InputError, match=r"^a batch of 3 images cannot be shared by 4 processes; use a larger"):
        next(feed.train_batches(recipe, 0, torch.device("cpu"), rank=0, world_size=4))
