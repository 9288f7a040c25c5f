"""One table of options: the fields of Choices, from which the command line comes, and which a recipe takes."""

import dataclasses
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from striate.cli.choice_options import with_choices
from striate.data.augmentation_settings import Augmentation
from striate.errors import InputError
from striate.recipes.choices import Choices
from striate.training.recipe import OptimizerConfig, Recipe, ScheduleConfig

FIELDS = {each.name: each for each in dataclasses.fields(Choices)}
NOT_IN_A_RECIPE = {
    "encoder": "becomes the network's name and weights",
    "image_size": "decides the preprocessing",
    "subtract": "decides the preprocessing",
    "stream": "becomes stream_images",
    "optimizer": "the name of an OptimizerConfig",
    "schedule": "the name of a ScheduleConfig",
}
NOT_AN_OPTION = ("num_folds", "fold")
"""Which fold a run is; `train --folds` makes the runs."""
TYPED: dict[type, tuple[str, Any]] = {
    int: ("3", 3),
    float: ("0.25", 0.25),
    str: ("word", "word"),
    tuple: ("0.25 1.0", (0.25, 1.0)),
    bool: ("", True),
}
SPECIAL = {
    "freeze": ("head", "base"),
    "subtract": ("mean_image", "mean_image"),
    "adversarial_epsilon": ("8/255", 8 / 255),
}


def parsed(*words: str, names: tuple[str, ...] = ()) -> Choices:
    """The choices that a command with these options makes of words."""
    seen: list[Choices] = []
    app = typer.Typer()

    def command(source: str = "digits", *, choices: Choices) -> None:
        assert source == "photos"
        seen.append(choices)

    app.command()(with_choices(*names)(command))
    done = CliRunner().invoke(app, ["--source", "photos", *words])
    if isinstance(done.exception, InputError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return seen[0]


def typed_for(name: str) -> tuple[str, Any]:
    kind = FIELDS[name].type
    plain = next(each for each in (tuple, bool, int, float, str) if each.__name__ in str(kind).replace("NoneType", ""))
    return SPECIAL.get(name, TYPED[plain])


@pytest.mark.parametrize("name", [name for name in FIELDS if name not in NOT_AN_OPTION])
def test_a_field_is_an_option_and_what_is_typed_arrives(name: str) -> None:
    asked = FIELDS[name].metadata["option"]
    assert asked.help.endswith(".")
    words, expected = typed_for(name)
    choices = parsed(asked.flags[0].split("/")[0], *words.split())
    assert choices == Choices(**{name: expected})
    if "/" in asked.flags[0]:
        assert getattr(parsed(asked.flags[0].split("/")[1]), name) is False


def test_nothing_typed_is_nothing_chosen() -> None:
    assert parsed() == Choices()


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_is_a_recipes_or_its_parts(name: str) -> None:
    homes = (Recipe, OptimizerConfig, ScheduleConfig, Augmentation)
    found = [home for home in homes if name in {each.name for each in dataclasses.fields(home)}]
    if name in NOT_IN_A_RECIPE:
        assert Recipe not in found or name in ("optimizer", "schedule")
    else:
        assert len(found) == 1


def test_flags_are_different() -> None:
    flags = [
        flag for each in FIELDS.values() if each.name not in NOT_AN_OPTION for flag in each.metadata["option"].flags
    ]
    assert len(flags) == len(set(flags))


def test_a_command_may_take_some() -> None:
    assert parsed("--epochs", "2", "--seed", "1", names=("epochs", "seed")) == Choices(epochs=2, seed=1)
    with pytest.raises(AssertionError, match="No such option"):
        parsed("--mixup", "0.2", names=("epochs", "seed"))


def test_words_that_are_none_are_refused() -> None:
    with pytest.raises(InputError, match=r"--train must be one of all, head, last-third, gradual but is 'base'"):
        parsed("--train", "base")
    with pytest.raises(InputError, match="--epsilon must be a number such as"):
        parsed("--epsilon", "much")
    with pytest.raises(InputError, match="epochs must be a whole number of at least 1"):
        parsed("--epochs", "0")
