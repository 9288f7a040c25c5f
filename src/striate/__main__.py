"""`python -m striate` and the `striate` command."""

from striate.cli.app import main

if __name__ == "__main__":
    main()
