import copy
import dataclasses
import errno
import itertools
import json
import math
import os
import resource
import signal
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from striate.errors import InputError, NonFiniteLoss, RunError
from striate.evaluation.evaluate_network import evaluate
from striate.processor import has_cpp_compiler
from striate.tasks.classification import figures
from striate.training import checkpoints, validation
from striate.training.recipe import OptimizerConfig, ScheduleConfig
from striate.training.session import Session
from training_cases import (
    Found,
    Recorder,
    TinyNet,
    cpu_fabric,
    equal_states,
    full_recipe,
    tiny_feed,
    tiny_recipe,
    train_tiny,
)


def lines(run_dir):
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


def test_a_run_learns_logs_and_keeps_the_best(tmp_path):
    best = []

    def on_best(weights, epoch, record):
        best.append((epoch, record["validation_accuracy"], copy.deepcopy(weights)))

    observer = Recorder()
    _, result = train_tiny(tmp_path, tiny_recipe(epochs=6), on_best=on_best, observer=observer, use_checks=True)
    records = lines(tmp_path)
    assert (result.status, result.epochs, result.steps) == ("finished", 6, 36)
    assert records == observer.records
    assert [record["epoch"] for record in records] == [1, 2, 3, 4, 5, 6]
    assert set(records[0]) == {
        "kind", "epoch", "step", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy",
        "learning_rate", "images_per_s", "elapsed_s", "is_kept",
    }  # fmt: skip
    assert records[-1]["train_loss"] < records[0]["train_loss"]
    assert result.best.validation_score == max(record["validation_accuracy"] for record in records) == 1.0
    assert best[-1][:2] == (result.best.epoch, 1.0)
    kept = TinyNet()
    kept.load_state_dict(best[-1][2])
    loader = tiny_feed()
    again = evaluate(kept, loader.preprocessing, loader.packed, loader.validation, loader.annotations, loader.task)
    assert again.negative_log_likelihood == pytest.approx(result.best.validation_loss)
    assert len(observer.checks) == len(result.checks) == 4
    assert (observer.start.num_steps, observer.start.steps_per_epoch, observer.start.step) == (36, 6, 0)
    assert observer.num_ends == 1


@pytest.fixture
def some_figures(monkeypatch):
    figures = itertools.cycle([(0.5, 1.0), (0.9, 0.8), (0.9, 0.7), (0.9, 0.7), (0.8, 0.1)])
    monkeypatch.setattr("striate.training.session.validate", lambda *_, **__: Found(*next(figures)))


@pytest.mark.usefixtures("some_figures")
@pytest.mark.parametrize(("least_save_s", "written"), [(0.0, [1, 2, 3]), (60.0, [3])])
def test_equal_accuracy_is_decided_by_loss_and_a_quick_run_writes_its_best_once(
    tmp_path, monkeypatch, least_save_s, written
):
    monkeypatch.setattr(Session, "_least_save_s", lambda _: least_save_s)  # as on a GPU
    kept = {}
    _, result = train_tiny(
        tmp_path,
        tiny_recipe(epochs=5),
        on_best=lambda weights, epoch, record: kept.update({epoch: (weights["fc.bias"].clone(), record["epoch"])}),
    )
    assert list(kept) == written
    assert kept[3][1] == 3
    assert dataclasses.astuple(result.best) == (3, 0.9, 0.7)
    assert torch.equal(kept[3][0], train_tiny(tmp_path / "short", tiny_recipe(epochs=3))[0].fc.bias)


def test_the_best_is_written_before_a_loss_goes_bad(tmp_path, monkeypatch):
    def validate(*_, **__):
        if next(numbers) == 2:
            raise NonFiniteLoss("the network answers NaN")
        return Found(0.5, 1.0)

    numbers, epochs = iter(range(9)), []
    monkeypatch.setattr("striate.training.session.validate", validate)
    monkeypatch.setattr(Session, "_least_save_s", lambda _: 60.0)
    with pytest.raises(NonFiniteLoss, match="after epoch 3"):
        train_tiny(tmp_path, on_best=lambda _weights, epoch, _record: epochs.append(epoch))
    assert epochs == [1]


