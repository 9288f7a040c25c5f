"""What is chosen when nothing is said."""

import dataclasses

import pytest

from striate.errors import InputError
from striate.networks.catalogue import CATALOGUE
from striate.recipes.choices import Choices
from striate.recipes.defaults import (
    DataFacts,
    default_freeze,
    default_network,
    default_num_threads,
    default_preprocessing,
    default_recipe,
    resized_preprocessing,
)

DIGITS = DataFacts(num_train=54_000, num_classes=10, channels=1, height=28, width=28)
THUMBNAILS = DataFacts(num_train=45_000, num_classes=10, channels=3, height=32, width=32)
PHOTOS = DataFacts(num_train=244, num_classes=2, channels=3, height=256, width=341)


@pytest.mark.parametrize(
    ("facts", "name"), [(DIGITS, "digitnet"), (THUMBNAILS, "airbench94_cifar"), (PHOTOS, "resnet18")]
)
def test_network_by_size_and_colour(facts, name):
    assert default_network(facts) == name


def test_signs_are_never_mirrored_and_photos_are():
    assert not default_recipe(DIGITS, CATALOGUE["lenet5"], Choices()).augmentation.flip
    assert default_recipe(PHOTOS, CATALOGUE["resnet18"], Choices()).augmentation.flip


@pytest.mark.parametrize(("num_train", "freeze"), [(200, "base"), (5_000, "gradual"), (50_000, "nothing")])
def test_what_stays_frozen_follows_data_size(num_train, freeze):
    assert default_freeze(num_train) == freeze


def test_16_bits_where_the_device_has_them_and_the_network_gains():
    fast = dataclasses.replace(THUMBNAILS, has_fast_bf16=True)
    resnet, lenet = CATALOGUE["resnet20_cifar"], CATALOGUE["lenet5"]
    assert default_recipe(fast, resnet, Choices()).precision == "bf16-mixed"
    assert default_recipe(fast, resnet, Choices(precision="32-true")).precision == "32-true"
    assert default_recipe(THUMBNAILS, resnet, Choices()).precision == "32-true"
    assert default_recipe(fast, lenet, Choices()).precision == "32-true"
    assert default_recipe(fast, resnet, Choices(optimizer="lbfgs", weight_decay=0.0)).precision == "32-true"


def test_weights_bring_a_frozen_base_and_smaller_rates_for_earlier_layers():
    recipe = default_recipe(PHOTOS, CATALOGUE["squeezenet1_1"], Choices(weights="imagenet"))
    assert recipe.freeze == "base"
    assert recipe.weights == "imagenet"
    tuned = default_recipe(PHOTOS, CATALOGUE["squeezenet1_1"], Choices(weights="imagenet", freeze="nothing"))
    assert 0.1 <= tuned.layer_rate_factor < 1
    assert tuned.optimizer.learning_rate < recipe.optimizer.learning_rate


def test_a_frozen_base_can_be_asked_for_where_the_data_would_unfreeze_it():
    for freeze in ("base", "lower"):
        choices = Choices(weights="imagenet", freeze=freeze, epochs=2)
        recipe = default_recipe(dataclasses.replace(PHOTOS, num_train=5_000), CATALOGUE["resnet18"], choices)
        assert (recipe.freeze, recipe.views, recipe.layer_rate_factor) == (freeze, 2, 1.0)


@pytest.mark.parametrize("num_train", [2, 9, 77, 1_437, 54_000, 1_281_167])
def test_a_recipe_can_always_be_run(num_train):
    for name, entry in {entry.family: entry for entry in CATALOGUE.values()}.items():
        facts = DataFacts(num_train, 10, entry.input_size[0], *entry.input_size[1:])
        recipe = default_recipe(facts, entry, Choices())
        assert 1 <= recipe.batch_size <= num_train, name
        assert 8 <= recipe.epochs <= 30, name


def test_airbench_has_muon_its_papers_shift_and_averaged_weights():
    recipe = default_recipe(THUMBNAILS, CATALOGUE["airbench94_cifar"], Choices())
    assert (recipe.epochs, recipe.augmentation.shift_px, recipe.ema_decay) == (8, 2, 0.95)
    assert (recipe.optimizer.name, recipe.batch_size, recipe.schedule.name) == ("muon", 1024, "linear")
    plain = default_recipe(THUMBNAILS, CATALOGUE["airbench94_cifar"], Choices(optimizer="nesterov"))
    assert (plain.epochs, plain.batch_size, plain.optimizer.learning_rate) == (10, 512, 0.75)
    other = default_recipe(THUMBNAILS, CATALOGUE["resnet20_cifar"], Choices())
    assert (other.augmentation.shift_px, other.ema_decay) == (3, 0.0)


