"""Images written to disk: 8 bits, never a larger change, evaluated again."""

import csv

import numpy as np
import pytest
import torch
from PIL import Image

from attack_cases import digit_network, held_out
from striate.errors import InputError
from striate.robustness.attack_model import AttackRequest, attack_images
from striate.robustness.saving import save_adversarials, to_8_bits

NAMES = tuple("0123456789")


def outcome_of(epsilon=0.2, count=30):
    images, labels = held_out(count)
    images = (images * 255).round() / 255
    network = digit_network()
    return network, attack_images(
        network, images, labels, AttackRequest(method="pgd", epsilon=epsilon), class_names=NAMES
    )


def test_rounding_never_enlarges_a_change():
    originals = torch.randint(0, 256, (20, 3, 5, 5)) / 255
    changed = (originals + 0.1 * (2 * torch.rand_like(originals) - 1)).clamp(0, 1)
    pixels = to_8_bits(changed, originals)
    assert ((pixels / 255 - originals).abs() <= (changed - originals).abs() + 1e-5).all()
    assert torch.equal(to_8_bits(originals, originals), (originals * 255).round().byte())
    whole = ((originals * 255).round() + 3).clamp(0, 255)
    assert torch.equal(to_8_bits(whole / 255, originals), whole.byte())  # whole steps survive rounding in 32 bits


def test_files_table_and_figures_agree(tmp_path):
    network, outcome = outcome_of()
    saved = save_adversarials(outcome, network, tmp_path / "adversarial")
    with (tmp_path / "adversarial" / "adversarials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == int((outcome.was_correct & ~outcome.is_robust).sum()) > 5
    network.eval()
    num_fooling = 0
    for row in rows:
        pixels = torch.from_numpy(np.asarray(Image.open(tmp_path / "adversarial" / row["file"])) / np.float32(255))
        with torch.no_grad():
            named = NAMES[network(pixels[None, None]).argmax().item()]
        assert named == row["taken_for_8bit"]
        assert bool(int(row["still_fools_8bit"])) == (named != row["label"])
        num_fooling += named != row["label"]
    expected = (int(outcome.was_correct.sum()) - num_fooling) / len(outcome)
    assert saved.to_json()["robust_accuracy_8bit"] == pytest.approx(expected)


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    network, outcome = outcome_of(count=8)
    with pytest.raises(InputError, match="cannot be written"):
        save_adversarials(outcome, network, tmp_path / "file")
