"""``labels.json``: names for a model's versions, and how the versions share the requests that name none.

A label stands for a version: ``{"stable": 3}``. The label ``latest`` says what serves requests that name no version:
one version, or several by weight, as in ``{"stable": 3, "latest": {"3": 90, "4": 10}}``.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping
from hashlib import sha256
from itertools import accumulate
from random import getrandbits
from typing import Any

from serving.errors import ModelUnavailableError

LATEST = "latest"

# Weights by version; one version has all requests.
Shares = Mapping[int, int]

# Returns what requests of the same value have in common, such as a user; "" or None if that is not known.
Key = Callable[[], str | None]

MAX_BYTES = 64 * 1024
_MAX_WEIGHT = 1_000_000
_VERSION = re.compile("[0-9]{1,18}", re.ASCII)

_logger = logging.getLogger("serving")


def parse(content: bytes) -> dict[str, Shares]:
    """Return the shares of each label, of which only ``latest`` may have several; raises ValueError."""
    if len(content) > MAX_BYTES:
        raise ValueError(f"it is larger than {MAX_BYTES} bytes")
    try:
        labels = json.loads(content.decode("utf-8-sig"), object_pairs_hook=_unique)
        if type(labels) is not dict:
            raise ValueError('it must be a JSON object such as {"stable": 1}')
        return {label: _shares(label, value) for label, value in labels.items()}
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a name is there twice")
    return members


def _shares(label: str, value: Any) -> Shares:
    if type(value) is int and 0 <= value < 10**18:
        return {value: 1}
    if label != LATEST:
        raise ValueError(f"{label[:40]!r}: expected a version such as 1, got {_shown(value)}")
    if type(value) is not dict or not value or not all(map(_VERSION.fullmatch, value)):
        raise ValueError(f'latest: expected a version, or weights such as {{"1": 90, "2": 10}}, got {_shown(value)}')
    for version, weight in value.items():
        if type(weight) is not int or not 1 <= weight <= _MAX_WEIGHT:
            raise ValueError(f"latest.{version}: expected a whole number of 1 to {_MAX_WEIGHT}, got {_shown(weight)}")
    shares = {int(version): weight for version, weight in value.items()}
    if len(shares) < len(value):
        raise ValueError("latest: a version is there twice")
    return dict(sorted(shares.items()))


def _shown(value: Any) -> str:
    return json.dumps(value)[:60]


def choose(name: str, shares: Shares, key: str | None) -> int:
    """Return a version of a model by its share: the same for the same key, random without one.

    The first 8 bytes of the SHA-256 of ``name:key`` are a point between 0 and 1, on which the versions lie by number.
    So of two versions, the one whose share grows keeps its keys.
    """
    value = f"{name}:{key}".encode(errors="backslashreplace")
    point = int.from_bytes(sha256(value).digest()[:8], "big") if key else getrandbits(64)
    place = point * sum(shares.values()) >> 64
    ends = accumulate(shares.values())
    return next(version for version, end in zip(shares, ends, strict=True) if place < end)


class Labels:
    """A model's labels as they were when ``read`` last returned valid ones; what is invalid is logged once."""

    def __init__(self, name: str, read: Callable[[], Mapping[str, Shares]]) -> None:
        self._name = name
        self._read = read
        self._valid: Mapping[str, Shares] | None = None
        self._said = ""

    def current(self) -> Mapping[str, Shares]:
        """Return the labels; raises ModelUnavailableError where they are invalid and always were."""
        try:
            self._valid, self._said = self._read(), ""
        except (OSError, ValueError) as error:
            kept = "what it said before stays in force" if self._valid is not None else "it serves nothing until then"
            self._log(f"The labels of model {self._name} are invalid: {error}. Correct the file; {kept}.")
            if self._valid is None:
                raise ModelUnavailableError(
                    f"Model {self._name} could not be loaded; the server's log says why."
                ) from error
        return self._valid

    def _log(self, message: str) -> None:
        if message != self._said:
            self._said = message
            _logger.error("%s", message)
