"""Defaults where every pixel is labelled."""

import pytest

from striate.data.preprocessing import Preprocessing
from striate.errors import InputError
from striate.recipes.choices import Choices
from striate.recipes.pixel_defaults import image_size_for, pixel_recipe, training_size, whole_image_preprocessing
from striate.training.recipe import Recipe

LEAST = (64, 64)


@pytest.mark.parametrize(
    ("image", "short_side", "seen"),
    [
        ((360, 480), None, (360, 480)),  # CamVid: its own size
        ((512, 512), None, (512, 512)),
        ((1024, 2048), None, (368, 720)),  # Cityscapes: made smaller, 2.0 wide for 1 high to a multiple of 16
        ((360, 480), 180, (176, 240)),
        ((40, 60), None, (64, 96)),  # enlarged to what the network takes
    ],
)
def test_size_of_whole_images(image, short_side, seen):
    assert image_size_for(*image, short_side, LEAST) == seen
    zeros = Preprocessing(3, 256, (224, 224), mean=(0.0,) * 3, std=(1.0,) * 3)
    fitted = whole_image_preprocessing(zeros, *image, short_side, LEAST)
    assert (fitted.resize, fitted.crop_size, fitted.resize_size) == ("fit", seen, max(seen))
    assert fitted.resized_size(77, 33) == fitted.packed_size(77, 33) == seen


def test_training_sees_about_as_many_pixels_of_any_size():
    assert training_size((360, 480), LEAST) == (240, 320)
    assert training_size((512, 512), LEAST) == (272, 272)
    assert training_size((200, 300), LEAST) == (200, 300)
    assert training_size((64, 3000), LEAST) == (64, 3000)  # no smaller than the network takes


def recipe_for(num_train: int, **choices: object) -> Recipe:
    plain = Recipe(network="unet_small", epochs=3, batch_size=64)
    return pixel_recipe(plain, num_train, (360, 480), LEAST, Choices(**choices))  # type: ignore[arg-type]


def test_the_budget_is_one_of_pixels():
    camvid = recipe_for(367)
    assert camvid.epochs * 367 * 240 * 320 == pytest.approx(800e6, rel=0.03)
    assert recipe_for(20).epochs == 120
    assert recipe_for(100_000).epochs == 12
    assert camvid.augmentation.crop_size == (240, 320)
    low, high = camvid.augmentation.crop_scale
    assert (low, high) == pytest.approx((4 / 9 / 1.4**2, 4 / 9 / 0.7**2))
    assert camvid.use_class_weights
    assert Recipe.from_json(camvid.to_json()) == camvid


def test_few_images_make_small_batches():
    assert recipe_for(367).batch_size == 8
    assert recipe_for(9).batch_size == 2
    assert recipe_for(2).batch_size == 2  # batch norm needs two


def test_an_encoder_is_a_part_of_the_networks_name():
    named = Choices(network="unet", encoder="squeezenet1_0:/a/b.net").with_encoder_named()
    assert (named.network, named.weights, named.encoder) == ("unet:squeezenet1_0", "/a/b.net", None)
    assert Choices(encoder="timm:resnet18").with_encoder_named().network == "unet:timm:resnet18"
    assert Choices(network="enet").with_encoder_named().network == "enet"
    with pytest.raises(InputError, match="enet is built on no encoder; use one of"):
        Choices(network="enet", encoder="resnet18").with_encoder_named()
    with pytest.raises(InputError, match="name them once"):
        Choices(encoder="resnet18:a.pt", weights="b.pt").with_encoder_named()
