"""The memory of all requests in work: so many bytes together, and a request that would exceed them is put off."""

from __future__ import annotations

from threading import Lock

from serving.errors import BodyTooLargeError, BusyError


class Budget:
    """Bytes that the requests in work may take together. Thread-safe."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._taken = 0
        self._lock = Lock()

    def take(self, size: int) -> bool:
        """Take so many bytes if they are left; return whether they are."""
        with self._lock:
            if self._taken + size > self.total:
                return False
            self._taken += size
            return True

    def give_back(self, size: int) -> None:
        """Give back bytes that were taken."""
        with self._lock:
            self._taken -= size


class Share:
    """What one request has taken of a budget, until it is released."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._taken = 0

    def reserve(self, size: int) -> None:
        """Take so many bytes more; a negative number gives bytes back.

        Raises BusyError while other requests have them, BodyTooLargeError if this request would need more than all.
        """
        if self._budget.take(size):
            self._taken += size
            return
        needed, total = self._taken + size, self._budget.total
        if needed > total:
            raise BodyTooLargeError(
                f"The request needs {needed / 1e6:,.0f} MB of memory; the limit is {total / 1e6:,.0f} MB. "
                "Send fewer rows, or smaller pictures, at a time.",
                limit=total,
            )
        raise BusyError("The requests in work take all the memory that there is for them; try again.", 1)

    def release(self) -> None:
        """Give everything back."""
        if not self._taken:
            return
        self._budget.give_back(self._taken)
        self._taken = 0
