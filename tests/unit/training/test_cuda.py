"""What only a CUDA device can show: steps replayed as graphs compute what they did kernel by kernel, and runs on a
device are runs.
"""

import copy
import json
import math
import random
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from striate.data.augmentation_settings import Augmentation
from striate.errors import NonFiniteLoss
from striate.evaluation.evaluate_network import accumulate
from striate.tasks.classification.loss import ClassificationLoss
from striate.tasks.classification.task import Classification
from striate.training.frozen.layer_groups import layer_groups
from striate.training.optimizers import build_optimizer
from striate.training.recipe import OptimizerConfig
from striate.training.speed.autotune import Mode, measure_modes, possible_modes
from striate.training.speed.cuda_graphs import NUM_WARM_STEPS, AsynchronousSteps, can_run_asynchronously
from striate.training.step import Batch, train_step
from training_cases import Recorder, TinyNet, full_recipe, tiny_feed, tiny_recipe, train_tiny

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")

NESTEROV = OptimizerConfig("nesterov", learning_rate=0.05, weight_decay=1e-3)
ADAMW = OptimizerConfig("adamw", learning_rate=0.01)
MUON = OptimizerConfig("muon", learning_rate=0.02, momentum=0.6, weight_decay=0.1, use_unit_filters=True)
NUM_STEPS = NUM_WARM_STEPS + 5


def gpu_fabric(precision="32-true"):
    fabric = Fabric(accelerator="gpu", devices=1, precision=precision)
    fabric.launch()
    return fabric


def made(config=NESTEROV, network=None, precision="32-true"):
    fabric = gpu_fabric(precision)
    network = (network or TinyNet()).to(fabric.device).train()
    optimizer = build_optimizer(config, layer_groups(network))
    return network, fabric.setup_module(network, move_to_device=False), optimizer, fabric


def batch(number, size=8):
    generator = torch.Generator().manual_seed(number)
    images = torch.randn(size, 1, 8, 8, generator=generator)
    return Batch(images.cuda(), (torch.arange(size) % 3).cuda())


def queued(model, optimizer, fabric, **changes):
    told = []
    values = {"max_grad_norm": math.inf, "use_graphs": True, "log": told.append, **changes}
    return AsynchronousSteps(model, ClassificationLoss(), optimizer, fabric, **values), told


@pytest.mark.parametrize("config", [NESTEROV, ADAMW, MUON], ids=lambda config: config.name)
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_graph_makes_the_steps_that_its_kernels_make(config, precision):
    plain, plain_model, plain_optimizer, fabric = made(config, precision=precision)
    network, model, optimizer, own_fabric = made(config, precision=precision)
    assert can_run_asynchronously(optimizer, own_fabric)
    queue, told = queued(model, optimizer, own_fabric, max_grad_norm=1.0)
    expected, found = [], []
    for number in range(NUM_STEPS):
        size = 5 if number == NUM_STEPS - 2 else 8  # one that the graph does not fit
        step = batch(number, size)
        expected.append(
            train_step(
                plain_model, [step], ClassificationLoss(), plain_optimizer, fabric, seed=number, max_grad_norm=1.0
            )
        )
        queue.update([step], seed=number, place=str(number))
        found += queue.done()
    found += queue.done(wait=True)
    assert told == []
    assert queue.graph is not None
    results = [update.result(model) for update in found]
    tolerance = 1e-4 if precision == "32-true" else 2e-2
    assert [result.loss_sum for result in results] == pytest.approx([e.loss_sum for e in expected], rel=tolerance)
    assert [result.grad_norm for result in results] == pytest.approx(
        [e.grad_norm for e in expected], rel=10 * tolerance
    )
    assert [result.num_images for result in results] == [e.num_images for e in expected]
    for ours, theirs in zip(plain.state_dict().values(), network.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=10 * tolerance, atol=tolerance)


class DrawsOnTheProcessor(TinyNet):
    def forward(self, images):
        return super().forward(images) * (0.5 + torch.rand(()).item())


class DrawsInPython(TinyNet):
    def forward(self, images):
        return super().forward(images) * (0.5 + random.random())


