"""A folder of shards is a source like any other."""

import json

from safetensors.torch import load_file


def test_shards_are_written_looked_at_trained_on_and_evaluated(striate_command, stripes, tmp_path):
    shards = tmp_path / "shards"
    written = striate_command("data", stripes, "--shards", shards, "--json")
    assert written.code == 0, written.err
    assert written.json["num_images"] == 40
    assert striate_command("data", shards).code == 0
    options = ("--epochs", 1, "--batch-size", 8, "--no-checks", "--seed", 2)
    runs = {name: tmp_path / f"run-{name}" for name in ("folder", "shards")}
    for name, source in (("folder", stripes), ("shards", shards)):
        assert striate_command("train", source, "--run", runs[name], *options).code == 0
    splits, metrics = (
        [(run / name).read_bytes() for run in runs.values()] for name in ("splits.json", "metrics.jsonl")
    )
    assert splits[0] == splits[1]
    losses = [[json.loads(line)["train_loss"] for line in lines.splitlines()] for lines in metrics]
    assert losses[0] == losses[1]  # wherever the images lie, the run is the same
    assert striate_command("evaluate", runs["folder"], shards, "--split", "all", "--json").json["num_images"] == 40


def test_a_streamed_run_is_the_packed_one_and_needs_no_disk(striate_command, stripes, tmp_path, monkeypatch):
    """Few images are shuffled together as a whole, so the order is the same, and so is every weight."""
    shards = tmp_path / "shards"
    assert striate_command("data", stripes, "--shards", shards).code == 0
    options = ("--epochs", 2, "--batch-size", 8, "--no-checks", "--seed", 2, "--crop-scale", "0.5", "1.0")
    models = {}
    for name, source, more in (
        ("packed", shards, ()),
        ("shards", shards, ["--stream"]),
        ("files", stripes, ["--stream"]),
    ):
        cache = tmp_path / f"cache-{name}"
        monkeypatch.setenv("STRIATE_CACHE", str(cache))
        done = striate_command("train", source, "--run", tmp_path / f"run-{name}", *options, *more)
        assert done.code == 0, done.err
        assert (cache / "packs").exists() == (name == "packed")
        assert ("nothing is packed" in done.err) == (name != "packed")
        models[name] = load_file(tmp_path / f"run-{name}" / "model.safetensors")
    for name in ("shards", "files"):
        assert all(value.equal(models[name][key]) for key, value in models["packed"].items())
        assert json.loads((tmp_path / f"run-{name}" / "run.json").read_text())["recipe"]["stream_images"] == 10_000


def test_a_damaged_shard_is_named(striate_command, stripes, tmp_path):
    shards = tmp_path / "shards"
    assert striate_command("data", stripes, "--shards", shards).code == 0
    path = shards / "images-000000.tar"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    line = striate_command("data", shards).refused()
    assert line == "Error: images-000000.tar is damaged: its SHA-256 is not that of shards.json; copy it again"
    path.write_bytes(data[: len(data) // 2])
    assert "images-000000.tar is torn: it ends at byte" in striate_command("train", shards).refused()
