"""The command line: each command parses its arguments, calls one library function and prints."""

from urfb.cli.main import app

__all__ = ["app"]
