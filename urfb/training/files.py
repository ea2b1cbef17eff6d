"""The paths of checkpoints. Plain Python, no torch."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class CheckpointFiles(NamedTuple):
    """The paths of a run's latest checkpoint, the one before it, and the one that is being written."""

    latest: Path
    previous: Path
    partial: Path

    @classmethod
    def of(cls, folder: Path, identity: str) -> CheckpointFiles:
        """Return the paths for a run."""
        return cls(*(folder / f"{identity}{ending}" for ending in (".pt", ".previous.pt", ".partial")))

    def remove(self) -> int:
        """Remove the files that exist, and return the number of bytes freed."""
        freed = 0
        for file in self:
            if file.exists():
                freed += file.stat().st_size
                file.unlink(missing_ok=True)
        return freed


def runs_with_checkpoint(folder: Path) -> set[str]:
    """Return the identities of the runs with a checkpoint in `folder`."""
    return {file.name.partition(".")[0] for file in folder.glob("*.pt")}