class LooksAtItsNumbers(TinyNet):
    def forward(self, images):
        logits = super().forward(images)
        return logits if logits.sum().item() < 1e9 else logits / 2


class Counts(TinyNet):
    """A network with a state outside its buffers, which a graph would freeze."""

    calls = 0

    def forward(self, images):
        self.calls += 1
        return super().forward(images) * self.calls


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (DrawsOnTheProcessor, "the network draws numbers on the processor"),
        (DrawsInPython, "the network draws numbers on the processor"),
        (LooksAtItsNumbers, "captur"),
        (Counts, "a graph of its kernels computes something else"),
    ],
)
def test_what_no_graph_can_hold_goes_kernel_by_kernel(network, reason):
    plain, plain_model, plain_optimizer, fabric = made(network=network())
    own, model, optimizer, own_fabric = made(network=network())
    queue, told = queued(model, optimizer, own_fabric)
    if network is Counts:
        plain_model, fabric = None, None  # its calls while a graph is tried count, so there is nothing to compare with
    for number in range(NUM_STEPS):
        if plain_model is not None:
            random.seed(number)
            train_step(plain_model, [batch(number)], ClassificationLoss(), plain_optimizer, fabric, seed=number)
        random.seed(number)
        queue.update([batch(number)], seed=number, place="")
    results = [update.result(model) for update in queue.done(wait=True)]
    assert len(told) == 1
    assert reason in told[0]
    assert queue.graph is None
    assert all(math.isfinite(result.loss_sum) for result in results)
    assert torch.rand(3, device="cuda").isfinite().all()  # the device's streams still work
    if plain_model is not None:
        for ours, theirs in zip(plain.state_dict().values(), own.state_dict().values(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_a_replayed_update_that_is_not_finite_changes_nothing():
    network, model, optimizer, fabric = made()
    queue, _ = queued(model, optimizer, fabric)
    for number in range(NUM_STEPS):
        queue.update([batch(number)], seed=number, place="good")
    before = {name: param.clone() for name, param in network.named_parameters()}
    images, targets = torch.full((8, 1, 8, 8), math.nan, device="cuda"), batch(0).targets
    queue.update([Batch(images, targets)], seed=1, place="bad")
    queue.update([batch(1)], seed=2, place="after")
    updates = queue.done(wait=True)
    bad = next(update for update in updates if update.place == "bad")
    with pytest.raises(NonFiniteLoss, match="the loss is nan"):
        bad.result(model)
    assert all(torch.equal(before[name], param) for name, param in network.named_parameters())


@pytest.mark.parametrize(
    "recipe",
    [
        tiny_recipe(use_cuda_graphs=True, ema_decay=0.9, augmentation=Augmentation(flip=True, shift_px=1)),
        full_recipe(),
        tiny_recipe(precision="bf16-mixed", use_channels_last=True, use_cuda_graphs=True),
        tiny_recipe(precision="16-mixed"),
        tiny_recipe(optimizer=OptimizerConfig("adagrad", learning_rate=0.01)),
        tiny_recipe(freeze="gradual", use_cuda_graphs=True, epochs=4),
    ],
    ids=["graphs", "full", "bf16", "fp16", "adagrad", "gradual"],
)
def test_a_run_on_a_device_learns_and_ends_near_one_on_the_processor(tmp_path, recipe):
    recorder = Recorder()
    network, result = train_tiny(tmp_path / "gpu", recipe, fabric=gpu_fabric(recipe.precision), observer=recorder)
    assert result.status == "finished"
    assert recorder.notices == []
    assert next(network.parameters()).is_cuda
    assert recorder.records[-1]["train_loss"] < recorder.records[0]["train_loss"]
    if recipe.precision == "32-true":
        changed = recipe.to_json() | {"use_cuda_graphs": False}
        train_tiny(tmp_path / "cpu", type(recipe).from_json(changed))
        lines = [json.loads((tmp_path / name / "metrics.jsonl").read_text().splitlines()[0]) for name in ("gpu", "cpu")]
        assert lines[0]["train_loss"] == pytest.approx(lines[1]["train_loss"], rel=0.1)  # dropout draws others there


def test_a_stopped_run_goes_on_as_if_it_never_stopped(tmp_path, monkeypatch):
    recipe = tiny_recipe(use_cuda_graphs=True, epochs=4, ema_decay=0.9)
    whole, _ = train_tiny(tmp_path / "whole", recipe, fabric=gpu_fabric())
    monkeypatch.setattr("striate.training.session.SHOW_EVERY_S", 0.0)
    recorder = Recorder(hook=lambda info: signal.raise_signal(signal.SIGINT) if info.step >= 6 else None)
    _, stopped = train_tiny(tmp_path / "parts", recipe, fabric=gpu_fabric(), observer=recorder)
    parts, result = train_tiny(tmp_path / "parts", recipe, fabric=gpu_fabric(), resume=True)
    assert result.status == "finished"
    assert stopped.status == "interrupted"
    assert stopped.steps < result.steps
    for ours, theirs in zip(whole.state_dict().values(), parts.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-2, atol=1e-3)


def test_the_loss_that_went_bad_is_named(tmp_path):
    recipe = tiny_recipe(optimizer=OptimizerConfig("sgd", learning_rate=1e30), use_cuda_graphs=True)
    with pytest.raises(
        NonFiniteLoss, match=r"in epoch 1, batch [23], learning rate 1e\+30; the rate is probably too high"
    ):
        train_tiny(tmp_path, recipe, fabric=gpu_fabric())


def test_modes_are_measured_on_a_device(monkeypatch):
    from striate.training.speed import autotune as modes

    monkeypatch.setattr(modes, "LONG_RUN_S", 0.0)
    device, recipe = torch.device("cuda"), tiny_recipe(use_cuda_graphs=True, num_threads=1)
    tried = possible_modes(recipe, device, has_fast_bf16=True, thread_counts=())
    assert len(tried) == 4
    timings = measure_modes(TinyNet(), recipe, tiny_feed(), tried, gpu_fabric)
    assert all(timing.images_per_s > 0 for timing in timings)
    assert all(timing.reason is None for timing in timings)
    assert timings[0].mode == Mode("32-true", False, 1, True)


def test_float32_is_judged_in_float32_whatever_the_device():
    network = nn.Sequential(nn.Conv2d(3, 64, 3), nn.ReLU(), nn.Conv2d(64, 64, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    images = torch.randn(16, 3, 32, 32)
    on_cpu, on_gpu = (Classification(tuple(map(str, range(64)))).accumulator() for _ in range(2))
    accumulate(on_cpu, copy.deepcopy(network), [images], np.arange(16), torch.from_numpy)
    accumulate(on_gpu, network.cuda(), [images.cuda()], np.arange(16), torch.from_numpy)
    assert on_gpu.arrays()["losses"] == pytest.approx(on_cpu.arrays()["losses"], rel=1e-5)
    assert torch.backends.cudnn.conv.fp32_precision == "tf32"  # as it was


def test_weights_trained_on_a_device_answer_alike_on_the_processor(tmp_path):
    network, _ = train_tiny(tmp_path, tiny_recipe(use_cuda_graphs=True), fabric=gpu_fabric())
    images = torch.randn(16, 1, 8, 8)
    network.eval()
    with torch.no_grad():
        torch.testing.assert_close(network(images.cuda()).cpu(), network.cpu()(images), rtol=1e-3, atol=1e-3)


def test_the_whole_command_runs_there(tmp_path):
    def striate(*words):
        done = subprocess.run(
            [sys.executable, "-m", "striate", *words], capture_output=True, text=True, cwd=tmp_path, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    trained = json.loads(striate("train", "digits", "--device", "cuda", "--epochs", "5", "--run", "run", "--json"))
    described = json.loads((tmp_path / "run" / "run.json").read_text())
    assert described["recipe"]["use_cuda_graphs"]
    assert described["notices"] == []
    assert trained["evaluation"]["top1_accuracy"] > 0.9
    figures = [json.loads(striate("evaluate", "run", "--device", device, "--json")) for device in ("cuda", "cpu")]
    assert figures[0]["top1_accuracy"] == figures[1]["top1_accuracy"]
    assert figures[0]["negative_log_likelihood"] == pytest.approx(figures[1]["negative_log_likelihood"], rel=1e-4)
