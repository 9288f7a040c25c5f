"""Images named on the command line: refused in one line, before anything is loaded, where there is nothing to work
on.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from striate.errors import DataError, InputError

_URL = re.compile(r"[a-z][a-z0-9+.-]+:/{1,2}[^/]", re.IGNORECASE)
_NAMED = 3


def check_images(images: Sequence[Path]) -> None:
    """Raise InputError where nothing that is named exists, and where all of it is folders without images; a URL is
    called one.
    """
    urls = [str(image) for image in images if not os.path.exists(image) and _URL.match(str(image))]
    if urls:
        url = re.sub(":/+", "://", urls[0], count=1)
        raise InputError(f"{url} is a URL, and striate fetches none; fetch the image and name the file")
    there = [image for image in images if os.path.exists(image)]
    if not there:
        raise InputError(
            f"{_listed(images)} {'does' if len(images) == 1 else 'do'} not exist; name image files, or folders of them"
        )
    from striate.data.readers.folder_walk import by_ending  # imports Pillow and NumPy, which --help does without

    passed_over: list[str] = []
    if all(os.path.isdir(image) and not _has_image(image, passed_over) for image in there):
        ending = f" (passed over by their ending: {by_ending(passed_over)})" if passed_over else ""
        what = "holds" if len(there) == 1 else "hold"
        raise InputError(f"{_listed(there)} {what} no image files{ending}; name image files, or folders of them")


def _has_image(folder: Path, passed_over: list[str]) -> bool:
    """Whether an image lies below a folder; other files go to `passed_over`. What cannot be read is told once it is
    walked.
    """
    from striate.data.readers.folder_walk import Findings, is_image, walk_files

    try:
        for below in walk_files(folder, "", Findings()):
            if is_image(below):
                return True
            passed_over.append(below)
    except DataError:
        return True
    return False


def _listed(images: Sequence[Path]) -> str:
    return ", ".join(map(str, images[:_NAMED])) + (", ..." if len(images) > _NAMED else "")