def test_same_seed_same_weights_and_the_callers_streams_are_untouched(tmp_path):
    before = torch.get_rng_state()
    first, _ = train_tiny(tmp_path / "a", full_recipe())
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(7)
    second, _ = train_tiny(tmp_path / "b", full_recipe())
    other, _ = train_tiny(tmp_path / "c", full_recipe(seed=1))
    assert equal_states(first, second)
    assert not equal_states(first, other)


def test_checks_change_nothing(tmp_path):
    first, _ = train_tiny(tmp_path / "a", use_checks=True)
    second, _ = train_tiny(tmp_path / "b", use_checks=False)
    assert equal_states(first, second)


def test_modes_and_gradients_come_back(tmp_path):
    network = TinyNet().eval()
    network.conv1.weight.requires_grad_(False)
    frozen = network.conv1.weight.clone()
    train_tiny(tmp_path, network=network)
    assert not any(module.training for module in network.modules())
    assert [name for name, param in network.named_parameters() if not param.requires_grad] == ["conv1.weight"]
    assert all(param.grad is None for param in network.parameters())
    assert torch.equal(network.conv1.weight, frozen)


def test_a_frozen_base_does_not_move_and_neither_do_its_statistics(tmp_path):
    before = TinyNet().state_dict()
    network, _ = train_tiny(tmp_path, tiny_recipe(freeze="base"))
    moved = [name for name, value in network.state_dict().items() if not torch.equal(value, before[name])]
    assert moved == ["fc.weight", "fc.bias"]


def test_gradual_unfreezing_opens_the_base_later(tmp_path):
    network, open_at = TinyNet(), []
    train_tiny(
        tmp_path,
        tiny_recipe(freeze="gradual", epochs=4),
        network=network,
        observer=Recorder(lambda info: open_at.append((info.epoch, network.conv1.weight.requires_grad))),
        checkpoint_every_s=0.0,
    )
    assert (1, False) in open_at
    before = TinyNet().state_dict()
    moved = [name for name, value in network.state_dict().items() if not torch.equal(value, before[name])]
    assert "conv1.weight" in moved


def test_the_average_is_what_is_judged_and_kept(tmp_path):
    best = []
    network, result = train_tiny(
        tmp_path,
        tiny_recipe(ema_decay=0.99, epochs=1),
        on_best=lambda weights, _epoch, _record: best.append({name: value.clone() for name, value in weights.items()}),
    )
    assert not torch.equal(best[0]["fc.weight"], network.fc.weight)
    average = TinyNet()
    average.load_state_dict(best[0])
    loader = tiny_feed()
    found = evaluate(average, loader.preprocessing, loader.packed, loader.validation, loader.annotations, loader.task)
    assert found.negative_log_likelihood == pytest.approx(result.best.validation_loss)


@pytest.mark.parametrize("name", ["nesterov", "adam", "muon"])
def test_gradual_unfreezing_with_decay_and_state(tmp_path, name):
    optimizer = OptimizerConfig(name, learning_rate=0.01, weight_decay=1e-3)
    _, result = train_tiny(tmp_path, tiny_recipe(optimizer=optimizer, freeze="gradual", epochs=4))
    assert result.best.validation_score > 0.8


@pytest.mark.parametrize("name", ["sgd", "momentum", "adagrad", "rmsprop", "adam", "muon", "lbfgs"])
def test_every_optimizer_trains(tmp_path, name):
    rate = {"adagrad": 0.05, "rmsprop": 0.001, "adam": 0.01, "lbfgs": 1.0}.get(name, 0.05)
    recipe = tiny_recipe(optimizer=OptimizerConfig(name, learning_rate=rate), epochs=4)
    _, result = train_tiny(tmp_path, recipe)
    assert result.best.validation_score > 0.8


def test_class_weights_and_bfloat16(tmp_path):
    fabric = cpu_fabric(precision="bf16-mixed")
    _, result = train_tiny(tmp_path, tiny_recipe(use_class_weights=True, precision="bf16-mixed"), fabric=fabric)
    assert result.best.validation_score > 0.8


