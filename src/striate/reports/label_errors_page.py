"""The labels that are probably wrong, as one self-contained page and as a table to correct."""

import csv
import io
from pathlib import Path

from striate.evaluation.label_errors import LabelErrors
from striate.printable import spreadsheet_cell
from striate.reports.page import page_environment, write_page
from striate.reports.thumbnails import jpeg_address
from striate.version import __version__

COLUMNS = ("path", "label", "given", "suggested", "self_confidence", "suggested_probability", "is_confident", "split")


def label_errors_page(found: LabelErrors) -> str:
    """The page as text, with as many images as there are thumbnails."""
    environment = page_environment({})
    pictures = [jpeg_address(each) for each in found.thumbnails]
    page: str = environment.get_template("label_errors.html.jinja").render(
        found=found,
        rows=[{"issue": issue, "picture": picture} for issue, picture in zip(found.issues, pictures, strict=False)],
        num_listed=len(found.issues),
        version=__version__,
    )
    return page


def label_errors_table(found: LabelErrors) -> str:
    """A CSV of all issues. `label` is empty: whoever agrees that a label is wrong writes the right one there."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for issue in found.issues:
        shares = (f"{issue.self_confidence:.4f}", f"{issue.suggested_probability:.4f}")
        names = (spreadsheet_cell(issue.path), "", spreadsheet_cell(issue.given), spreadsheet_cell(issue.suggested))
        writer.writerow([*names, *shares, "yes" if issue.is_confident else "no", issue.split])
    return file.getvalue()


def write_label_errors_page(found: LabelErrors, path: str | Path) -> Path:
    """Write the page, replacing what is there, and give its path. InputError where it cannot be written."""
    return write_page(path, label_errors_page(found))


def write_label_errors_table(found: LabelErrors, path: str | Path) -> Path:
    """Write the table, replacing what is there, and give its path. InputError where it cannot be written."""
    return write_page(path, label_errors_table(found))
