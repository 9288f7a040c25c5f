"""Nothing outside tasks/ knows which task it is: no room names one, or imports the class of one."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import striate
from striate.errors import InputError
from striate.tasks.catalogue import TASKS, make_task
from striate.weights import task_outputs

SOURCE = Path(striate.__file__).parent
NAMING = {
    "weights/task_outputs.py": "the format of model files names the tasks; tasks/ takes counts of outputs from there",
    "weights/model_file.py": "files of the first versions are for classification, which they do not say",
    "training/recipe.py": "the default of a recipe",
    "data/readers/sources.py": "masks beside other annotations are read where the task wants them, before there is one",
    "data/readers/mask_folder.py": "names of folders",
    "networks/torchvision_library.py": "torchvision's words for its networks",
}
"""Files that have a task's name in them, and why."""
FILES = sorted(path for path in SOURCE.rglob("*.py") if path.relative_to(SOURCE).parts[0] != "tasks")


def names_in(tree: ast.Module) -> Iterator[str]:
    """The strings of a file, without docstrings, and the modules that it imports."""
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.value
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_room_names_a_task(path: Path) -> None:
    classes = {f"striate.tasks.{name}.task" for name in TASKS}
    found = (set(TASKS) | classes) & set(names_in(ast.parse(path.read_text(encoding="utf-8"))))
    assert bool(found) == (str(path.relative_to(SOURCE)) in NAMING), f"{path.name}: ask striate.tasks.task instead"


def test_files_are_for_the_tasks_that_there_are() -> None:
    assert set(task_outputs.TASKS) == set(TASKS)


@pytest.mark.parametrize("name", TASKS)
def test_what_answers_are_written_as_is_the_tasks_own(name: str) -> None:
    task = make_task(name, ("cat", "dog"))
    task.check_written_as(task.written_as)
    task.check_written_as(())
    others = {"csv", "sort_into", "uncertain", "boxes"} - set(task.written_as)
    with pytest.raises(InputError, match=f"not for {name}; "):
        task.check_written_as([sorted(others)[0]])
