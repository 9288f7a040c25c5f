"""A run prepared again from what its folder says, to go on with it or to evaluate it."""

import dataclasses
from pathlib import Path
from typing import Any

from striate.data.edits import edits_from_json
from striate.data.opening import Access
from striate.data.preprocessing import Preprocessing
from striate.data.readers.columns import columns_from_json
from striate.data.splits import digest
from striate.errors import InputError, RunError
from striate.networks.catalogue import entry_for
from striate.networks.entry import Entry
from striate.networks.given import EXTERNAL, GivenNetwork, digest_of, given_entry
from striate.recipes.changed_versions import other_readable_images
from striate.recipes.prepare import Prepared, prepare_again
from striate.tasks.catalogue import TASKS
from striate.training.recipe import Recipe


def access_of_run(described: dict[str, Any], access: Access) -> Access:
    """The data access of the run when it began, overridden by what `access` sets."""
    stored = described["data"]
    if access.data_dir is None and stored["data_dir"] is not None:
        access = dataclasses.replace(access, data_dir=stored["data_dir"])
    return dataclasses.replace(
        access,
        max_pixels=stored["max_pixels"],
        columns=access.columns or columns_from_json(stored.get("columns")),
        ignore_index=stored.get("ignore_index"),
        edits=edits_from_json(stored.get("edits")),
    )


def prepared_again(
    run_dir: Path,
    described: dict[str, Any],
    recipe: Recipe,
    access: Access,
    has_checkpoint: bool,
    given: GivenNetwork | None,
) -> Prepared:
    """The run as its folder describes it. RunError where its data are gone or have changed."""
    source, stored = described["source"], described["data"]
    if Path(source).is_absolute() and not Path(source).exists():
        raise RunError(f"the images of {source} are not there any more; put them back or start a new run")
    preprocessing = Preprocessing.from_json(described["preprocessing"])
    prepared = prepare_again(
        source,
        recipe,
        preprocessing,
        _entry_again(run_dir, described["network"], preprocessing, recipe, given),
        access,
        has_checkpoint=has_checkpoint,
    )
    if prepared.data.fingerprint != stored["fingerprint"]:
        raise RunError(
            f"the images of {source} are not those that {run_dir} was started with; put them back or start a new run"
        )
    if digest(prepared.splits) != stored["splits"]["digest"]:
        raise RunError(
            f"other images of {source} can be read than when {run_dir} was started{other_readable_images(described)}; "
            "go back to the versions and permissions of then, or start a new run"
        )
    start = described["network"].get("start")
    if start is not None and not has_checkpoint and digest_of(prepared.network) != start:
        raise RunError(
            f"{run_dir} has no checkpoint yet and the network given does not begin with the weights it had; start a "
            "new run"
        )
    return prepared


def _entry_again(
    run_dir: Path, stored: dict[str, Any], preprocessing: Preprocessing, recipe: Recipe, given: GivenNetwork | None
) -> Entry:
    """The entry of the network that a run describes. InputError where it needs to be given from Python, or must not
    be.
    """
    if stored["name"] != EXTERNAL:
        if given is not None:
            raise InputError(f"{run_dir} trains {stored['name']}, which is built by name; leave network out")
        return entry_for(stored["name"])
    if given is None:
        label = stored.get("label", "its network")
        raise InputError(
            f"{run_dir} trains a network given from Python ({label}), whose code no file holds; go on from Python: "
            f"striate.resume({str(run_dir)!r}, network=...)"
        )
    config, size = stored["config"], preprocessing.crop_size
    return given_entry(
        given,
        num_classes=config["num_classes"],
        in_channels=config["in_channels"],
        sizes=[size],
        seed=recipe.seed,
        gives_maps=TASKS[recipe.task].labels_pixels,
    )
