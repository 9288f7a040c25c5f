"""Wishes take the place of defaults, each in the part of the recipe where it belongs."""

import dataclasses

import pytest

from striate.data.augmentation_settings import Augmentation
from striate.errors import InputError
from striate.recipes.choices import Choices
from striate.training.recipe import OptimizerConfig, Recipe, ScheduleConfig

RECIPE = Recipe(network="lenet5", epochs=3, batch_size=4)


def test_no_wish_changes_nothing():
    assert Choices().applied_to(RECIPE) == RECIPE


def test_wishes_reach_every_part():
    choices = Choices(
        epochs=7,
        optimizer="adamw",
        learning_rate=0.5,
        schedule="cosine",
        warmup=0.1,
        flip=True,
        mixup=0.2,
        freeze="base",
    )
    recipe = choices.applied_to(RECIPE)
    assert (recipe.epochs, recipe.freeze) == (7, "base")
    assert recipe.optimizer == OptimizerConfig("adamw", learning_rate=0.5)
    assert recipe.schedule == ScheduleConfig("cosine", warmup=0.1)
    assert recipe.augmentation == Augmentation(flip=True, mixup=0.2)


def test_every_wish_but_those_of_data_belongs_to_a_part_of_the_recipe():
    parts = (Recipe, OptimizerConfig, ScheduleConfig, Augmentation)
    known = {field.name for part in parts for field in dataclasses.fields(part)}
    assert {field.name for field in dataclasses.fields(Choices)} - known == {
        "image_size",
        "subtract",
        "stream",
        "encoder",
    }


def test_a_recipe_survives_json():
    recipe = Choices(crop_scale=(0.2, 1.0), max_grad_norm=2.0, schedule="step").applied_to(RECIPE)
    assert Recipe.from_json(recipe.to_json()) == recipe
    assert Recipe.from_json(RECIPE.to_json()) == RECIPE


@pytest.mark.parametrize("change", [{"epochs": None}, {"optimizer": {"name": "sgd", "lr": 1}}, {"colour": 1}])
def test_a_foreign_recipe_is_refused(change):
    with pytest.raises(InputError):
        Recipe.from_json(RECIPE.to_json() | change)


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        ({"freeze": "all"}, {"freeze": "nothing"}),
        ({"freeze": "head"}, {"freeze": "base"}),
        ({"freeze": "last-third"}, {"freeze": "lower"}),
        ({"freeze": "gradual"}, {"freeze": "gradual"}),
        ({"precision": "float32"}, {"precision": "32-true"}),
        ({"precision": "bfloat16"}, {"precision": "bf16-mixed"}),
        ({"precision": "16-mixed"}, {"precision": "16-mixed"}),
    ],
)
def test_the_words_of_the_command_line_and_the_older_ones_mean_the_same(words, kept):
    assert Choices(**words) == Choices(**kept)
