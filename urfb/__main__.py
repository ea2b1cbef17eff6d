"""`python -m urfb`, which is `urfb`."""

from urfb.cli import app

if __name__ == "__main__":
    app(prog_name="urfb")
