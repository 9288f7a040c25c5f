"""Who fools whom: the tree's nearest leaf against a search of all boxes, neighbours with gradients, the matrix on real
digits.
"""

import json

import numpy as np
import pytest
import torch
from sklearn.tree import DecisionTreeClassifier
from torch import nn
from typer.testing import CliRunner

from attack_cases import digits
from striate.baselines.learners import Change, fit_learner
from striate.baselines.smooth_neighbors import SmoothNeighbors
from striate.baselines.transferability import NOISE, transferability
from striate.baselines.tree import fit_tree, nearest_other_leaf
from striate.cli.app import app
from striate.data.preprocessing import Preprocessing
from striate.errors import InputError
from striate.networks.families.mlp import MLP, MLPConfig
from striate.tasks.model import Model, save_model

NAMES = tuple(map(str, range(10)))


def rows(count):
    images, labels = digits()
    return images[:count].flatten(1).numpy(), labels[:count].numpy()


def boxes(fitted, num_values):
    """(class, lowest, highest) of each leaf of a tree of scikit-learn: values lie above lowest and up to highest."""
    grown = fitted.tree_
    found = []

    def walk(node, low, high):
        if grown.children_left[node] < 0:
            found.append((fitted.classes_[grown.value[node, 0].argmax()], low, high))
            return
        feature, threshold = grown.feature[node], grown.threshold[node]
        left, right = high.copy(), low.copy()
        left[feature], right[feature] = min(high[feature], threshold), max(low[feature], threshold)
        walk(grown.children_left[node], low, left)
        walk(grown.children_right[node], right, high)

    walk(0, np.full(num_values, -np.inf), np.full(num_values, np.inf))
    return found


def test_the_nearest_leaf_is_the_nearest_of_all_boxes():
    pixels, labels = rows(600)
    tree = fit_tree(pixels[:500], labels[:500], 10)
    fitted = DecisionTreeClassifier(min_samples_leaf=3, random_state=0).fit(pixels[:500], labels[:500])
    assert (tree.votes(pixels).argmax(axis=1) == fitted.predict(pixels)).all()
    asked, wanted = pixels[500:540], labels[500:540]
    moved = nearest_other_leaf(tree, asked, wanted)
    assert (fitted.predict(moved) != wanted).all()
    for image, changed, label in zip(asked, moved, wanted, strict=True):
        distances = [
            max(0.0, float((low - image).max()), float((image - high).max()))
            for name, low, high in boxes(fitted, 64)
            if name != label
        ]
        assert abs(changed - image).max() == pytest.approx(min(distances), abs=1e-6)


def test_a_tree_of_one_leaf_leaves_images_alone():
    tree = fit_tree(np.zeros((4, 3), np.float32), np.zeros(4, np.int64), 2)
    image = np.full((1, 3), 0.5, np.float32)
    assert (nearest_other_leaf(tree, image, np.zeros(1, np.int64)) == image).all()


def test_smooth_votes_by_hand_and_like_the_nearest_neighbour():
    known = torch.tensor([[0.0], [1.0], [0.2]])
    network = SmoothNeighbors(known, torch.tensor([0, 1, 0]), 2, smoothness=1.0)
    width = 2 * (0.2**2 + 0.8**2 + 0.2**2) / 3  # twice the mean square distance to the nearest other one
    votes = network(torch.full((1, 1, 1, 1), 0.5)).exp()[0]
    expected = torch.tensor([np.exp(-0.25 / width) + np.exp(-0.09 / width), np.exp(-0.25 / width)], dtype=torch.float32)
    torch.testing.assert_close(votes, expected)
    images, labels = digits()
    smooth = SmoothNeighbors(images[:1000].flatten(1), labels[:1000], 10, smoothness=0.1)
    nearest = labels[torch.cdist(images[1000:1100].flatten(1), images[:1000].flatten(1)).argmin(dim=1)]
    assert (smooth(images[1000:1100]).argmax(dim=1) == nearest).float().mean() > 0.98
    with pytest.raises(InputError, match="class 2 has no image to learn from"):
        SmoothNeighbors(known, torch.tensor([0, 1, 0]), 3)


@pytest.mark.parametrize("name", ["knn", "tree", "linear_svm"])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_learners_fool_themselves_within_epsilon(name, norm):
    images, labels = digits()
    epsilon = {"linf": 0.4, "l2": 3.0}[norm]
    learner = fit_learner(name, images[:800], labels[:800], 10, Change(epsilon, norm, "mi_fgsm"))
    asked, wanted = images[1500:1560], labels[1500:1560]
    made = learner.make(asked, wanted)
    size = (made - asked).flatten(1)
    assert (size.abs().amax(dim=1) if norm == "linf" else size.norm(dim=1)).max() <= epsilon * 1.0001
    assert 0 <= made.min() <= made.max() <= 1
    before = (learner.predict(asked).argmax(dim=1) == wanted).float().mean()
    after = (learner.predict(made).argmax(dim=1) == wanted).float().mean()
    assert before > 0.6
    assert after < before - 0.4
    with pytest.raises(InputError, match="a learner is one of softmax"):
        fit_learner("forest", images, labels, 10, Change(0.1, "linf", "pgd"))


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    """A network of 32 hidden units, trained on the first 1,000 digits."""
    images, labels = digits()
    config = MLPConfig(image_size=(8, 8), hidden_widths=(32,))
    network = MLP(config)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(80):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(images[:1000]), labels[:1000]).backward()
        optimizer.step()
    about = {"in_channels": 1, "num_classes": 10, "image_size": (8, 8), "hidden_widths": (32,)}
    preprocessing = Preprocessing(1, 8, (8, 8), mean=(0.0,), std=(1.0,))
    model = Model(network, class_names=NAMES, preprocessing=preprocessing, network_name="mlp", network_config=about)
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_model(model, path)
    return path


def test_the_matrix_has_what_fools_itself_on_its_diagonal_and_noise_below(model_file):
    found = transferability([model_file], "digits", epsilon=0.2, limit=80, num_fitted=800, names=["network"])
    assert found.sources[-1] == NOISE
    assert found.targets == found.sources[:-1]
    assert found.targets[0] == "network"
    matrix = np.array([[cell.fooled for cell in row] for row in found.cells])
    assert matrix.shape == (len(found.targets) + 1, len(found.targets))
    assert (np.diag(matrix)[:3] > 0.6).all()
    assert (np.diag(matrix) >= matrix[-1]).all(), "noise fools more than the attack does"
    assert (matrix[1, 0], matrix[0, 1]) > (matrix[-1, 0], matrix[-1, 1])
    low, high = found.cells[0][0].interval
    assert low <= matrix[0, 0] <= high


def test_the_command_draws_and_tells(model_file, tmp_path):
    picture = tmp_path / "matrix.png"
    words = ["transfers", str(model_file), "digits", "--epsilon", "0.2", "--limit", "30", "--fitted", "300"]
    done = CliRunner().invoke(app, [*words, "--learners", "softmax,tree", "--out", str(picture), "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["sources"] == [str(model_file), "softmax", "tree", NOISE]
    assert len(told["fooled"]) == 4
    assert all(len(row) == 3 for row in told["fooled"])
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"method": "square"}, "images are made by an attack that follows gradients"),
        ({"norm": "l0"}, "changes are measured by linf, l2, l1"),
        ({"learners": ["forest"]}, "a learner is one of"),
        ({"epsilon": 8.0}, "did you mean 8/255"),
    ],
)
def test_what_cannot_be_drawn(model_file, options, line):
    with pytest.raises(InputError, match=line):
        transferability([model_file], "digits", limit=5, num_fitted=50, **options)
