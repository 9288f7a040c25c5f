"""The version of striate."""

__version__ = "0.1.0"
