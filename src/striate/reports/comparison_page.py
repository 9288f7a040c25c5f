"""Models beside each other as one self-contained page: figures, differences, groups, and images on which they
disagree.
"""

from pathlib import Path

from striate.evaluation.comparison import Comparison
from striate.reports.page import page_environment, write_page
from striate.reports.thumbnails import jpeg_address
from striate.version import __version__

MOST_GROUPS = 40


def comparison_page(found: Comparison) -> str:
    """The page as text, with as many images as there are thumbnails."""
    environment = page_environment(
        {
            "points": lambda value: f"{100 * value:+.2f}",
            "p": lambda value: "< 0.0001" if value < 1e-4 else f"= {value:.2g}",
        }
    )
    pictures = [jpeg_address(each) for each in found.thumbnails]
    page: str = environment.get_template("comparison.html.jinja").render(
        found=found,
        rows=list(zip(found.disagreements, pictures, strict=False)),
        most_groups=MOST_GROUPS,
        version=__version__,
    )
    return page


def write_comparison_page(found: Comparison, path: str | Path) -> Path:
    """Write the page, replacing what is there, and give its path. InputError where it cannot be written."""
    return write_page(path, comparison_page(found))
