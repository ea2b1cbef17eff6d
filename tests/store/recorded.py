"""What a run tells a store, without training."""

from tests.store.test_store import epoch, finish, started

__all__ = ["epoch", "finish", "started"]
