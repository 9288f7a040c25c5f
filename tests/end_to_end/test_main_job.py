"""The main job from the command line, on real files: look, train, evaluate, predict, report."""

import json

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open

import striate
from end_to_end.conftest import striped, write_folder

QUICK = ("--epochs", 6, "--batch-size", 8, "--no-checks")


@pytest.fixture
def run(striate_command, stripes, tmp_path):
    done = striate_command("train", stripes, "--run", tmp_path / "run", *QUICK, "--json")
    assert done.code == 0, done.err
    return tmp_path / "run"


def test_train_writes_a_whole_run_folder(run):
    there = {path.name for path in run.iterdir()}
    assert {
        "run.json",
        "splits.json",
        "metrics.jsonl",
        "model.safetensors",
        "checkpoint",
        "events",
        "report.html",
    } <= there
    described = json.loads((run / "run.json").read_text())
    assert described["status"] == "finished"
    assert described["command"][1] == "train"
    assert described["recipe"]["epochs"] == 6
    assert described["seed"] == 0
    assert len(described["data"]["fingerprint"]) >= 32
    assert described["versions"]["torch"]
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4, 5, 6]
    splits = json.loads((run / "splits.json").read_text())
    names = [name for part in splits.values() for name in part]
    assert len(names) == len(set(names)) == 40
    assert list((run / "events").iterdir())


def test_the_model_file_alone_predicts_and_evaluates(run, striate_command, stripes, tmp_path):
    model = (run / "model.safetensors").rename(tmp_path / "mine.safetensors")
    with safe_open(model, "pt") as file:
        assert "striate" in file.metadata()
    evaluated = striate_command("evaluate", model, "--json").json
    assert evaluated["split"] == "test"
    assert evaluated["num_images"] == 4
    low, high = evaluated["top1_interval"]
    assert 0 <= low <= evaluated["top1_accuracy"] <= high <= 1
    assert evaluated["top5_accuracy"] is None
    assert {row["name"] for row in evaluated["per_class"]} == {"across", "along"}
    predicted = striate_command("predict", model, stripes / "along", "--json")
    assert predicted.code == 0
    assert len(predicted.json["predictions"]) == 20
    first = predicted.json["predictions"][0]
    assert first["path"].endswith("along/000.png")
    assert [guess["index"] for guess in first["classes"]] in ([0, 1], [1, 0])
    assert sum(guess["probability"] for guess in first["classes"]) == pytest.approx(1)


def test_training_evaluation_and_prediction_give_the_same_answers(run, striate_command, stripes):
    """What the run measured on its test part is what evaluate measures and what predict answers, file by file."""
    measured = json.loads((run / "evaluation.json").read_text())
    evaluated = striate_command("evaluate", run, "--json").json
    assert evaluated["top1_accuracy"] == measured["top1_accuracy"]
    assert evaluated["negative_log_likelihood"] == pytest.approx(measured["negative_log_likelihood"], abs=1e-6)
    names = json.loads((run / "splits.json").read_text())["test"]
    predicted = striate_command("predict", run, *(stripes / name for name in names), "--json").json["predictions"]
    losses = []
    for name, prediction in zip(names, predicted, strict=True):
        label = name.split("/")[0]
        (share,) = (guess["probability"] for guess in prediction["classes"] if guess["name"] == label)
        losses.append(-np.log(share))
    assert np.mean(losses) == pytest.approx(measured["negative_log_likelihood"], abs=1e-5)


