"""Processes that share every batch must train like one: the same numbers, up to the order of sums."""

import dataclasses
import json
import random
import re
import signal
import time

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from striate.errors import InputError
from striate.training.distributed.fsdp import check_sharding
from training_cases import Recorder, tiny_feed, train_tiny
from training_processes import (
    NORMS,
    SHARED_RECIPES,
    norm_results,
    norms_together,
    process_server,
    shared_network,
    shared_resumed,
    shared_session,
    train_where_it_stands,
)


def lines(run_dir):
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


def start(work, folder, *arguments, world_size):
    """So many processes that do `work` and meet in `folder`."""
    folder.mkdir(exist_ok=True)
    server = process_server()
    workers = [server.Process(target=work, args=(folder, *arguments, rank, world_size)) for rank in range(world_size)]
    for worker in workers:
        worker.start()
    return workers


def exit_codes(workers):
    for worker in workers:
        worker.join(timeout=120)
    return [worker.exitcode for worker in workers]


@pytest.mark.parametrize(("name", "world_size"), [("everything random", 2), ("gradual, three batches an update", 3)])
def test_processes_train_like_one(tmp_path, name, world_size):
    folder = tmp_path / "together"
    workers = start(shared_session, folder, name, world_size=world_size)
    assert exit_codes(workers) == [0] * world_size
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


def test_batch_norms_of_processes_are_that_of_one(tmp_path):
    assert exit_codes(start(norms_together, tmp_path, world_size=2)) == [0, 0]
    first, second = (safetensors.torch.load_file(tmp_path / f"norms-{rank}.safetensors") for rank in range(2))
    tolerance = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 0.02}
    for name, (dtype, _layout, _affine) in NORMS.items():
        for key, expected in norm_results(name, slice(None)).items():
            one, other = first[f"{name}: {key}"], second[f"{name}: {key}"]
            if key in ("mean", "var"):
                assert one.equal(other), (name, key)
                got = one
            else:
                got = one + other if key.endswith("grad") else torch.cat([one, other])
            assert got.dtype == expected.dtype, (name, key)
            torch.testing.assert_close(
                got,
                expected,
                rtol=tolerance[dtype],
                atol=tolerance[dtype],
                msg=lambda told, at=(name, key): f"{at}: {told}",
            )


def test_the_last_batch_is_large_enough_for_every_process():
    loader = tiny_feed()
    recipe = dataclasses.replace(SHARED_RECIPES["everything random"], batch_size=7)
    assert loader.num_batches(recipe) == loader.num_batches(recipe, world_size=3) == 7
    assert loader.num_batches(recipe, world_size=4) == 6  # the last three images go with the batch before


def test_a_batch_that_cannot_be_shared():
    loader = tiny_feed()
    recipe = dataclasses.replace(SHARED_RECIPES["everything random"], batch_size=3)
    with pytest.raises(InputError, match=r"^a batch of 3 images cannot be shared by 4 processes; use a larger"):
        next(loader.train_batches(recipe, 0, torch.device("cpu"), rank=0, world_size=4))


@pytest.mark.parametrize("name", ["everything random", "weights shared out", "weights shared out, muon"])
def test_killed_together_in_mid_epoch_they_end_bit_for_bit_like_those_never_killed(tmp_path, name):
    assert exit_codes(start(shared_resumed, tmp_path / "0", tmp_path / "whole", name, world_size=2)) == [0, 0]
    chance = random.Random(0)
    num_killed = 0
    for number in range(1, 4):
        workers = start(shared_resumed, tmp_path / str(number), tmp_path / "killed", name, world_size=2)
        deadline = time.monotonic() + 30
        before = set((tmp_path / "killed").glob("checkpoint/*.json"))
        while not set((tmp_path / "killed").glob("checkpoint/*.json")) - before and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.05))
        for worker in workers:
            worker.kill()
        num_killed += exit_codes(workers).count(-signal.SIGKILL)  # on a busy machine a run may have ended before
    assert num_killed >= 2
    assert exit_codes(start(shared_resumed, tmp_path / "last", tmp_path / "killed", name, world_size=2)) == [0, 0]
    whole, killed = (safetensors.torch.load_file(tmp_path / name / "final.safetensors") for name in ("whole", "killed"))
    assert [key for key in whole if not whole[key].equal(killed[key])] == []
    clocks = ("elapsed_s", "images_per_s")
    records = [
        [{key: value for key, value in line.items() if key not in clocks} for line in lines(tmp_path / name)]
        for name in ("whole", "killed")
    ]
    assert records[0] == records[1]
    alone, _ = train_tiny(tmp_path / "alone", SHARED_RECIPES[name], network=shared_network())
    for key, value in alone.state_dict().items():
        torch.testing.assert_close(whole[key], value, rtol=1e-5, atol=1e-7)


