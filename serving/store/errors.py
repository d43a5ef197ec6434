"""What goes wrong with a store; each message is one line for the operator and says what to do."""

from __future__ import annotations


class StoreError(ConnectionError):
    """The store can't be read now. ``retry_after`` is how many seconds it wants to be left alone, if it says so."""

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ChangedError(StoreError):
    """A file is no longer the one that was listed."""


class RefusedError(ValueError):
    """The store holds what is not downloaded, such as too many bytes."""