def test_mean_image_and_a_single_sigmoid_travel_with_the_model(striate_command, stripes, tmp_path):
    run = tmp_path / "sigmoid"
    done = striate_command(
        "train", stripes, "--run", run, "--subtract", "mean_image", "--output", "sigmoid", "--epochs", 6,
        "--batch-size", 8, "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    model = striate.load_model(run)
    assert model.preprocessing.mean_image is not None
    assert model.network_config["num_classes"] == 1
    assert model.class_names == ("across", "along")
    assert done.json["evaluation"]["top1_accuracy"] == 1
    measured = json.loads((run / "evaluation.json").read_text())
    names = json.loads((run / "splits.json").read_text())["test"]
    predicted = striate_command("predict", run, *(stripes / name for name in names), "--json").json["predictions"]
    losses = []
    for name, prediction in zip(names, predicted, strict=True):
        shares = {guess["name"]: guess["probability"] for guess in prediction["classes"]}
        assert sum(shares.values()) == pytest.approx(1)
        losses.append(-np.log(shares[name.split("/")[0]]))
    assert np.mean(losses) == pytest.approx(measured["negative_log_likelihood"], abs=1e-5)
    again = striate_command("train", stripes, "--weights", run, "--output", "sigmoid", *QUICK, "--json")
    assert again.code == 0, again.err
    assert "replaced" not in again.err  # the same classes, the same single output: the head is kept


def test_evaluation_matches_labels_by_name_not_by_order(run, striate_command, tmp_path):
    """A source that lacks the first class: its only class must not slide into the first one's place."""
    other = write_folder(tmp_path / "other", {"along": 6}, seed=77, channels=1)
    for image in (other / "along").iterdir():
        striped(32, 32, False, hash(image.name) % 1000, 1).save(image)
    evaluated = striate_command("evaluate", run, other, "--json").json
    assert evaluated["split"] == "all"
    by_name = {row["name"]: row for row in evaluated["per_class"]}
    assert by_name["along"]["support"] == 6
    assert by_name["across"]["support"] == 0
    assert by_name["along"]["recall"] == evaluated["top1_accuracy"]


def test_unreadable_images_never_stop_the_readable_ones(run, striate_command, stripes, tmp_path):
    torn = tmp_path / "torn.png"
    torn.write_bytes((stripes / "along" / "001.png").read_bytes()[:300])
    words = tmp_path / "words.jpg"
    words.write_text("not a picture")
    predicted = striate_command(
        "predict", run, torn, stripes / "along" / "000.png", words, tmp_path / "none.png", "--json"
    )
    assert predicted.code == 1
    assert [prediction["path"] for prediction in predicted.json["predictions"]] == [str(stripes / "along" / "000.png")]
    assert [error["path"] for error in predicted.json["errors"]] == [str(torn), str(words), str(tmp_path / "none.png")]
    assert all(error["reason"] for error in predicted.json["errors"])


def test_every_command_shows_a_person_something(run, striate_command, stripes):
    assert "across" in striate_command("data", stripes).out
    assert "top-1 accuracy" in striate_command("evaluate", run).out
    assert "along" in striate_command("predict", run, stripes / "along" / "000.png").out
    assert "lenet5" in striate_command("networks").out
    assert "conv1" in striate_command("describe", "lenet5").out
    assert "conv1" in striate_command("describe", run).out
    assert "report.html" in striate_command("report", run).out


def test_data_counts_what_is_there(striate_command, stripes):
    (stripes / "along" / "000.png").write_bytes(b"")
    (stripes / "along" / "copy.png").write_bytes((stripes / "across" / "000.png").read_bytes())
    looked = striate_command("data", stripes, "--json")
    assert looked.code == 0
    assert looked.json["num_images"] == 41
    assert [name for name, _ in looked.json["broken"]] == ["along/000.png"]
    assert looked.json["conflicts"] == [["across/000.png", "along/copy.png"]]


def test_a_broken_image_costs_that_image_and_is_named(striate_command, stripes, tmp_path):
    (stripes / "along" / "000.png").write_bytes(b"")
    done = striate_command("train", stripes, "--run", tmp_path / "run", *QUICK)
    assert done.code == 0
    assert "left out 1 unreadable image: along/000.png is empty" in done.err
    assert json.loads((tmp_path / "run" / "run.json").read_text())["data"]["broken"] == [["along/000.png", "is empty"]]


def test_grey_and_colour_and_spaces_and_foreign_letters(striate_command, tmp_path):
    folder = write_folder(tmp_path / "Bilder mit Räumen", {"größe ä": 10, "日本 語": 10})
    Image.open(folder / "größe ä" / "000.png").convert("L").save(folder / "größe ä" / "grau in grau.png")
    done = striate_command(
        "train", folder, "--network", "lenet5", "--run", tmp_path / "läufe" / "ein lauf", *QUICK, "--json"
    )
    assert done.code == 0, done.err
    predicted = striate_command("predict", tmp_path / "läufe" / "ein lauf", folder / "日本 語", "--json")
    assert {guess["name"] for guess in predicted.json["predictions"][0]["classes"]} == {"größe ä", "日本 語"}


def test_python_does_the_same(run, stripes):
    model = striate.load_model(run)
    assert model.class_names == ("across", "along")
    assert striate.evaluate(model).evaluation.num_images == 4
    (prediction,) = model.predict(stripes / "along" / "000.png").predictions
    assert prediction.classes[0].probability >= 0.5


def test_transfer_from_a_striate_model_with_other_classes(run, striate_command, tmp_path):
    other = write_folder(tmp_path / "three", {"a": 8, "b": 8, "c": 8}, channels=1)
    done = striate_command("train", other, "--weights", run, "--run", tmp_path / "second", *QUICK)
    assert done.code == 0, done.err
    assert "the last layer, head, with 2 outputs is replaced by a new one with 3" in done.err
    assert "head only" in done.err
    before, after = striate.load_model(run).network, striate.load_model(tmp_path / "second").network
    assert before.conv1.weight.equal(after.conv1.weight)
    assert after.head.weight.shape[0] == 3


def test_a_head_for_other_classes_is_replaced_even_where_there_are_as_many(run, striate_command, tmp_path):
    other = write_folder(tmp_path / "two", {"cats": 8, "dogs": 8}, channels=1)
    done = striate_command("train", other, "--weights", run, "--run", tmp_path / "second", *QUICK)
    assert done.code == 0, done.err
    assert "answered for other classes and is replaced" in done.err
    again = striate_command("train", other, "--weights", tmp_path / "second", "--run", tmp_path / "third", *QUICK)
    assert "replaced" not in again.err


def test_find_rate_suggests_and_writes_nothing(striate_command, stripes, tmp_path):
    done = striate_command("train", stripes, "--find-rate", "--batch-size", 8)
    assert done.code == 0, done.err
    assert "--learning-rate" in done.out
    assert not (tmp_path / "runs").exists()


def test_a_named_set_is_found_again_where_it_was(striate_command, shared_data, tmp_path):
    """Trained with --data-dir, evaluated without: the model remembers."""
    mini = shared_data / "fashion-mnist-mini"
    done = striate_command("train", "fashion-mnist", "--data-dir", mini, "--run", tmp_path / "run", *QUICK)
    assert done.code == 0, done.err
    evaluated = striate_command("evaluate", tmp_path / "run", "--json")
    assert evaluated.code == 0, evaluated.err
    assert evaluated.json["num_images"] == 120
    assert evaluated.json["per_class"][0]["name"] == "T-shirt/top"


def test_real_weights_on_real_photos(striate_command, shared_data):
    """NETWORK:WEIGHTS predicts, and its head is replaced for other classes."""
    weights = shared_data / "squeezenet-v1.0-deep-compressed" / "compressed_SqueezeNet.net"
    photo = shared_data / "imagenet-samples" / "n01440764_tench.JPEG"
    predicted = striate_command("predict", f"squeezenet1_0:{weights}", photo, "--json")
    assert predicted.code == 0, predicted.err
    assert predicted.json["predictions"][0]["classes"][0]["name"] == "tench"
    assert len(predicted.json["predictions"][0]["classes"]) == 5


def test_a_frozen_base_runs_once_for_each_view(striate_command, run, stripes, tmp_path):
    """The report says so, the base is untouched, and the run is judged as any other."""
    words = (
        "train",
        stripes,
        "--weights",
        run,
        "--freeze",
        "base",
        "--epochs",
        5,
        "--batch-size",
        8,
        "--no-checks",
        "--json",
    )
    done = striate_command(*words, "--views", 2, "--run", tmp_path / "head")
    assert done.code == 0, done.err
    line = "the frozen base ran once over 2 views of each of 32 training images"
    assert line in " ".join(done.err.split())
    assert line in (tmp_path / "head" / "report.html").read_text()
    assert json.loads((tmp_path / "head" / "run.json").read_text())["recipe"]["views"] == 2
    first, second = (striate.load_model(path).network.state_dict() for path in (run, tmp_path / "head"))
    changed = {name for name in first if not first[name].equal(second[name])}
    assert changed == {"head.weight", "head.bias"}
    evaluated = striate_command("evaluate", tmp_path / "head", "--json").json
    assert evaluated["top1_accuracy"] == done.json["evaluation"]["top1_accuracy"]
    again = striate_command("train", "--resume", tmp_path / "head", "--json")
    assert again.code == 0, again.err


def test_the_last_third_of_the_base_is_trained_on_what_the_rest_gave_once(striate_command, run, stripes, tmp_path):
    words = ("train", stripes, "--weights", run, "--freeze", "lower", "--epochs", 3, "--views", 2, "--json")
    done = striate_command(*words, "--batch-size", 8, "--no-checks", "--run", tmp_path / "top")
    assert done.code == 0, done.err
    told = " ".join(done.err.split())
    assert "upper third only on 32 train" in told
    assert "the frozen lower part ran once over 2 views of each of 32 training images" in told
    first, second = (striate.load_model(path).network.state_dict() for path in (run, tmp_path / "top"))
    assert first.keys() == second.keys()
    changed = {name.partition(".")[0] for name in first if not first[name].equal(second[name])}
    assert changed == {"conv4", "norm4", "head"}
    evaluated = striate_command("evaluate", tmp_path / "top", "--json").json
    assert evaluated["top1_accuracy"] == done.json["evaluation"]["top1_accuracy"]


def test_views_that_cannot_be_kept_are_refused(striate_command, stripes, run):
    line = striate_command("train", stripes, "--weights", run, "--freeze", "nothing", "--views", 2, *QUICK).refused()
    assert "only behind frozen layers" in line


def test_a_dry_run_shows_what_would_be_and_makes_nothing(striate_command, tmp_path):
    write_folder(tmp_path / "photos", {"cats": 20, "dogs": 20}, size=(48, 60))
    planned = striate_command("train", tmp_path / "photos", "--dry-run", "--network", "resnet18", "--json")
    assert planned.code == 0, planned.err
    assert planned.json["image_size"] == [64, 64]
    assert planned.json["num_images"] == {"train": 32, "validation": 4, "test": 4}
    assert planned.json["epochs"] == 30
    assert planned.json["estimate_s"] > 0
    assert "weights that were trained on a million photos usually do far better" in planned.err
    assert "--weights imagenet --download (47 MB, once)" in planned.err
    shown = striate_command("train", tmp_path / "photos", "--dry-run", "--network", "lenet5", "--image-size", 32)
    assert "64" not in shown.out.split("image size")[1].splitlines()[0]
    assert "on this machine" in shown.out
    assert "--weights imagenet --network squeezenet1_1" in shown.err
    assert not (tmp_path / "runs").exists()


def test_a_run_says_how_long_it_will_take_before_it_starts(striate_command, stripes, tmp_path):
    done = striate_command("train", stripes, "--run", tmp_path / "run", *QUICK)
    lines = done.err.splitlines()
    estimate = next(place for place, line in enumerate(lines) if "for 6 epochs on this machine" in line)
    assert estimate < next(place for place, line in enumerate(lines) if "train loss" in line)
    assert "million photos" not in done.err