def test_plateau_lowers_the_logged_rate(tmp_path, monkeypatch):
    monkeypatch.setattr("striate.training.session.validate", lambda *_, **__: Found(0.5, 1.0))
    train_tiny(tmp_path, tiny_recipe(schedule=ScheduleConfig("plateau", patience=0, factor=0.5), epochs=4))
    assert [record["learning_rate"] for record in lines(tmp_path)] == pytest.approx([0.01, 0.01, 0.005, 0.0025])


def test_a_rate_that_is_too_high_stops_with_place_and_cause(tmp_path):
    recipe = tiny_recipe(optimizer=OptimizerConfig("sgd", learning_rate=1e30), epochs=2)
    with pytest.raises(
        NonFiniteLoss,
        match=r"^the (loss|gradient of .*) is .* in epoch 1, batch \d, learning rate 1e\+30; the rate is probably too "
        r"high: "
        r"lower it, set max_grad_norm, or scan for a good one \(--find-rate\). Nothing was updated with it$",
    ):
        train_tiny(tmp_path, recipe)


def test_weights_that_are_not_finite_are_told_apart_from_images(tmp_path):
    network = TinyNet()
    nn.init.constant_(network.fc.bias, math.inf)
    with pytest.raises(NonFiniteLoss, match=r"the weights that the run starts from are not finite: the file they came"):
        train_tiny(tmp_path / "a", network=network)
    loader = tiny_feed()
    object.__setattr__(loader.preprocessing, "mean", (math.inf,))  # which the constructor refuses
    with pytest.raises(NonFiniteLoss, match=r"the prepared images are not finite: look at the preprocessing"):
        train_tiny(tmp_path / "b", loader=loader)


def test_validation_that_is_not_finite_says_after_which_epoch(tmp_path, monkeypatch):
    def fail(*_arguments, **_options):
        raise NonFiniteLoss("the network answers image 3 with NaN or infinity")

    monkeypatch.setattr(figures, "figures_of", fail)
    with pytest.raises(NonFiniteLoss, match=r"image 3 with NaN or infinity \(validation after epoch 1\)$"):
        train_tiny(tmp_path)


def test_the_last_good_checkpoint_stays_when_the_loss_breaks(tmp_path):
    network = TinyNet()

    def poison(info):
        if info.epoch == 2:
            nn.init.constant_(network.fc.bias, math.nan)

    recorder = Recorder(poison)
    with pytest.raises(NonFiniteLoss, match=r"in epoch 2, batch"):
        train_tiny(tmp_path, network=network, observer=recorder, checkpoint_every_s=1e9)
    assert recorder.num_ends == 1
    again, result = train_tiny(tmp_path, resume=True)
    assert result.status == "finished"
    assert equal_states(again, train_tiny(tmp_path / "other")[0])


