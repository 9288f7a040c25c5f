"""Compress real models: on the embedded digits, and the published SqueezeNet."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import striate
from striate.compression.compress import compress
from striate.compression.deep import deep_steps, num_bytes_of, shared_bytes
from striate.compression.images import open_images
from striate.compression.steps import Prune, Share
from striate.data.opening import Access
from striate.errors import InputError

STEPS = (Prune(0.7, rounds=2, epochs=1, last_epochs=2), Share(conv_bits=5, dense_bits=4, epochs=1))


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory) -> Path:
    choices = striate.Choices(network="lenet5", epochs=6, num_threads=1, use_compile=False)
    return striate.train(
        "digits", choices, run=tmp_path_factory.mktemp("runs") / "m", run_checks=False, measure=False
    ).path


def test_deep_compression_of_digits(digits_run, tmp_path):
    out = tmp_path / "small.striate"
    result = compress(digits_run, "digits", out, STEPS)
    lines = result.ledger
    assert [line.step for line in lines] == ["original", "prune", "share"]
    assert lines[0].agreement == 1
    assert lines[-1].file_bytes == out.stat().st_size == result.coding.file_bytes
    assert result.ratio == pytest.approx(4 * 61_706 / out.stat().st_size)
    assert lines[0].num_params == 61_706
    assert lines[-1].num_nonzero < 0.32 * 61_706
    assert lines[-1].effective_macs < lines[0].effective_macs == 416_520
    assert lines[-1].top1_accuracy > lines[0].top1_accuracy - 0.05
    evaluated = striate.evaluate(out, "digits")  # the same images, from the file alone
    assert evaluated.evaluation.top1_accuracy == lines[-1].top1_accuracy
    assert evaluated.split == "test"
    network = striate.load_model(out).network
    assert len(network.conv2.weight.unique()) <= 33
    assert not out.with_name(".small.striate.steps").exists()
    again = compress(out, "digits", tmp_path / "again.striate", [Share(conv_bits=3, dense_bits=3, epochs=0)])
    assert again.coding.file_bytes < result.coding.file_bytes  # a compressed file compressed again


def test_an_interrupted_compression_goes_on_bit_for_bit(digits_run, tmp_path):
    script = (
        "import sys; from pathlib import Path\n"
        "from striate.compression.compress import compress\n"
        "from striate.compression.steps import Prune, Share\n"
        "from striate.training.observer import SilentObserver\n"
        "class Killed(SilentObserver):\n"
        "    def on_epoch(self, record):\n"
        "        if record['epoch'] == 2 and len(sys.argv) > 3: import os, signal; os.kill(os.getpid(), "
        "signal.SIGKILL)\n"
        f"steps = {STEPS!r}\n"
        "compress(sys.argv[1], 'digits', sys.argv[2], steps, observer=Killed)\n"
    )
    whole, broken = tmp_path / "whole.striate", tmp_path / "broken.striate"
    words = [sys.executable, "-c", script, str(digits_run)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    killed = subprocess.run([*words, str(broken), "kill"], env=environment, capture_output=True, timeout=300)
    assert killed.returncode == -signal.SIGKILL
    assert not broken.exists()
    for path in (whole, broken):
        subprocess.run([*words, str(path)], env=environment, check=True, capture_output=True, timeout=300)
    assert whole.read_bytes() == broken.read_bytes()


def test_a_budget_counts_the_bytes_that_the_file_will_have(digits_run):
    """Pruning goes no further than the budget asks: the estimate leaves out what the compressed file leaves out."""
    model = striate.load_model(digits_run)
    images = open_images(model, "digits", Access())
    steps = deep_steps(model, images, ratio=num_bytes_of(model) / 20_000)
    sharing, sparsity = steps[-1], steps[0].sparsity
    assert shared_bytes(model, sharing, sparsity) <= 20_000
    assert shared_bytes(model, sharing, sparsity - 0.02) > 19_400
    assert sparsity < 0.85


def test_a_budget_of_time_and_ignored_epochs_are_refused(digits_run, striate_command):
    words = ("compress", digits_run, "digits", "--deep")
    assert "is '5ms'; for a faster model use --channels" in striate_command(*words, "--budget", "5ms").refused()
    assert "--epochs is for single steps" in striate_command(*words, "--epochs", "1").refused()


def test_bad_wishes_are_named(digits_run, tmp_path):
    with pytest.raises(InputError, match="nearest is"):
        compress(digits_run, "digits", tmp_path / "x", ratio=10_000)
    with pytest.raises(InputError, match="is a folder"):
        compress(digits_run, "digits", tmp_path)
    with pytest.raises(InputError, match="above 1"):
        compress(digits_run, "digits", tmp_path / "x", ratio=0.5)


def test_squeezenet_without_retraining(shared_data, tmp_path):
    """The published file, shared again: the codes shrink and the network stays what it is."""
    weights = next((shared_data / "squeezenet-v1.0-deep-compressed").glob("*.net"))
    model = striate.load_model(f"squeezenet1_0:{weights}")
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    path = tmp_path / "small.striate"
    from striate.compression.model_bytes import bytes_of

    path.write_bytes(bytes_of(model)[0])
    assert path.stat().st_size < 0.85 * weights.stat().st_size
    again = striate.load_model(path)
    assert all(torch.equal(again.network.state_dict()[name], value) for name, value in before.items())
    assert again.class_names == model.class_names


def test_the_command(digits_run, tmp_path):
    words = [sys.executable, "-m", "striate", "compress", str(digits_run), "digits", "--out", str(tmp_path / "s")]
    done = subprocess.run([*words, "--json"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "say what to do to the model" in done.stderr
    done = subprocess.run([*words, "--deep", "--ratio", "999", "--json"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "cannot be reached; the nearest is" in done.stderr


def test_the_package_carries_a_compressed_lenet5(shared_data):
    """`lenet5:mnist` answers offline; its file is small, and right about MNIST's test images."""
    model = striate.load_model("lenet5:mnist")
    packaged = Path(striate.__file__).parent / "weights/packaged/lenet5-mnist.striate"
    assert packaged.stat().st_size < 100_000
    assert model.class_names == tuple("0123456789")
    evaluated = striate.evaluate(model, shared_data / "mnist", split="test").evaluation
    assert evaluated.top1_accuracy > 0.99
