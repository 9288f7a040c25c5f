"""Whether the folders taken for classes hold further folders that could be the classes: told, or refused where it is
likely.
"""

from itertools import combinations
from pathlib import Path

from striate.data.readers.access import printable
from striate.errors import DataError

_NO_CLASSES = frozenset({"images", "image", "imgs", "img", "pictures", "photos", "jpeg", "jpegimages", "png", "data"})
"""Folders of these names, in lower case, only say what lies in them."""
_NAMED = 3
_MOST_PAIRED = 50


def check_no_hidden_splits(root: Path, images_of: dict[str, list[str]]) -> None:
    """Raise DataError where two class folders hold the same subfolders, and images nowhere else: which are the classes?

    `images_of`: folder of a class -> its images, both relative to the source.
    """
    seen: dict[tuple[str, ...], str] = {}
    for folder, images in images_of.items():
        inner = {name.lower() for name in inner_folders(folder, images)}
        whole = [] if inner <= _NO_CLASSES else [tuple(sorted(inner))]
        for shared in (*whole, *combinations(sorted(inner)[:_MOST_PAIRED], 2)):
            if (other := seen.setdefault(shared, folder)) != folder:
                names = " and ".join(printable(each.rsplit("/", 1)[-1]) for each in (other, folder))
                same = ", ".join(map(printable, shared[:_NAMED])) + (", ..." if len(shared) > _NAMED else "")
                raise DataError(
                    f"{root}: the folders {names} hold the same subfolders ({same}): are they splits? name them train "
                    "and test; if they are the classes, move the images out of the subfolders, and if the subfolders "
                    "are, put them side by side"
                )


def notice_of_nesting(images_of: dict[str, list[str]]) -> list[str]:
    """A line where all images of classes lie in folders below the class's, which could be classes themselves; else
    none.
    """
    nested = {folder: inner for folder in images_of if (inner := inner_folders(folder, images_of[folder]))}
    if not nested:
        return []
    shown = "; ".join(
        f"{printable(folder)}: "
        f"{', '.join(sorted(map(printable, inner))[:_NAMED])}{', ...' if len(inner) > _NAMED else ''}"
        for folder, inner in list(nested.items())[:_NAMED]
    )
    more = f" and {len(nested) - _NAMED:,} more" if len(nested) > _NAMED else ""
    return [
        f"classes whose images all lie in subfolders, which are not taken for classes: {len(nested):,} "
        f"({shown}{more}); if the subfolders are the classes, put them side by side in one folder"
    ]


def inner_folders(folder: str, images: list[str]) -> set[str]:
    """The folders directly below a class's that its images lie in; none where some lie in the class's own."""
    inner = [path[len(folder) + 1 :].split("/", 1) for path in images]
    return set() if any(len(parts) == 1 for parts in inner) else {parts[0] for parts in inner}
