"""`python -m striate` and the `striate` command."""

import sys


def main() -> None:
    """Run the command in sys.argv; never returns. Ctrl-C ends it with one line and code 1, also while it is being
    loaded.
    """
    try:
        from striate.cli.app import main as run

        run()
    except KeyboardInterrupt:
        if sys.stderr is not None:
            sys.stderr.write("Error: stopped\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
