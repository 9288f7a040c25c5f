"""What was found in a source, as one self-contained page with thumbnails."""

from itertools import zip_longest
from pathlib import Path

import numpy as np
from PIL import Image

from striate.data.dataset import Dataset
from striate.data.decoding import MAX_PIXELS, decode_image
from striate.data.image_groups import image_groups
from striate.errors import InputError
from striate.evaluation.data_checks import DataChecks
from striate.reports.page import page_environment, write_page
from striate.reports.thumbnails import jpeg_address
from striate.version import __version__

_MOST_GROUPS, _MOST_IN_GROUP, _THUMBNAIL_PX = 60, 4, 160


def data_page(checks: DataChecks, dataset: Dataset, *, max_pixels: int = MAX_PIXELS) -> str:
    """The page as text: at most 60 groups of each kind, four thumbnails of each, read again from the source."""
    summary = checks.summary
    places = {dataset.images.name(index): index for index in range(len(dataset))}
    kinds = [
        ("The same image in several splits", summary.leaks),
        ("The same image in several classes", summary.conflicts),
        *_group_sections(checks, dataset),
        ("Near duplicates in several splits", checks.near_leaks),
        ("Near duplicates in several classes", checks.near_conflicts),
        ("Copies", summary.copies),
        ("Near duplicates", checks.near_duplicates),
        *(
            (f"{flaw[0].upper()}{flaw[1:]}", tuple((name,) for name in names))
            for flaw, names in checks.image_flaws.items()
        ),
    ]
    sections = [
        {
            "title": title,
            "count": len(groups),
            "groups": [
                [
                    {
                        "name": name,
                        "picture": _thumbnail(dataset, places[name], max_pixels),
                        **_facts(dataset, places[name]),
                    }
                    for name in group[:_MOST_IN_GROUP]
                ]
                for group in groups[:_MOST_GROUPS]
            ],
        }
        for title, groups in kinds
        if groups
    ]
    environment = page_environment({})
    page: str = environment.get_template("data.html.jinja").render(
        checks=checks, summary=summary, sections=sections, most=_MOST_GROUPS, version=__version__
    )
    return page


def _group_sections(checks: DataChecks, dataset: Dataset) -> list[tuple[str, tuple[tuple[str, ...], ...]]]:
    """The groups that the splits divide, images of every split first."""
    if checks.groups is None or not checks.groups.across:
        return []
    across = {group.name for group in checks.groups.across}
    members: dict[str, dict[int, list[str]]] = {}
    for index, group in enumerate(image_groups(dataset, checks.groups.by, columns=checks.group_columns)):
        if group in across:
            members.setdefault(group, {}).setdefault(int(dataset.given_splits[index]), []).append(
                dataset.images.name(index)
            )
    rows = (zip_longest(*members[group.name].values()) for group in checks.groups.across)
    groups = tuple(tuple(name for names in each for name in names if name is not None) for each in rows)
    return [(f"Groups by {checks.groups.by} in several splits", groups)]


def write_data_page(checks: DataChecks, dataset: Dataset, path: str | Path, *, max_pixels: int = MAX_PIXELS) -> Path:
    """Write the page, replacing what is there, and give its path. InputError where it cannot be written."""
    return write_page(path, data_page(checks, dataset, max_pixels=max_pixels))


def _facts(dataset: Dataset, place: int) -> dict[str, str]:
    label = int(dataset.labels[place])
    return {"class_name": dataset.class_names[label] if label >= 0 else ""}


def _thumbnail(dataset: Dataset, place: int, max_pixels: int) -> str:
    """A small JPEG as an address; empty where the image cannot be read any more."""
    try:
        pixels = decode_image(dataset.images.read(place), 3, max_pixels=max_pixels)
    except (OSError, InputError):
        return ""
    image = Image.fromarray(pixels)
    image.thumbnail((_THUMBNAIL_PX, _THUMBNAIL_PX))
    return jpeg_address(np.asarray(image))