def test_muon_with_norms_changes_filters_by_a_share_and_all_else_at_half_more_than_sgds_rate():
    """A batch of four times the size: twice Muon's rate, four times SGD's."""
    airbench = CATALOGUE["airbench94_cifar"]
    small, large = (
        default_recipe(THUMBNAILS, airbench, Choices(optimizer="muon", batch_size=size)) for size in (500, 2000)
    )
    assert (large.optimizer.learning_rate, large.optimizer.momentum) == (0.24, 0.6)
    assert small.optimizer.learning_rate == pytest.approx(0.12)
    assert small.optimizer.norm_rate_factor == 64
    for recipe in (small, large):
        assert recipe.optimizer.use_unit_filters
        other_rate = recipe.optimizer.learning_rate * recipe.optimizer.other_rate_factor
        assert other_rate == pytest.approx(1.5 * 0.75 * recipe.batch_size / 512)
        assert (recipe.schedule.name, recipe.epochs, recipe.ema_decay) == ("linear", 8, 0.95)
    assert default_recipe(THUMBNAILS, airbench, Choices(optimizer="muon")).batch_size == 1024
    other = default_recipe(THUMBNAILS, CATALOGUE["resnet20_cifar"], Choices(optimizer="muon"))
    assert (other.optimizer.use_unit_filters, other.schedule.name, other.epochs) == (True, "linear", 10)


@pytest.mark.parametrize("name", ["lenet5", "alexnet"])
def test_muon_without_norms_leaves_the_scale_of_filters_alone(name):
    optimizer = default_recipe(DIGITS, CATALOGUE[name], Choices(optimizer="muon")).optimizer
    assert (optimizer.name, optimizer.learning_rate, optimizer.use_unit_filters) == ("muon", 0.02, False)


def test_digitnet_is_tiny_and_yet_gains_by_16_bits_and_channels_last():
    facts = dataclasses.replace(DIGITS, has_fast_bf16=True)
    recipe = default_recipe(facts, CATALOGUE["digitnet"], Choices())
    assert (recipe.precision, recipe.use_channels_last, recipe.label_smoothing) == ("bf16-mixed", True, 0.1)
    assert (recipe.batch_size, recipe.optimizer.learning_rate) == (256, 1.2)
    lenet = default_recipe(facts, CATALOGUE["lenet5"], Choices())
    assert (lenet.precision, lenet.use_channels_last, lenet.label_smoothing) == ("32-true", False, 0.0)


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(
        InputError, match="a batch of 99 is larger than the 77 training images; use --batch-size 77 or less"
    ):
        default_recipe(DataFacts(77, 2, 3, 32, 32), CATALOGUE["lenet5"], Choices(batch_size=99))


def test_photos_keep_a_margin_and_small_images_do_not():
    photos = default_preprocessing(PHOTOS, CATALOGUE["resnet18"], None)
    assert (photos.resize_size, photos.crop_size) == (146, (128, 128))
    small = default_preprocessing(DIGITS, CATALOGUE["lenet5"], None)
    assert (small.resize_size, small.crop_size, small.channels) == (32, (32, 32), 1)
    asked = default_preprocessing(PHOTOS, CATALOGUE["resnet18"], 224)
    assert (asked.resize_size, asked.crop_size) == (256, (224, 224))
    assert resized_preprocessing(asked, 112).resize_size == 128


def test_small_images_are_not_blown_up_to_the_size_of_photos():
    assert default_preprocessing(THUMBNAILS, CATALOGUE["resnet18"], None).crop_size == (64, 64)


def test_another_optimiser_gets_a_rate_of_its_own():
    rates = {}
    for name in ("sgd", "nesterov", "rmsprop", "adam", "adamw", "muon", "lbfgs"):
        recipe = default_recipe(DIGITS, CATALOGUE["lenet5"], Choices(optimizer=name))
        rates[recipe.optimizer.name] = recipe.optimizer.learning_rate
    assert rates["rmsprop"] == rates["adam"] == rates["adamw"] == 1e-3
    assert rates["lbfgs"] == 1
    assert rates["muon"] == 2e-2
    assert rates["sgd"] == rates["nesterov"] > 0.01
    assert default_recipe(DIGITS, CATALOGUE["lenet5"], Choices(optimizer="lbfgs")).optimizer.weight_decay == 0
    transfer = default_recipe(PHOTOS, CATALOGUE["resnet18"], Choices(optimizer="sgd", weights="imagenet"))
    assert (transfer.optimizer.name, transfer.optimizer.learning_rate) == ("sgd", 0.01)


def test_tiny_networks_compute_in_one_thread():
    assert default_num_threads(CATALOGUE["lenet5"], 8) == 1
    assert default_num_threads(CATALOGUE["resnet20_cifar"], 8) == 8


def test_networks_without_norms_start_gently():
    """A SqueezeNet from scratch died at 3e-4 on ants and bees: docs/results/classification.md."""
    for name in ("squeezenet1_0", "alexnet"):
        optimizer = default_recipe(PHOTOS, CATALOGUE[name], Choices()).optimizer
        assert (optimizer.name, optimizer.learning_rate) == ("adamw", 1e-4)


@pytest.mark.parametrize(
    ("short_px", "side"), [(41, 64), (48, 64), (80, 64), (100, 80), (120, 104), (147, 128), (500, 128)]
)
def test_photos_are_not_enlarged_beyond_what_the_network_needs(short_px, side):
    facts = dataclasses.replace(PHOTOS, height=short_px, width=2 * short_px)
    preprocessing = default_preprocessing(facts, CATALOGUE["resnet18"], None)
    assert preprocessing.crop_size == (side, side)
    assert preprocessing.resize_size <= max(short_px, 64)
