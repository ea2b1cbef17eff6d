"""The files that checkpoints are kept in. Plain Python, no torch."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class CheckpointFiles(NamedTuple):
    """A run's latest checkpoint, the one before it, and one that is being written."""

    latest: Path
    previous: Path
    partial: Path

    @classmethod
    def of(cls, folder: Path, identity: str) -> CheckpointFiles:
        """Return the files of a run."""
        return cls(*(folder / f"{identity}{ending}" for ending in (".pt", ".previous.pt", ".partial")))

    def remove(self) -> int:
        """Remove what there is, and return how many bytes that frees."""
        freed = 0
        for file in self:
            if file.exists():
                freed += file.stat().st_size
                file.unlink(missing_ok=True)
        return freed


def runs_with_checkpoint(folder: Path) -> set[str]:
    """Return the identities of the runs that have a checkpoint in a folder."""
    return {file.name.partition(".")[0] for file in folder.glob("*.pt")}
