"""Run the `urfb` command with `python -m urfb`."""

from urfb.cli import app

if __name__ == "__main__":
    app(prog_name="urfb")
