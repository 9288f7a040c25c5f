"""Substitutes: classes in the target's order, images that transfer, learners that only answer, queries counted."""

import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC
from torch import nn

from attack_cases import digit_network, digits, held_out
from striate.errors import InputError
from striate.robustness.substitute import train_substitute
from striate.robustness.transfer import Fused, Resized, Through, class_order, transfer_matrix


def votes(learner):
    """A learner of scikit-learn as a function of images, with one-hot outputs."""

    def answer(images):
        named = torch.from_numpy(learner.predict(images.flatten(1).numpy()))
        return nn.functional.one_hot(named, 10).float()

    return answer


@pytest.fixture(scope="module")
def learners():
    images, labels = digits()
    pixels = images[:1000].flatten(1).numpy()
    return {
        "svm": votes(SVC(gamma=0.02 * 16).fit(pixels, labels[:1000].numpy())),
        "nearest": votes(KNeighborsClassifier(3).fit(pixels, labels[:1000].numpy())),
    }


def small():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


@pytest.mark.parametrize("name", ["svm", "nearest"])
def test_a_substitute_learns_from_answers_alone_and_its_images_transfer(learners, name):
    images, labels = held_out(100)
    found = train_substitute(learners[name], small, digits()[0][1000:1200], num_queries=1600, held_out=images)
    assert found.num_queries == 1600
    assert found.agreement > 0.7
    options = {"epsilon": 0.3, "norm": "linf"}
    result = Through(found.network)("fgsm", learners[name], images, labels, options)
    noise = Through(found.network)("noise", learners[name], images, labels, options)
    assert result.robust_accuracy < noise.robust_accuracy - 0.3


def test_the_matrix_has_what_fools_itself_on_its_diagonal(learners):
    images, labels = held_out(60)
    found = transfer_matrix(
        {"network": digit_network()}, {"network": digit_network(), **learners}, images, labels, epsilon=0.3
    )
    assert found.shape == (1, 3)
    assert found[0, 0] > 0.95
    assert (found[0, 1:] > 0.1).all()


def test_fused_networks_keep_the_targets_order():
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    order = class_order(("b", "c", "a"), ("a", "b", "c"))
    images = torch.rand(5, 1, 2, 2)
    torch.testing.assert_close(Fused([network], [order])(images), network(images)[:, [1, 2, 0]])
    twice = Fused([network, network], [order, order])(images)
    torch.testing.assert_close(twice, network(images)[:, [1, 2, 0]])
    assert Resized(network, (2, 2))(torch.rand(1, 1, 8, 8)).shape == (1, 3)
    with pytest.raises(InputError, match="does not know the class 'd'"):
        class_order(("d",), ("a",))


def test_queries_are_never_exceeded(learners):
    asked = []

    def counting(images):
        asked.append(len(images))
        return learners["svm"](images)

    found = train_substitute(counting, small, digits()[0][:50], num_queries=130, num_epochs=1)
    assert found.num_queries == 130
    assert sum(asked) == 130 + 130  # the agreement is measured on the same images once more
    with pytest.raises(InputError, match="at least 2 queries"):
        train_substitute(counting, small, digits()[0][:50], num_queries=1)
