"""Accuracy of one model by group of images."""

from pathlib import Path

from striate.data.image_groups import group_numbers, image_groups
from striate.data.opening import Access
from striate.data.readers.columns import columns_from_json
from striate.errors import InputError
from striate.evaluation.class_probabilities import class_probabilities_of
from striate.evaluation.evaluate_model import choose_part, own_data
from striate.evaluation.group_figures import GroupFigures, figures_by_group
from striate.tasks.model import Model


def evaluate_groups(
    model: Model,
    source: str | Path | None = None,
    *,
    group_by: str,
    split: str | None = None,
    average: str | None = None,
    batch_size: int = 256,
    access: Access | None = None,
) -> list[GroupFigures]:
    """The figures of each group of the images that `evaluate` would take, the worst first; `group_by` as
    data.image_groups has it.

    `average` is "mirror" or "six" as there. Raises as `evaluate` does, and InputError for a model of another task or
    groups that there are none of.
    """
    access = access or Access()
    if not model.task.has_probabilities:
        raise InputError(
            f"figures by group are for classifiers but this model is for {model.task.name}; leave them out"
        )
    part = choose_part(model, source, split, access, prefer=("test", "validation"))
    indices = part.indices[part.packed.usable[part.indices]]
    columns = access.columns or columns_from_json((own_data(model.provenance) or {}).get("columns"))
    names, numbers = group_numbers(image_groups(part.dataset, group_by, columns=columns))
    probabilities = class_probabilities_of(
        model, part.packed, indices, average=average, batch_size=batch_size, track=access.track
    )
    return figures_by_group(probabilities.argmax(axis=1) == part.labels[indices], names, numbers[indices])