def test_a_run_of_two_processes_is_taken_up_by_one(tmp_path):
    workers = start(shared_resumed, tmp_path / "0", tmp_path / "run", "everything random", world_size=2)
    while not (tmp_path / "run" / "checkpoint" / "step-00000003.json").exists():
        time.sleep(0.005)
    for worker in workers:
        worker.kill()
    exit_codes(workers)
    told = Recorder()
    network, result = train_tiny(
        tmp_path / "run", SHARED_RECIPES["everything random"], network=shared_network(), resume=True, observer=told
    )
    alone, _ = train_tiny(tmp_path / "alone", SHARED_RECIPES["everything random"], network=shared_network())
    assert result.status == "finished"
    assert "the run goes on with num_processes 1 and was at 2: results can differ in the last digits" in told.notices
    for key, value in alone.state_dict().items():
        torch.testing.assert_close(network.state_dict()[key], value, rtol=1e-5, atol=1e-7)


def test_one_of_them_killed_ends_the_others_with_a_line(tmp_path):
    workers = start(shared_resumed, tmp_path / "0", tmp_path / "run", "everything random", world_size=2)
    while not (tmp_path / "run" / "checkpoint" / "step-00000001.json").exists():
        time.sleep(0.005)
    workers[1].kill()
    assert exit_codes(workers) == [1, -signal.SIGKILL]  # torch's own error here; the command makes a line of it


def test_a_process_that_sees_other_images_stops_all(tmp_path):
    for rank in range(2):
        write_images(tmp_path / str(rank) / "images", num_images=20 + rank)
    workers = start(train_where_it_stands, tmp_path / "meet", tmp_path, world_size=2)
    assert exit_codes(workers) == [0, 0]
    said = [(tmp_path / "meet" / f"error-{rank}").read_text() for rank in range(2)]
    assert said[0] == said[1]
    assert re.fullmatch(
        r"RunError: process 1 on \S+ has other images than process 0 on \S+: 41 images with fingerprint \w{12}, "
        r"not 40 images with fingerprint \w{12}; give every process the same files, options and versions",
        said[0],
    ), said[0]
    assert not (tmp_path / "meet" / "run").exists()


def test_an_error_of_the_first_process_is_the_error_of_all(tmp_path):
    for rank in range(2):
        write_images(tmp_path / str(rank) / "images", num_images=20)
    (tmp_path / "meet").mkdir()
    (tmp_path / "meet" / "run").mkdir()
    (tmp_path / "meet" / "run" / "mine.txt").write_text("not to be touched")
    workers = start(train_where_it_stands, tmp_path / "meet", tmp_path, world_size=2)
    assert exit_codes(workers) == [0, 0]
    said = {(tmp_path / "meet" / f"error-{rank}").read_text() for rank in range(2)}
    assert len(said) == 1
    assert "exists already and is not empty" in said.pop()


def write_images(folder, num_images):
    """Two classes of grey stripes, one of them with an image more where the number is odd."""
    rng = np.random.default_rng(0)
    for number, name in enumerate(("across", "along")):
        (folder / name).mkdir(parents=True)
        for place in range(20 if number else num_images):
            pixels = rng.integers(0, 60, (12, 12), dtype=np.uint8)
            pixels[::2] += np.uint8(100 * number)
            Image.fromarray(pixels).save(folder / name / f"{place:02}.png")


def test_weights_that_cannot_be_shared_out():
    recipe = SHARED_RECIPES["everything random"]
    with pytest.raises(
        InputError, match=r"^weights are shared out over several processes but there is one; add --devices N$"
    ):
        check_sharding(recipe, 1)
    with pytest.raises(
        InputError, match=r"^shared-out weights do not go with a moving average of the weights; use --train all"
    ):
        check_sharding(recipe, 2)
    with pytest.raises(
        InputError, match=r"^shared-out weights do not go with gradual unfreezing or a frozen base or a moving average"
    ):
        check_sharding(SHARED_RECIPES["gradual, three batches an update"], 2)
    check_sharding(SHARED_RECIPES["weights shared out"], 2)
