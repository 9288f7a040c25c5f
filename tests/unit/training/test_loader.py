import dataclasses
import threading

import numpy as np
import pytest
import torch

from striate.data.augmentation_settings import Augmentation
from striate.data.packed import PackedImages
from striate.data.preprocessing import Preprocessing
from striate.data.sampling import BatchSlice
from striate.errors import InputError
from striate.tasks.classification.task import Classification, ClassLabels
from striate.training import loader as loader_module
from striate.training.loader import Loader
from striate.training.recipe import Recipe
from training_cases import full_recipe, tiny_feed, tiny_recipe

CPU = torch.device("cpu")


def batches(recipe, epoch=0, **arguments):
    return list(tiny_feed().train_batches(recipe, epoch, CPU, **arguments))


def test_an_epoch_holds_every_image_once_prepared_for_the_network():
    loader = tiny_feed()
    found = batches(tiny_recipe())
    assert [len(batch.images) for batch in found] == [8, 8, 8, 8, 8, 5]
    images = torch.cat([batch.images for batch in found])
    labels = torch.cat([batch.targets for batch in found])
    expected = loader.plain_batch(loader.train, CPU)
    assert torch.equal(images.flatten(1).sum(1).sort()[0], expected.images.flatten(1).sum(1).sort()[0])
    assert torch.equal(labels.bincount(), expected.targets.bincount())
    assert expected.images.dtype == torch.float32
    pixel = float(loader.packed.image(0)[3, 4, 0])
    assert expected.images[0, 0, 3, 4].item() == pytest.approx((pixel / 255 - 0.25) / 0.25, abs=1e-5)


def test_a_batch_depends_on_its_place_alone():
    recipe = full_recipe()
    whole, rest = batches(recipe, 1), batches(recipe, 1, first_batch=5)
    assert len(whole) == tiny_feed().num_batches(recipe) == 5 + len(rest)
    for first, second in zip(whole[5:], rest, strict=True):
        assert torch.equal(first.images, second.images)
        assert torch.equal(first.targets, second.targets)


def test_a_batch_is_the_same_whether_a_processor_is_free_to_prepare_it_ahead_or_not(monkeypatch):
    threads_of = []
    apply = loader_module.apply_changes

    def spy(*arguments):
        threads_of.append(threading.current_thread())
        return apply(*arguments)

    monkeypatch.setattr(loader_module, "apply_changes", spy)
    recipe = dataclasses.replace(full_recipe(), augmentation=Augmentation(shift_px=2, rotation_degrees=9.0))
    found = []
    for num_processors in (torch.get_num_threads(), torch.get_num_threads() + 1):
        monkeypatch.setattr(loader_module, "num_processors", lambda number=num_processors: number)
        found.append(batches(recipe))
    for first, second in zip(*found, strict=True):
        assert torch.equal(first.images, second.images)
        assert torch.equal(first.targets, second.targets)
    num_batches = len(found[0])
    assert set(threads_of[:num_batches]) == {threading.current_thread()}
    assert threading.current_thread() not in threads_of[num_batches:]


@pytest.mark.parametrize("mixup", [0.0, 0.3])
def test_a_batch_is_the_same_when_the_images_lie_on_the_device(monkeypatch, mixup):
    augmentation = Augmentation(flip=True, shift_px=2, mixup=mixup)
    recipe = dataclasses.replace(full_recipe(), augmentation=augmentation)
    plain = batches(recipe, 1)
    monkeypatch.setattr(loader_module, "room_on", lambda _: 10**9)
    monkeypatch.setattr(loader_module, "read_batch", None)  # nothing is read batch by batch
    for first, second in zip(plain, batches(recipe, 1), strict=True):
        assert torch.equal(first.images, second.images)
        assert torch.equal(first.targets, second.targets)


def test_mirror_images_take_turns():
    """Two epochs show every image once as it is and once mirrored, whatever its batch; which first depends on the
    seed.
    """
    recipe = tiny_recipe(augmentation=Augmentation(flip=True), use_balanced_sampling=False)
    seen = []
    for seed, epoch in ((0, 0), (0, 1), (0, 2), (1, 0)):
        loader, own = tiny_feed(), dataclasses.replace(recipe, seed=seed)
        order = loader._order(own, epoch)
        images = torch.cat([batch.images for batch in loader.train_batches(own, epoch, CPU)])
        plain = loader.plain_batch(order, CPU).images
        is_plain = (images == plain).flatten(1).all(1)
        is_mirrored = (images == plain.flip(3)).flatten(1).all(1)
        assert (is_plain != is_mirrored).all()
        seen.append(dict(zip(order.tolist(), is_mirrored.tolist(), strict=True)))
    first, second, third, other_seed = seen
    assert first == third != other_seed
    assert all(first[index] != second[index] for index in first)
    assert 0.2 < np.mean(list(first.values())) < 0.8


