"""Documents that cannot lie: the code in them runs, the commands in them work, the files they name are there."""

import importlib.util
import re
import shlex
from pathlib import Path

import pytest

from end_to_end.conftest import write_folder
from striate.networks.catalogue import CATALOGUE

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
QUICK = ["--epochs", "2", "--batch-size", "8", "--no-checks"]
EXTRA = {"bench": ["--budget", "3"], "calibrate": ["--temperature", "1.5"]}
"""Two dozen pictures are too few to fit a temperature on."""


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "docs/conventions.md",
        "docs/start.md",
        "docs/layers.md",
        "docs/model-file.md",
        "docs/explanation.md",
        "docs/robustness.md",
        "docs/first-model.md",
        pytest.param("docs/from-python.md", marks=pytest.mark.slow),
        "docs/your-own-network.md",
    ],
)
def test_python_blocks_run(name, capsys):
    scope: dict[str, object] = {}
    for block in blocks((ROOT / name).read_text(encoding="utf-8"), "python"):
        exec(compile(block, name, "exec"), scope)
    capsys.readouterr()


def test_every_command_of_the_readme_works(striate_command, tmp_path):
    """In the README's own order, on a small folder of that name; what fetches published weights is only parsed."""
    write_folder(tmp_path / "photos", {"cats": 12, "dogs": 12})
    commands = [line.split("#")[0] for block in blocks(README, "sh") for line in block.splitlines()]
    commands = [shlex.split(line) for line in commands if line.startswith("striate ")]
    assert len(commands) >= 10
    for words in (command[1:] for command in commands):
        if "imagenet" in words:
            assert words[-2:] == ["--network", "squeezenet1_1"]
            continue
        is_training = words[0] == "train" and not {"--help", "--resume", "--find-rate"} & set(words)
        done = striate_command(*words, *(QUICK if is_training else []), *EXTRA.get(words[0], []))
        assert done.code == 0, (words, done.err)


def test_every_command_of_the_first_lessons_works(striate_command, tmp_path):
    """In the page's order; published weights, which nothing fetches here, are left out of the first training."""
    write_folder(tmp_path / "photos", {"cats": 12, "dogs": 12})
    page = (ROOT / "docs" / "start.md").read_text(encoding="utf-8")
    lines = [line.split("#")[0] for block in blocks(page, "sh") for line in block.splitlines()]
    commands = [shlex.split(line)[1:] for line in lines if line.startswith("striate ")]
    assert len(commands) >= 15
    for words in commands:
        if "imagenet" in words:
            words = [*words[: words.index("--download")], "--network", "lenet5", "--image-size", "32"]
        extra = [*QUICK, "--no-measure"] if words[0] == "train" and "--dry-run" not in words else []
        done = striate_command(*words, *extra)
        assert done.code == 0, (words, done.err)


@pytest.mark.parametrize(
    "name", [str(path.relative_to(ROOT)) for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]]
)
def test_links_lead_somewhere(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert ((ROOT / name).parent / target).exists(), target


def test_the_story_of_the_networks_is_what_the_catalogue_says():
    """docs/networks.md has every network once, with today's figures; docs/networks/story.py writes it anew."""
    spec = importlib.util.spec_from_file_location("story", ROOT / "docs" / "networks" / "story.py")
    story = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(story)
    page = story.page()
    assert (ROOT / "docs" / "networks.md").read_text(encoding="utf-8") == page
    assert all(page.count(f"| `{name}` |") == 1 for name in CATALOGUE)
    for command in (chapter.command for chapter in story.STORY):
        assert command.split("--network ")[1] in CATALOGUE