@pytest.fixture(autouse=True)
def every_step_is_shown(monkeypatch):
    monkeypatch.setattr("striate.training.session.SHOW_EVERY_S", 0.0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_between_steps_and_it_goes_on_exactly(tmp_path, number):
    def interrupt(info):
        if info.step == 10:
            signal.raise_signal(number)

    _, result = train_tiny(tmp_path, full_recipe(), observer=Recorder(interrupt))
    assert (result.status, result.steps, result.epochs) == ("interrupted", 10, 1)
    observer = Recorder()
    network, result = train_tiny(tmp_path, full_recipe(), resume=True, observer=observer)
    assert result.status == "finished"
    assert observer.start.step == 10
    assert equal_states(network, train_tiny(tmp_path / "other", full_recipe())[0])


@pytest.mark.parametrize("name", ["nesterov", "adamw", "rmsprop", "muon"])
def test_a_network_laid_out_channels_last_goes_on_exactly(tmp_path, name):
    def network():
        return TinyNet().to(memory_format=torch.channels_last)

    def interrupt(info):
        if info.step == 10:
            signal.raise_signal(signal.SIGINT)

    recipe = full_recipe(optimizer=OptimizerConfig(name, learning_rate=0.01))
    train_tiny(tmp_path, recipe, network=network(), observer=Recorder(interrupt))
    resumed, _ = train_tiny(tmp_path, recipe, network=network(), resume=True)
    assert equal_states(resumed, train_tiny(tmp_path / "other", recipe, network=network())[0])


@pytest.mark.skipif(not has_cpp_compiler(), reason="no C++ compiler here")
def test_a_compiled_run_goes_on_exactly(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "code"))
    recipe = tiny_recipe(use_compile=True, batch_size=15)

    def interrupt(info):
        if info.step == 4:
            signal.raise_signal(signal.SIGINT)

    _, stopped = train_tiny(tmp_path / "run", recipe, observer=Recorder(interrupt))
    assert (stopped.status, stopped.steps) == ("interrupted", 4)
    torch.compiler.reset()  # as in a new process
    resumed, _ = train_tiny(tmp_path / "run", recipe, resume=True)
    torch.compiler.reset()
    assert equal_states(resumed, train_tiny(tmp_path / "other", recipe)[0])
    plain, _ = train_tiny(tmp_path / "plain", tiny_recipe(batch_size=15))
    assert not equal_states(resumed, plain)  # other dropout masks, other rounding: it was compiled


def test_a_signal_during_validation_repeats_only_the_validation(tmp_path, monkeypatch):
    real = validation.accumulate

    def interrupted(*arguments, **options):
        signal.raise_signal(signal.SIGINT)
        return real(*arguments, **options)

    monkeypatch.setattr(validation, "accumulate", interrupted)
    _, result = train_tiny(tmp_path)
    assert (result.status, result.steps, result.epochs) == ("interrupted", 6, 0)
    monkeypatch.setattr(validation, "accumulate", real)
    network, result = train_tiny(tmp_path, resume=True)
    other, _ = train_tiny(tmp_path / "other")
    assert equal_states(network, other)
    assert without_times(lines(tmp_path)) == without_times(lines(tmp_path / "other"))


def without_times(records):
    return [{key: value for key, value in record.items() if not key.endswith("_s")} for record in records]


def test_resuming_a_finished_run_does_nothing(tmp_path):
    first, result = train_tiny(tmp_path)
    second, again = train_tiny(tmp_path, resume=True)
    assert equal_states(first, second)
    assert (again.status, again.steps, again.best) == ("finished", result.steps, result.best)
    assert len(lines(tmp_path)) == 3


def test_resuming_before_the_first_checkpoint_starts_over_and_says_so(tmp_path):
    observer = Recorder()
    network, _ = train_tiny(tmp_path, resume=True, observer=observer)
    assert observer.notices == ["the run has no checkpoint yet: starting it from the beginning"]
    assert equal_states(network, train_tiny(tmp_path / "other")[0])


def test_a_torn_checkpoint_costs_an_epoch_and_not_the_run(tmp_path):
    train_tiny(tmp_path, full_recipe())
    newest = max((tmp_path / "checkpoint").glob("*.safetensors"))
    newest.write_bytes(newest.read_bytes()[:100])
    observer = Recorder()
    network, _ = train_tiny(tmp_path, full_recipe(), resume=True, observer=observer)
    assert observer.notices[0].startswith(f"checkpoint {newest.stem} is damaged")
    assert equal_states(network, train_tiny(tmp_path / "other", full_recipe())[0])
    assert without_times(lines(tmp_path)) == without_times(lines(tmp_path / "other"))


def test_lost_lines_of_metrics_are_noticed(tmp_path):
    train_tiny(tmp_path)
    (tmp_path / "metrics.jsonl").write_text("")
    observer = Recorder()
    train_tiny(tmp_path, resume=True, observer=observer)
    assert observer.notices == [f"lines of {tmp_path / 'metrics.jsonl'} are lost; the run itself goes on"]


