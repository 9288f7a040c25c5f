"""Every wrong request: one line that says what was expected, what came and what to do, exit code 2, nothing lost."""

import os
import pickle
import shutil
import signal
import zlib

import pytest

from end_to_end.conftest import striped, write_folder
from striate.printable import printable

QUICK = ("--epochs", 1, "--batch-size", 4, "--no-checks")


def refused(striate_command, *words):
    return striate_command(*words).refused()


def test_empty_folder(striate_command, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "empty" in refused(striate_command, "train", tmp_path / "empty")


def test_folder_without_class_folders(striate_command, tmp_path):
    (tmp_path / "flat").mkdir()
    striped(32, 32, True, 0).save(tmp_path / "flat" / "a.png")
    assert "each class into a folder" in refused(striate_command, "train", tmp_path / "flat")


def test_one_class(striate_command, tmp_path):
    assert "one class" in refused(striate_command, "train", write_folder(tmp_path / "one", {"only": 9}))


@pytest.mark.parametrize("counts", [{"a": 1, "b": 1}, {"a": 1, "b": 1, "c": 1, "d": 1}])
def test_one_image_per_class(striate_command, tmp_path, counts):
    assert "too few" in refused(striate_command, "train", write_folder(tmp_path / "few", counts))


def test_class_only_in_test(striate_command, tmp_path):
    write_folder(tmp_path / "set" / "train", {"a": 9, "b": 9})
    write_folder(tmp_path / "set" / "test", {"a": 2, "c": 2}, seed=500)
    line = refused(striate_command, "train", tmp_path / "set")
    assert "'c'" in line
    assert "train" in line


def test_nothing_but_broken_images(striate_command, tmp_path):
    for name, content in (("a", b""), ("b", b"words"), ("c", b"\xff\xd8\xff\xe0 torn")):
        (tmp_path / "broken" / name).mkdir(parents=True)
        for place in range(3):
            (tmp_path / "broken" / name / f"{place}.jpg").write_bytes(content + b"!" * place)
    line = refused(striate_command, "train", tmp_path / "broken", *QUICK)
    assert "can be read" in line


def test_an_image_of_huge_dimensions_is_refused_by_name(striate_command, stripes):
    def chunk(kind: bytes, body: bytes) -> bytes:
        return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")

    side = (60_000).to_bytes(4, "big")
    header = chunk(b"IHDR", side + side + b"\x08\x02\x00\x00\x00")
    bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    (stripes / "along" / "bomb.png").write_bytes(bomb)
    broken = striate_command("data", stripes, "--json").json["broken"]
    ((name, reason),) = broken
    assert name == "along/bomb.png"
    assert "60000" in reason.replace(",", "")
    assert "100" in reason


def test_wrong_network_offers_near_misses(striate_command, stripes):
    assert "did you mean" in refused(striate_command, "train", stripes, "--network", "rasnet18")
    assert "resnet18" in refused(striate_command, "describe", "rasnet18")


@pytest.mark.parametrize("size", ["8", "0", "-3"])
def test_wrong_image_size(striate_command, stripes, size):
    assert "32" in refused(striate_command, "train", stripes, "--network", "lenet5", "--image-size", size)


@pytest.mark.parametrize(
    ("words", "reason"),
    [],
)
def test_wrong_first_size(striate_command, stripes, words, reason):
    network = () if "--network" in words else ("--network", "airbench94_cifar")
    assert reason in refused(striate_command, "train", stripes, "--image-size", 32, *network, *words)


def test_wrong_input_size_of_describe(striate_command):
    assert "3x224x224" in refused(striate_command, "describe", "resnet18", "--input-size", "224")
    assert "227" in refused(striate_command, "describe", "alexnet_two_towers", "--input-size", "3x100x100")


def test_csv_with_missing_files(striate_command, tmp_path):
    striped(32, 32, True, 0).save(tmp_path / "a.png")
    (tmp_path / "list.csv").write_text("path,label\na.png,x\nb.png,y\n")
    assert "b.png" in refused(striate_command, "train", tmp_path / "list.csv")


@pytest.mark.parametrize("path", ["../secret.png", "/etc/hostname", "sub/../../secret.png"])
def test_csv_with_paths_that_leave_the_folder(striate_command, tmp_path, path):
    (tmp_path / "set").mkdir()
    striped(32, 32, True, 0).save(tmp_path / "secret.png")
    (tmp_path / "set" / "list.csv").write_text(f"path,label\n{path},x\n")
    line = refused(striate_command, "train", tmp_path / "set" / "list.csv")
    assert path in line


def test_output_folder_that_cannot_be_written(striate_command, stripes, tmp_path):
    (tmp_path / "file").write_text("in the way")
    line = refused(striate_command, "train", stripes, "--run", tmp_path / "file" / "run", *QUICK)
    assert "file is a file, so no run folder can be made below it; choose another with --run" in line


def test_existing_run_folder_is_left_alone(striate_command, stripes, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("precious")
    assert "exists already" in refused(striate_command, "train", stripes, "--run", tmp_path / "run", *QUICK)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["mine.txt"]


def test_batch_larger_than_the_data(striate_command, stripes):
    assert "--batch-size 32" in refused(striate_command, "train", stripes, "--batch-size", 500)


@pytest.mark.parametrize(
    ("option", "value", "word"),
    [
        ("--optimizer", "adamm", "adamw"),
        ("--schedule", "cosinus", "cosine"),
        ("--freeze", "some", "gradual"),
        ("--learning-rate", "-1", "learning_rate"),
        ("--epochs", "0", "epochs"),
        ("--label-smoothing", "1.5", "label_smoothing"),
        ("--device", "tpu9", "tpu9"),
        ("--precision", "8-bit", "bf16-mixed"),
        ("--cutout", "-2", "cutout"),
        ("--weights", "nowhere.pt", "nowhere.pt"),
    ],
)
def test_options_out_of_range(striate_command, stripes, option, value, word):
    words = ["train", stripes, "--no-checks", option, value]
    if option != "--epochs":
        words += ["--epochs", 1]
    assert word in refused(striate_command, *words)


def test_unknown_source(striate_command):
    assert "mnist" in refused(striate_command, "train", "mnits")
    assert "--download" in refused(striate_command, "train", "mnist")


def test_resume_of_what_is_no_run(striate_command, tmp_path):
    assert "not a run" in refused(striate_command, "train", "--resume", tmp_path)
    assert "nothing else" in refused(striate_command, "train", "digits", "--resume", tmp_path)
    assert "SOURCE" in refused(striate_command, "train")


def test_models_that_are_none(striate_command, stripes, tmp_path):
    (tmp_path / "words.safetensors").write_text("these are not weights at all")
    picture = stripes / "along" / "000.png"
    assert "words.safetensors" in refused(striate_command, "predict", tmp_path / "words.safetensors", picture)
    assert "WEIGHTS" in refused(striate_command, "predict", "resnet18", picture)
    assert "neither" in refused(striate_command, "predict", "nothing-here", picture)


class Bomb:
    """What a pickle from a stranger may hold: unpickling it would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_pickled_code_is_never_run(striate_command, stripes, tmp_path):
    evil = tmp_path / "evil.pt"
    evil.write_bytes(pickle.dumps({"conv1.weight": Bomb(tmp_path / "pwned")}, protocol=2))
    refused(striate_command, "train", stripes, "--network", "lenet5", "--weights", evil, *QUICK)
    refused(striate_command, "predict", f"lenet5:{evil}", stripes / "along" / "000.png")
    assert not (tmp_path / "pwned").exists()


def test_weights_and_labels_of_something_else(striate_command, stripes, tmp_path):
    done = striate_command("train", stripes, "--run", tmp_path / "run", *QUICK)
    assert done.code == 0, done.err
    model = tmp_path / "run" / "model.safetensors"
    assert "digitnet" in refused(striate_command, "train", stripes, "--network", "resnet20_cifar", "--weights", model)
    other = write_folder(tmp_path / "other", {"across": 3, "diagonal": 3}, seed=9, channels=1)
    line = refused(striate_command, "evaluate", tmp_path / "run", other)
    assert "'diagonal'" in line
    assert "test" in refused(striate_command, "evaluate", tmp_path / "run", "--split", "tset")


def test_data_that_changed_since_training(striate_command, stripes, tmp_path):
    assert striate_command("train", stripes, "--run", tmp_path / "run", *QUICK).code == 0
    striped(32, 32, True, 12345, 1).save(stripes / "across" / "000.png")
    assert "changed" in refused(striate_command, "evaluate", tmp_path / "run")


def test_a_thousand_classes_work(striate_command, tmp_path):
    folder = write_folder(tmp_path / "many", {f"class {number}": 2 for number in range(1000)}, size=(8, 8), channels=1)
    quick = ("--epochs", 1, "--no-checks", "--no-measure", "--no-robustness", "--json")
    done = striate_command("train", folder, "--network", "lenet_300_100", "--run", tmp_path / "run", *quick)
    assert done.code == 0, done.err
    assert done.json["evaluation"]["top5_accuracy"] is not None


def test_two_images_are_too_few(striate_command, tmp_path):
    assert "too few" in refused(striate_command, "train", write_folder(tmp_path / "two", {"a": 1, "b": 1}))
    assert "one class" in refused(striate_command, "train", write_folder(tmp_path / "pair", {"a": 2}))


def test_class_names_that_are_numbers_are_names(striate_command, tmp_path):
    """Trained on folders 1 2 3: folder 1 of another source is class 1, and folder 0 is unknown, not "the first"."""
    write_folder(tmp_path / "from one", {"1": 8, "2": 8, "3": 8}, channels=1)
    write_folder(tmp_path / "from nought", {"0": 4, "1": 4, "2": 4}, seed=99, channels=1)
    assert striate_command("train", tmp_path / "from one", "--run", tmp_path / "run", *QUICK).code == 0
    assert "'0'" in refused(striate_command, "evaluate", tmp_path / "run", tmp_path / "from nought")


@pytest.mark.parametrize("run", ["made/deep/run", "mine", "."])
def test_a_refused_run_leaves_folders_as_they_were(striate_command, tmp_path, run):
    (tmp_path / "mine").mkdir()
    before = sorted(tmp_path.rglob("*"))
    refused(striate_command, "train", "nosuch", "--run", run if run != "." else tmp_path / "mine")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--optimizer", "lbfgs", "--weight-decay", "0.1"], "lbfgs has no weight decay"),
        (["--validation-fraction", "0"], "validation_fraction"),
        (["--seed", "-1"], "seed"),
        (
            ["--optimizer", "muon", "--network", "resnet20_cifar", "--batch-size", "-4"],
            "batch_size must be a whole number",
        ),
        (["--optimizer", "moun"], "adamw, muon, lbfgs but is 'moun'"),
        (["--shift", "100"], "shift_px is 100"),
        (["--learning-rate", "inf"], "learning_rate"),
        (["--weight-decay", "inf"], "weight_decay"),
        (["--precision", "16-mixed", "--device", "cpu"], "bfloat16"),
        (["--device", "meta"], "auto, cpu, cuda or mps"),
    ],
)
def test_what_cannot_be_run_is_refused_before_the_run_folder_is_made(striate_command, stripes, tmp_path, words, part):
    assert part in refused(striate_command, "train", stripes, "--run", tmp_path / "run", *QUICK, *words)
    assert not (tmp_path / "run").exists()


def test_predicting_nothing_that_exists(striate_command, tmp_path):
    """Refused before the model is even looked at."""
    line = refused(striate_command, "predict", "nothing-here", tmp_path / "a.png")
    assert line.endswith("a.png does not exist; name image files, or folders of them")
    assert "b do not exist" in refused(striate_command, "predict", "nothing-here", tmp_path / "a.png", tmp_path / "b")


@pytest.mark.parametrize(
    "words", [["train", "digits", "--epochs", "1.5"], ["predict"], ["nosuch"], ["data", "x", "--max-pixels", "0"]]
)
def test_words_that_do_not_fit_get_one_line_too(striate_command, words):
    assert "--help" in refused(striate_command, *words)


def test_runs_inside_the_source_are_not_images(striate_command, stripes):
    assert striate_command("train", stripes, "--run", stripes / "runs" / "first", *QUICK).code == 0
    assert striate_command("evaluate", stripes / "runs" / "first", "--json").json["num_images"] == 4
    assert striate_command("data", stripes, "--json").json["num_images"] == 40


def test_links_that_lead_nowhere_and_pipes_are_named(striate_command, stripes):
    (stripes / "along" / "gone.png").symlink_to(stripes / "nothing.png")
    os.mkfifo(stripes / "along" / "pipe.png")
    broken = striate_command("data", stripes, "--json").json["broken"]
    assert [name for name, _ in broken] == ["along/gone.png", "along/pipe.png"]


def test_honest_figures(striate_command, stripes, tmp_path):
    assert striate_command("train", stripes, "--run", tmp_path / "run", *QUICK).code == 0
    assert "flatter" in striate_command("evaluate", tmp_path / "run", "--split", "all").err
    striped(32, 32, True, 777, 1).save(stripes / "across" / "new.png")
    assert "flatter" in striate_command("evaluate", tmp_path / "run", stripes).err
    unseen = write_folder(tmp_path / "new", {"along": 3}, channels=1, seed=500)
    assert "flatter" not in striate_command("evaluate", tmp_path / "run", unseen).err
    seen = write_folder(tmp_path / "copies", {"across": 3}, channels=1)  # the same pictures under another path
    assert "flatter" in striate_command("evaluate", tmp_path / "run", seen).err


def test_killed_between_its_first_files_a_run_can_be_resumed(striate_command, stripes, tmp_path):
    assert striate_command("train", stripes, "--run", tmp_path / "run", *QUICK).code == 0
    (tmp_path / "run" / "splits.json").unlink()
    assert striate_command("train", "--resume", tmp_path / "run").code == 0
    assert (tmp_path / "run" / "splits.json").is_file()
    (tmp_path / "run" / "model.safetensors").unlink()
    assert "start a new run" in refused(striate_command, "train", "--resume", tmp_path / "run")


def test_a_single_sigmoid_for_three_classes(striate_command, tmp_path):
    folder = write_folder(tmp_path / "three", {"a": 6, "b": 6, "c": 6})
    line = refused(striate_command, "train", folder, "--output", "sigmoid", *QUICK)
    assert "a single sigmoid output tells two classes apart but there are 3; use softmax" in line
    assert "output must be one of softmax, sigmoid" in refused(striate_command, "train", folder, "--output", "tanh")


def test_what_is_subtracted_is_not_both_given_and_asked_for(striate_command, stripes, tmp_path):
    assert "channel_mean or mean_image but is 'mean'" in refused(
        striate_command, "train", stripes, "--subtract", "mean"
    )
    assert striate_command("train", stripes, "--run", tmp_path / "first", *QUICK).code == 0
    words = ("train", stripes, "--weights", tmp_path / "first", "--subtract", "mean_image", *QUICK)
    assert "leave --subtract out" in refused(striate_command, *words)


def test_names_that_command_a_terminal_reach_neither_terminal_nor_report_nor_csv(striate_command, tmp_path):
    names = ["\x1b[2J\x1b[31mRED", "new\nline\u202e\x9b"]
    folder = write_folder(tmp_path / "images", {"a": 8, "b": 8}, channels=1)
    rows = [f'images/{"ab"[place % 2]}/{place // 2:03}.png,"{names[place % 2]}"\n' for place in range(16)]
    (tmp_path / "t.csv").write_text("path,label\n" + "".join(rows))
    (tmp_path / "files").mkdir()
    shutil.copy(folder / "a" / "000.png", tmp_path / "files" / "a\x1b[2J\x1b]0;title\x07.png")
    (tmp_path / "files" / "bad\x1b[31m.png").write_text("junk")
    run = tmp_path / "run"
    train = ("train", tmp_path / "t.csv", "--network", "lenet5", "--epochs", 1, "--no-checks", "--no-measure")
    for words in (
        ("data", tmp_path / "t.csv"), (*train, "--run", run), ("evaluate", run), ("predict", run, tmp_path / "files"),
        ("data", tmp_path / "t.csv", "--json"), ("predict", run, tmp_path / "files", "--json"), ("report", run),
    ):  # fmt: skip
        done = striate_command(*words)
        assert done.code in (0, 1), done.err
        for shown in (done.out, done.err):
            assert printable(shown, keep_newlines=True) == shown
        if words[0] in ("data", "evaluate") and "--json" not in words:
            assert (
                sum("\\x1b[2J\\x1b[31mRED" in line or "new\\nline\\u202e" in line for line in done.out.splitlines())
                >= 2
            )
    predicted = striate_command("predict", run, tmp_path / "files", "--json").json["predictions"]
    assert {guess["name"] for guess in predicted[0]["classes"]} == set(names)
    page = (run / "report.html").read_text()
    assert printable(page, keep_newlines=True) == page


@pytest.mark.parametrize(
    ("words", "where"),
    [
        (("data", "stripes"), "striate.data.summary.hash_image"),
        (("train", "stripes"), "striate.data.packing._decode"),
        (("train", "stripes"), "striate.recipes.train.describe_run"),
        (("describe", "lenet5"), "striate.inspection.describe.describe_network"),
    ],
)
@pytest.mark.usefixtures("stripes")
def test_ctrl_c_at_any_stage_is_one_line_and_code_1(striate_command, monkeypatch, words, where):
    def stop(*_args, **_kwargs):
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(where, stop)
    try:
        done = striate_command(*words, *(QUICK if words[0] == "train" else ()))
    finally:
        signal.signal(signal.SIGINT, before)
    assert done.code == 1
    assert [line for line in done.err.splitlines() if line.startswith("Error: ")] == ["Error: stopped"]
