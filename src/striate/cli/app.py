"""The `striate` command: its subcommands, and how errors become one line and an exit code."""

import logging
import sys
import traceback
import warnings
from typing import Annotated

import typer

from striate.cli import bench, calibrate, describe, evaluate, explain, export, networks, predict, report, train
from striate.cli import data as look
from striate.cli.console import complain, out
from striate.cli.memory import end_quickly, keep_freed_memory
from striate.errors import StriateError
from striate.training.distributed.launch import may_complain
from striate.version import __version__

app = typer.Typer(
    help="The convnet workbench: from a folder of images to a model you understand, trust and can ship.",
    epilog="Exit codes: 0 done · 1 it ran, and the answer is no · 2 the request could not be met. "
    "Add --debug to any command for the traceback of an error.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        out.print(f"striate {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def main_options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Options before any command."""


app.command()(train.train)
app.command()(evaluate.evaluate)
app.command()(calibrate.calibrate)
app.command()(predict.predict)
app.command()(bench.bench)
app.command()(report.report)
app.command()(export.export)
app.command()(export.check)
app.command()(explain.explain)
app.command()(networks.networks)
app.command()(describe.describe)
app.command("data")(look.look_at_data)


def main() -> None:
    """Run the command in sys.argv; never returns."""
    keep_freed_memory()
    end_quickly()
    wants_traceback = "--debug" in sys.argv
    sys.argv = [word for word in sys.argv if word != "--debug"]
    try:
        with warnings.catch_warnings():
            if not wants_traceback:
                warnings.simplefilter("ignore")
                logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # it misses CUDA when compiling
            sys.exit(app(standalone_mode=False) or 0)
    except (KeyboardInterrupt, typer.Abort):
        _complain_once("stopped")
        sys.exit(1)
    except StriateError as error:
        if wants_traceback:
            traceback.print_exc()
        _complain_once(str(error))
    except Exception as error:
        if hasattr(error, "format_message"):  # the words on the command line do not fit; typer's own kind moved about
            _complain_once(f"{error.format_message().rstrip('.')}; see striate {' '.join(sys.argv[1:2])} --help")
            sys.exit(2)
        if wants_traceback:
            traceback.print_exc()
        _complain_once(
            f"striate met an error of its own, {type(error).__name__}: {error}; add --debug for the traceback"
        )
    sys.exit(2)


def _complain_once(line: str) -> None:
    """Say what went wrong, once where several processes work together."""
    if may_complain():
        complain(line)
