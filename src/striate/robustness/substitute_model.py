"""Train a substitute for a MODEL that is only asked, from images of a source, into a model file."""

import dataclasses
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from striate.data.opening import Access
from striate.errors import InputError
from striate.evaluation.evaluate_model import choose_part
from striate.networks.catalogue import build_network, entry_for
from striate.robustness.attack_model import choose_images, read_images
from striate.robustness.substitute import Substitute, train_substitute
from striate.robustness.victim import Victim, open_victim
from striate.tasks.model import Model, save_model
from striate.tasks.pixel_model import PixelModel

_NUM_HELD_OUT = 500


@dataclass(frozen=True, eq=False)
class SubstituteModel:
    """A substitute with classes and preprocessing of its target, ready to be saved or attacked through."""

    model: Model
    found: Substitute
    path: Path | None

    def to_json(self) -> dict[str, Any]:
        """Plain values: queries, rounds, agreement with the target on images not asked about in training, the file."""
        return {
            "network": self.model.network_name,
            "num_queries": self.found.num_queries,
            "num_rounds": self.found.num_rounds,
            "agreement": self.found.agreement,
            "path": None if self.path is None else str(self.path),
        }


def substitute_for(
    target: Victim | str | Path,
    source: str | Path,
    *,
    num_queries: int,
    num_first: int = 150,
    network: str | None = None,
    split: str | None = None,
    out: str | Path | None = None,
    seed: int = 0,
    access: Access | None = None,
) -> SubstituteModel:
    """Ask the target about `num_first` images of the source and images derived from them, `num_queries` in all; train
    on the answers.

    `network` is one of the catalogue, by default digitnet for grey images of 28 x 28 and resnet20_cifar for others.
    Labels are never read. The first images come from the part `split`, by default validation or test, whichever there
    is.

    `target` is only asked, never looked into: a model, or an exported file; the substitute is written to `out` where
    that is named.
    """
    access = access or Access()
    victim = target if isinstance(target, Victim) else open_victim(target, log=access.log)
    if num_queries < num_first:
        num_first = max(2, num_queries // 2)
    part = choose_part(victim.model, source, split, access, prefer=("validation", "test"))
    indices = choose_images(part, num_first + _NUM_HELD_OUT, seed)
    if len(indices) < 2 * num_first:
        num_first = len(indices) // 2
    images, _ = read_images(victim.model, part, indices)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    preprocessing, names = victim.model.preprocessing, victim.model.class_names
    is_digit = preprocessing.channels == 1 and preprocessing.crop_size == (28, 28)
    name = network or ("digitnet" if is_digit else "resnet20_cifar")
    if num_first < 2:
        raise InputError(f"a substitute needs at least 4 images of the source but there are {len(indices)}")
    built = build_network(name, num_classes=len(names), in_channels=preprocessing.channels, seed=seed)

    def build() -> nn.Module:
        return PixelModel(built, preprocessing)

    found = train_substitute(
        victim.network,
        build,
        images[order[:num_first]].to(victim.model.device),
        num_queries=num_queries,
        held_out=images[order[num_first:]].to(victim.model.device),
        seed=seed,
        log=access.log,
    )
    entry = entry_for(name)
    config = dataclasses.replace(entry.config, num_classes=len(names), in_channels=preprocessing.channels)
    model = Model(
        built,
        class_names=names,
        preprocessing=preprocessing,
        network_name=name,
        network_config=asdict(config),
        provenance={"substitute": {"num_queries": found.num_queries, "agreement": found.agreement}},
    )
    if out is not None:
        save_model(model, out)
    return SubstituteModel(model, found, None if out is None else Path(out))