def test_what_a_run_cannot_go_on_with(tmp_path):
    train_tiny(tmp_path)
    with pytest.raises(RunError, match=r"holds a run already; resume it, or choose another folder$"):
        train_tiny(tmp_path)
    with pytest.raises(
        RunError, match=r"^the run was started with another recipe \(batch_size, seed changed\); resume it"
    ):
        train_tiny(tmp_path, tiny_recipe(seed=5, batch_size=9), resume=True)
    with pytest.raises(
        RunError, match=r"^the images, labels, splits or preprocessing are not those that the run was st"
    ):
        train_tiny(tmp_path, loader=tiny_feed(num_images=61), resume=True)

    class Wider(TinyNet):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(96, 4)

    with pytest.raises(RunError, match=r"^the checkpoint is of another network: fc.bias and 1 more do not fit; resume"):
        train_tiny(tmp_path, network=Wider(), resume=True)


def test_other_surroundings_are_told(tmp_path):
    train_tiny(tmp_path)
    observer, threads = Recorder(), torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        train_tiny(tmp_path, resume=True, observer=observer)
    finally:
        torch.set_num_threads(threads)
    assert observer.notices == [
        f"the run goes on with num_threads {threads + 1} and was at {threads}: results can differ in the last digits"
    ]


def test_recipes_that_cannot_be_run(tmp_path):
    with pytest.raises(
        InputError, match=r"^one_cycle rises by itself; set warmup to 0, or take the cosine schedule with"
    ):
        train_tiny(tmp_path, tiny_recipe(schedule=ScheduleConfig("one_cycle", warmup=0.1)))
    with pytest.raises(
        InputError,
        match=r"^lbfgs runs in one process and without 16-bit loss scaling; use adamw, or --precision float32",
    ):
        train_tiny(tmp_path, tiny_recipe(optimizer=OptimizerConfig("lbfgs"), precision="16-mixed"))
    with pytest.raises(
        InputError, match=r"^batch_size is 46 but there are only 45 training images; ask for at most 45$"
    ):
        train_tiny(tmp_path, tiny_recipe(batch_size=46))


def test_a_full_disk_ends_the_run_and_it_can_go_on(tmp_path):
    """The operating system's own refusal, in the middle of the second epoch."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(info):
        if info.step == 8:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, limits[1]))

    try:
        with pytest.raises(RunError, match=r"^the disk is full: cannot write .*; free some space and resume the run$"):
            train_tiny(tmp_path, full_recipe(), observer=Recorder(fill))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    network, result = train_tiny(tmp_path, full_recipe(), resume=True)
    assert result.status == "finished"
    assert equal_states(network, train_tiny(tmp_path / "other", full_recipe())[0])
    assert not list((tmp_path / "checkpoint").glob(".*"))


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, monkeypatch):
    def fail(_path, _data):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(checkpoints, "write_atomically", fail)
    with pytest.raises(
        RunError, match=r"^cannot write .*: Read-only file system; make it writable and resume the run$"
    ):
        train_tiny(tmp_path)


def test_batch_norm_never_meets_a_batch_of_one(tmp_path):
    loader = tiny_feed(num_images=8 * 3 + 1 + 15)
    sizes = []

    class Watching(TinyNet):
        def forward(self, images):
            if self.training:
                sizes.append(len(images))
            return super().forward(images)

    train_tiny(tmp_path, tiny_recipe(epochs=1), loader=loader, network=Watching())
    assert sizes == [8, 8, 9]


def test_one_image_a_batch_is_allowed_where_nothing_forbids_it(tmp_path):
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    _, result = train_tiny(tmp_path, tiny_recipe(batch_size=1, epochs=1), network=network)
    assert result.steps == 45


def test_no_warning_escapes_and_no_thread_stays(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train_tiny(tmp_path)


def test_progress_figures_make_sense(tmp_path):
    observer = Recorder()
    train_tiny(tmp_path, observer=observer)
    assert [info.step for info in observer.steps] == list(range(1, 19))
    assert observer.steps[-1].eta_s == 0
    assert all(info.images_per_s > 0 and np.isfinite(info.grad_norm) for info in observer.steps)
    assert [info.epoch for info in observer.steps] == [1] * 6 + [2] * 6 + [3] * 6
