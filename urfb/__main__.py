"""`python -m urfb`, which is `urfb`."""

from urfb.cli import app

app(prog_name="urfb")
