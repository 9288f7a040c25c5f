"""The options of every command that reads a SOURCE: columns of a CSV, where its paths begin, where named sets lie."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, get_type_hints

import typer

from striate.cli.console import log, track
from striate.cli.field_options import with_fields

if TYPE_CHECKING:
    from striate.data.opening import Access
    from striate.data.readers.columns import Columns

PARAMETER = "reading"


@dataclass(frozen=True)
class SourceOptions:
    """What was said of a source on the command line; None and False where nothing was."""

    label_column: Annotated[
        str | None, typer.Option("--label-column", metavar="NAME", help="The column of a CSV that is the class.")
    ] = None
    path_column: Annotated[
        str | None, typer.Option("--path-column", metavar="NAME", help="The column of a CSV that is the image's path.")
    ] = None
    split_column: Annotated[
        str | None, typer.Option("--split-column", metavar="NAME", help="The column of a CSV that is the split.")
    ] = None
    root: Annotated[
        str | None, typer.Option("--root", metavar="DIR", help="Where paths in a CSV begin; its own folder by default.")
    ] = None
    data_dir: Annotated[
        str | None, typer.Option("--data-dir", metavar="DIR", help="Where the files of named sets (mnist, ...) lie.")
    ] = None
    download: Annotated[
        bool,
        typer.Option("--download", help="Fetch a named set or published weights; size is shown, checksum verified."),
    ] = False

    def columns(self) -> "Columns":
        """The columns that were named."""
        from striate.data.readers.columns import Columns  # imports NumPy, which --help does without

        return Columns(self.path_column, self.label_column, self.split_column, self.root)

    def access(self) -> "Access":
        """Access to the source so described, with messages and progress on standard error."""
        from striate.data.opening import Access

        return Access(data_dir=self.data_dir, download=self.download, log=log, track=track, columns=self.columns())


UNSAID = SourceOptions()


def reads_source(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the fields of SourceOptions as options of its own, in the place of its parameter `reading`."""
    hints = get_type_hints(SourceOptions, include_extras=True)
    options = {each.name: (hints[each.name], each.default) for each in fields(SourceOptions)}
    return with_fields(command, PARAMETER, options, lambda typed: SourceOptions(**typed))
