"""Changes of the software under a run between its start and its resumption: told, and kept in run.json."""

from datetime import UTC, datetime
from typing import Any

from striate.data.hashing import pixel_fingerprint
from striate.progress import Log
from striate.recipes.prepare import Prepared
from striate.recipes.versions import installed_versions

_DECODES = ("pillow", "numpy")
"""Packages that decide the pixels."""


def pixels_of(prepared: Prepared) -> str:
    """The fingerprint of a run's prepared training pixels: of sixty-four images spread evenly."""
    return pixel_fingerprint(prepared.packed, prepared.splits.train)


def note_changed_versions(described: dict[str, Any], prepared: Prepared, log: Log) -> None:
    """Compare what a run was made with, by its run.json, with what is installed now; differences become lines and
    entries of `described`.

    `versions` and `striate` are those of today from then on, and what stood there before is kept in `resumed`, a list
    of {"at", "versions_before", "pixels_changed"}. Where the pixels come out otherwise that is told also under the same
    versions.
    """
    before = {"striate": described["striate"], **described["versions"]}
    now = installed_versions(described["versions"])
    changed = {name: (old, now[name]) for name, old in before.items() if now[name] != old}
    pixels_before, pixels = described["data"].get("pixels"), pixels_of(prepared)
    pixels_changed = pixels_before is not None and pixels_before != pixels
    if not changed and not pixels_changed:
        return
    line = _line(changed, pixels_changed)
    log(line)
    entry = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions_before": before,
        "pixels_changed": pixels_changed,
    }
    described["resumed"] = [*described.get("resumed", []), entry]
    described["striate"] = now.pop("striate")
    described["versions"] = now
    described["data"]["pixels"] = pixels
    described["notices"] = [*described["notices"], line]


def other_readable_images(described: dict[str, Any]) -> str:
    """A clause for an error where the same files give other usable images: which package has changed, if one has."""
    now = installed_versions(described["versions"])
    changed = {name: (old, now[name]) for name, old in described["versions"].items() if now[name] != old}
    named = _named({name: changed[name] for name in _DECODES if name in changed})
    return f" ({named})" if named else ""


def _line(changed: dict[str, tuple[str, str]], pixels_changed: bool) -> str:
    if not changed:
        return (
            "the images of this run come out with other pixels than when it began, under the same versions: it goes on "
            "with these, and will not equal the run that was never stopped"
        )
    start = f"the run began under {_named(changed)}"
    if pixels_changed:
        return (
            f"{start}, and its images now come out with other pixels: it goes on with these, and will not equal the "
            "run that was never stopped; to keep the old ones, resume under the versions that it began with"
        )
    return f"{start}; its pixels are the same, but its figures need not equal those of the run that was never stopped"


def _named(changed: dict[str, tuple[str, str]]) -> str:
    return ", ".join(f"{name} {old} (now {new})" for name, (old, new) in changed.items())
