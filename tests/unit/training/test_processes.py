"""Two processes that share every batch must train like one."""

import dataclasses
import json
import socket

import safetensors.torch
import torch

from training_cases import tiny_feed, train_tiny
from training_processes import SHARED_RECIPE, plain_network, process_server, shared_session


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def lines(run_dir):
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


def test_two_processes_train_like_one(tmp_path):
    (tmp_path / "two").mkdir()
    server, port = process_server(), free_port()
    workers = [server.Process(target=shared_session, args=(tmp_path / "two", rank, port)) for rank in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=120)
    assert [worker.exitcode for worker in workers] == [0, 0]
    alone, result = train_tiny(tmp_path / "one", SHARED_RECIPE, network=plain_network())
    assert result.steps == 9
    for rank in range(2):
        weights = safetensors.torch.load_file(tmp_path / "two" / f"final-{rank}.safetensors")
        for name, value in alone.state_dict().items():
            # the same sums in another order, over nine updates
            torch.testing.assert_close(weights[name], value, rtol=1e-4, atol=1e-6)
    for one, two in zip(lines(tmp_path / "one"), lines(tmp_path / "two"), strict=True):
        assert one["train_accuracy"] == two["train_accuracy"]
        assert one["validation_accuracy"] == two["validation_accuracy"]
        assert abs(one["train_loss"] - two["train_loss"]) < 1e-5
        assert abs(one["validation_loss"] - two["validation_loss"]) < 1e-5


def test_batches_must_be_large_enough_for_every_process():
    feed = tiny_feed()
    seven_each = dataclasses.replace(SHARED_RECIPE, batch_size=7)
    assert feed.num_batches(seven_each) == 7
    assert feed.num_batches(seven_each, world_size=2) == 6  # the last three images go with the batch before