class InShards(PackedImages):
    """Images of which ten lie together, and which two threads read."""

    num_readers = 2

    @property
    def regions(self):
        return np.arange(len(self)) // 10


def test_a_stream_depends_on_its_place_alone_and_keeps_together_what_lies_together():
    recipe = full_recipe(stream_images=15, use_balanced_sampling=False)
    loader = tiny_feed()
    packed = loader.packed
    kept = InShards(packed.pixels, packed.offsets, packed.shapes, packed.channels, packed.is_grey)
    loader = dataclasses.replace(loader, packed=kept)
    whole, rest = (list(loader.train_batches(recipe, 1, CPU, first_batch=first)) for first in (0, 5))
    shares = [list(loader.train_batches(recipe, 1, CPU, rank=rank, world_size=2)) for rank in (0, 1)]
    assert len(whole) == 5 + len(rest)
    for first, second in zip(whole[5:], rest, strict=True):
        assert torch.equal(first.images, second.images)
    for first, *parts in zip(whole, *shares, strict=True):
        assert torch.equal(first.images, torch.cat([part.images for part in parts]))
    order = loader._order(recipe, 1)
    assert (np.sort(order) == loader.train).all()
    assert (order != loader._order(dataclasses.replace(recipe, stream_images=0), 1)).any()
    assert len(np.unique(order[:15] // 10)) == 2


def test_epochs_and_seeds_differ():
    first, other_epoch = batches(tiny_recipe())[0], batches(tiny_recipe(), 1)[0]
    other_seed = batches(tiny_recipe(seed=1))[0]
    assert not torch.equal(first.images, other_epoch.images)
    assert not torch.equal(first.images, other_seed.images)


def test_mixup_makes_soft_targets_that_sum_to_one():
    batch = batches(tiny_recipe(augmentation=Augmentation(mixup=1.0)))[0]
    assert batch.targets.shape == (8, 3)
    assert torch.allclose(batch.targets.sum(1), torch.ones(8))
    assert ((batch.targets > 0.01) & (batch.targets < 0.99)).any()


@pytest.mark.parametrize(
    "recipe", [tiny_recipe(), full_recipe(), full_recipe(batch_size=9)], ids=["plain", "full", "9"]
)
def test_processes_see_together_what_one_would_bit_for_bit(recipe):
    alone = batches(recipe)
    shared = [batches(recipe, rank=rank, world_size=2) for rank in range(2)]
    for whole, *parts in zip(alone, *shared, strict=True):
        assert torch.equal(whole.images, torch.cat([part.images for part in parts]))
        assert torch.equal(whole.targets, torch.cat([part.targets for part in parts]))
        assert abs(len(parts[0].images) - len(parts[1].images)) <= 1
        assert parts[1].share == BatchSlice(len(parts[0].images), len(whole.images), len(whole.images))


def photo_feed(preprocessing):
    """Coloured images of several sizes, large enough to be prepared one after another."""
    rng = np.random.default_rng(0)
    sides = [(90, 120), (140, 91), (100, 100), (96, 180), (90, 90), (110, 95), (180, 90)]
    packed = PackedImages.from_images([rng.integers(0, 256, (*side, 3), np.uint8) for side in sides])
    return Loader(
        packed, ClassLabels(np.arange(7) % 2), np.arange(7), np.arange(1), preprocessing, Classification(("a", "b"))
    )


EVERYTHING = Augmentation((0.2, 1.0), True, 2, 9.0, 0.4, 0.4, 0.4, 0.1, 0.1, 9)
PHOTOS = Preprocessing(3, 90, (84, 88), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
CAFFE = Preprocessing(3, 90, (84, 88), (104.0, 117.0, 123.0), (1.0, 1.0, 1.0), channel_order="BGR", scale=1.0)


@pytest.mark.parametrize("use_channels_last", [True, False])
@pytest.mark.parametrize("preprocessing", [PHOTOS, CAFFE], ids=["rgb", "bgr"])
@pytest.mark.parametrize(
    "augmentation",
    [Augmentation((0.2, 1.0)), Augmentation((0.2, 1.0), flip=True), EVERYTHING],
    ids=["crop", "flip", "all"],
)
def test_large_crops_prepared_one_by_one_are_what_comes_of_all_at_once(
    monkeypatch, augmentation, preprocessing, use_channels_last
):
    recipe = tiny_recipe(
        augmentation=augmentation, batch_size=4, use_channels_last=use_channels_last, use_balanced_sampling=False
    )
    loader = photo_feed(preprocessing)
    one_by_one = [list(loader.train_batches(recipe, epoch, CPU)) for epoch in range(2)]
    shares = [list(loader.train_batches(recipe, 0, CPU, rank=rank, world_size=2)) for rank in range(2)]
    monkeypatch.setattr(loader_module, "are_large", lambda *_: False)
    for epoch, found in enumerate(one_by_one):
        for batch, expected in zip(found, loader.train_batches(recipe, epoch, CPU), strict=True):
            assert batch.images.is_contiguous(
                memory_format=torch.channels_last if use_channels_last else torch.contiguous_format
            )
            torch.testing.assert_close(batch.images, expected.images, rtol=1e-5, atol=1e-5, check_stride=False)
            assert torch.equal(batch.targets, expected.targets)
    for whole, *parts in zip(one_by_one[0], *shares, strict=True):
        assert torch.equal(whole.images, torch.cat([part.images for part in parts]))


def test_large_crops_can_be_trained_on_and_leave_the_pack_as_it_was():
    loader = photo_feed(PHOTOS)
    before = loader.packed.pixels.copy()
    weight = torch.ones(2, 3, 3, 3, requires_grad=True)
    recipe = tiny_recipe(augmentation=EVERYTHING, batch_size=7, use_channels_last=True, use_balanced_sampling=False)
    (batch,) = loader.train_batches(recipe, 0, CPU)
    torch.nn.functional.conv2d(batch.images, weight).sum().backward()
    assert weight.grad is not None
    batch.images.zero_()
    assert np.array_equal(loader.packed.pixels, before)


def test_large_crops_refuse_a_shift_beyond_the_image_as_others_do():
    recipe = tiny_recipe(augmentation=Augmentation((0.2, 1.0), shift_px=84), batch_size=4, use_balanced_sampling=False)
    with pytest.raises(InputError, match="shift_px is 84 but must be below the image's sides, 84 x 88"):
        next(photo_feed(PHOTOS).train_batches(recipe, 0, CPU))


def test_leaving_early_ends_the_thread_that_reads_ahead():
    iterator = tiny_feed().train_batches(full_recipe(), 0, CPU)
    next(iterator)
    iterator.close()
    assert not [thread.name for thread in threading.enumerate() if "prefetch" in thread.name]


def test_the_digest_changes_with_split_labels_and_preprocessing():
    loader = tiny_feed()
    others = [
        dataclasses.replace(loader, train=loader.train[1:]),
        dataclasses.replace(loader, annotations=ClassLabels(loader.labels[::-1].copy())),
        dataclasses.replace(loader, preprocessing=dataclasses.replace(loader.preprocessing, std=(0.3,))),
        dataclasses.replace(loader, task=Classification(("a", "b", "d"))),
    ]
    assert len({each.digest() for each in [loader, *others]}) == 5
    assert loader.digest() == tiny_feed().digest()


def test_errors():
    loader = tiny_feed()
    with pytest.raises(InputError, match=r"^there are 60 packed images but 59 labels; give one label an image$"):
        dataclasses.replace(loader, annotations=ClassLabels(loader.labels[1:]))
    with pytest.raises(InputError, match=r"^there are no validation images; give more images or another split$"):
        dataclasses.replace(loader, validation=np.zeros(0, np.int64))
    with pytest.raises(InputError, match=r"^labels must lie in \[0, 1\], one number a class, but run from 0 to 2$"):
        dataclasses.replace(loader, task=Classification(("a", "b")))
    with pytest.raises(
        InputError, match=r"^batch_size is 46 but there are only 45 training images; ask for at most 45$"
    ):
        loader.num_batches(tiny_recipe(batch_size=46))


def test_training_may_see_less_of_images_than_evaluation():
    """With a crop_size batches have that size, with targets moved likewise, and crops keep its aspect."""
    images = PackedImages.from_images([np.full((40, 60, 3), value, np.uint8) for value in range(8)])
    fit = Preprocessing(3, 60, (40, 60), mean=(0.0,) * 3, std=(1.0,) * 3, resize="fit")

    class Seen(ClassLabels):
        def targets(self, indices, geometry):
            shapes.append((geometry.size, geometry.crops))
            return super().targets(indices, geometry)

    shapes: list = []
    task = Classification(("a", "b"))
    loader = Loader(images, Seen(np.arange(8) % 2), np.arange(6), np.array([6, 7]), fit, task)
    augmentation = Augmentation(crop_scale=(0.2, 0.6), crop_size=(16, 24), flip=True)
    recipe = Recipe(network="lenet5", epochs=1, batch_size=3, augmentation=augmentation)
    for batch in loader.train_batches(recipe, 0, torch.device("cpu")):
        assert batch.images.shape == (3, 3, 16, 24)
    assert len(shapes) == 2
    for size, crops in shapes:
        assert size == (16, 24)
        aspects = crops[:, 3] / crops[:, 2]
        assert (np.abs(np.log(aspects / 1.5)) < np.log(9 / 8) + 0.1).all()  # whole pixels
    assert loader.plain_batch(np.array([6]), torch.device("cpu")).images.shape == (1, 3, 40, 60)
