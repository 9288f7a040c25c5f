"""The `striate` command: its subcommands, and how errors become one line and an exit code."""

import errno
import logging
import os
import shutil
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated

import typer

from striate.cli import (
    attack,
    baseline,
    bench,
    cache,
    calibrate,
    certify,
    compare,
    compress,
    demo,
    describe,
    dream,
    drift,
    ensemble,
    errors,
    evaluate,
    explain,
    export,
    fool,
    index,
    invert,
    look,
    networks,
    predict,
    report,
    runs,
    search,
    style,
    substitute,
    texture,
    train,
    transfers,
    tune,
    visualize,
)
from striate.cli import data as data_command
from striate.cli.console import complain, out
from striate.cli.help_groups import GroupedCommands
from striate.cli.memory import end_quickly, keep_freed_memory
from striate.cli.surroundings import prepare_surroundings
from striate.errors import StriateError
from striate.training.distributed.launch import may_complain
from striate.version import __version__

_BOXED_HELP_COLUMNS = 110
"""Help in a narrower terminal is plain: boxes would cut flags short and break words."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_INTERRUPTED = 130
"""Typer's code in the place of a KeyboardInterrupt; no command gives it itself."""

app = typer.Typer(
    cls=GroupedCommands,
    help="The convnet workbench: from a folder of images to a model you understand, trust and can ship.",
    epilog="Exit codes: 0 done · 1 it ran, and the answer is no · 2 the request could not be met. "
    "Add --debug to any command for the traceback of an error.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich" if shutil.get_terminal_size().columns >= _BOXED_HELP_COLUMNS else None,
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


_COMMANDS: dict[str, dict[str, Callable[..., object]]] = {
    "Train and evaluate": {
        "demo": demo.demo,
        "data": data_command.look_at_data,
        "train": train.train,
        "evaluate": evaluate.evaluate,
        "tune": tune.tune,
        "compare": compare.compare,
        "ensemble": ensemble.ensemble,
        "errors": errors.errors,
        "drift": drift.drift,
        "baseline": baseline.baseline,
        "predict": predict.predict,
        "calibrate": calibrate.calibrate,
        "report": report.report,
        "runs": runs.runs,
        "cache": cache.cache,
    },
    "Understand": {
        "networks": networks.networks,
        "describe": describe.describe,
        "explain": explain.explain,
        "look": look.look,
        "index": index.index,
        "search": search.search,
    },
    "Make pictures": {
        "visualize": visualize.visualize,
        "dream": dream.dream,
        "fool": fool.fool,
        "invert": invert.invert,
        "texture": texture.texture,
        "style": style.style,
    },
    "Attack and defend": {
        "attack": attack.attack,
        "certify": certify.certify,
        "substitute": substitute.substitute,
        "transfers": transfers.transfers,
    },
    "Compress": {
        "compress": compress.compress,
        "ledger": compress.ledger,
    },
    "Ship": {
        "export": export.export,
        "check": export.check,
        "bench": bench.bench,
    },
}
for _panel, _commands in _COMMANDS.items():
    for _name, _command in _commands.items():
        app.command(_name, rich_help_panel=_panel)(_command)


def main() -> None:
    """Run the command in sys.argv; never returns."""
    prepare_surroundings()
    keep_freed_memory()
    end_quickly()
    wants_traceback = "--debug" in sys.argv
    sys.argv = [word for word in sys.argv if word != "--debug"]
    if len(sys.argv) == 1:
        sys.argv.append("--help")
    try:
        with warnings.catch_warnings():
            if not wants_traceback:
                warnings.simplefilter("ignore")
                logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # it misses CUDA when compiling
            code = app(standalone_mode=False) or 0
            if code == _INTERRUPTED:
                raise KeyboardInterrupt
            sys.stdout.flush()
        sys.exit(code)
    except (KeyboardInterrupt, typer.Abort):
        _end_at_once_if_stopped_again()
        _complain_once("stopped")
        sys.exit(1)
    except BrokenPipeError:  # whoever read the answer, such as `head`, has had enough
        _leave_standard_output()
        sys.exit(1)
    except StriateError as error:
        if wants_traceback:
            traceback.print_exc()
        _complain_once(str(error))
    except Exception as error:
        if hasattr(error, "format_message"):  # the words on the command line do not fit; typer's own kind moved about
            _complain_once(_with_help(error.format_message()))
            sys.exit(2)
        if wants_traceback:
            traceback.print_exc()
        _complain_once(_in_one_line(error))
        if isinstance(error, OSError):
            _leave_standard_output()
    sys.exit(2)


def _with_help(message: str) -> str:
    """The complaint about words on the command line, and where help on them is."""
    known = {name for group in _COMMANDS.values() for name in group}
    words = " ".join(["striate", *(word for word in sys.argv[1:2] if word in known), "--help"])
    return f"{message} See {words}" if message.endswith("?") else f"{message.rstrip('.')}; see {words}"


def _in_one_line(error: Exception) -> str:
    """The line for an unexpected error; a full disk is nobody's fault."""
    if isinstance(error, OSError) and error.errno in _FULL:
        where = f"{error.filename} cannot be written" if error.filename else "what was to be written does not fit"
        return f"{where}: {error.strerror}; free some space and do it again"
    text = " ".join(str(error).split())
    return f"striate met an error of its own, {type(error).__name__}: {text}; add --debug for the traceback"


def _leave_standard_output() -> None:
    """Have the interpreter not try again, at its end, to write what could not be written."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _end_at_once_if_stopped_again() -> None:
    """After Ctrl-C a second one does not wait for threads to end."""
    with suppress(ValueError):  # not the main thread
        signal.signal(signal.SIGINT, lambda number, frame: os._exit(1))  # noqa: ARG005


def _complain_once(line: str) -> None:
    """Say what went wrong, once where several processes work together."""
    if may_complain():
        complain(line)
