"""`striate attack` on a trained model: figures, page, saved images, refusals."""

import csv

import pytest

import striate

KEYS = {"num_images", "clean_accuracy", "robust_accuracy", "robust_interval", "norm", "epsilon", "attacks", "warnings"}
ATTACK_KEYS = {
    "method", "robust_accuracy", "num_steps", "num_restarts", "num_queries", "max_change", "mean_change", "seconds",
}  # fmt: skip


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory):
    """A small network trained for three epochs on the embedded digits."""
    folder = tmp_path_factory.mktemp("attacked")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STRIATE_CACHE", str(folder / "cache"))
        choices = striate.Choices(network="lenet5", epochs=3, seed=0)
        return striate.train("digits", choices, run=folder / "run", run_checks=False, measure=False, device="cpu").path


def test_suite_page_and_images(striate_command, digits_run, tmp_path):
    done = striate_command(
        "attack", digits_run, "--limit", 40, "--suite", "quick", "--epsilon", "0.3", "--json",
        "--html", tmp_path / "page.html", "--save", tmp_path / "saved",
    )  # fmt: skip
    assert done.code == 0, done.err
    figures = done.json
    assert figures.keys() >= KEYS
    assert all(each.keys() >= ATTACK_KEYS for each in figures["attacks"])
    assert figures["num_images"] == 40
    assert figures["robust_accuracy"] < figures["clean_accuracy"]
    assert max(each["max_change"] for each in figures["attacks"]) <= 0.3 + 1e-6
    assert figures["curve"][0]["robust_accuracy"] == pytest.approx(figures["clean_accuracy"])
    page = (tmp_path / "page.html").read_text()
    assert "robust accuracy" in page
    assert page.count("data:image/png") % 3 == 0
    assert "<svg" in page
    with (tmp_path / "saved" / "adversarials.csv").open() as file:
        assert len(list(csv.DictReader(file))) == round(40 * (figures["clean_accuracy"] - figures["robust_accuracy"]))


def test_noise_does_little(striate_command, digits_run):
    figures = striate_command(
        "attack", digits_run, "--limit", 40, "--method", "noise", "--epsilon", "0.05", "--json"
    ).json
    assert figures["robust_accuracy"] >= figures["clean_accuracy"] - 0.1


def test_targets_and_a_table(striate_command, digits_run):
    done = striate_command(
        "attack", digits_run, "--limit", 20, "--method", "pgd", "--target", "random", "--steps", 10, "--no-checks"
    )
    assert done.code == 0
    assert "robust accuracy" in done.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--epsilon", "8"], "did you mean 8/255"),
        (["--epsilon", "much"], "--epsilon must be a number such as 0.03 or 8/255"),
        (["--method", "pgdd"], "did you mean pgd"),
        (["--method", "pgd", "--suite", "quick"], "not both"),
        (["--suite", "quick", "--steps", "3"], "a suite fixes its steps"),
        (["--suite", "slow"], "suite must be one of quick, standard"),
        (["--method", "deepfool", "--norm", "l1"], "deepfool measures by l2 or linf, not l1"),
        (["--method", "fgsm", "--steps", "3"], "fgsm takes no --steps"),
        (["--target", "eleven"], "target must be least_likely, random or a class of the model"),
    ],
)
def test_requests_that_cannot_be_met(striate_command, digits_run, words, message):
    assert message in striate_command("attack", digits_run, "--limit", 10, *words).refused()
