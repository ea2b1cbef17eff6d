"""The epochs after which a run is measured. Plain Python, because a plan counts them without torch."""

from __future__ import annotations


def is_alignment_epoch(epoch: int) -> bool:
    """Return whether alignment is measured after a stage's `epoch`: often at first, 54 times in 1,000 epochs."""
    for reach, spacing in ((20, 1), (100, 5), (1000, 50)):
        if epoch <= reach:
            return epoch % spacing == 0
    return epoch % 500 == 0


def is_training_error_epoch(epoch: int) -> bool:
    """Return whether the training split is evaluated after `epoch`.

    After every epoch, the evaluation would take a fifth of the training time.
    """
    return epoch <= 10 or epoch % 5 == 0
