"""The state of a model's version, as every protocol reports it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """A version's state, by TensorFlow Serving's names (``get_model_status.proto``)."""

    START = "START"  # on disk; loaded when it is first requested
    LOADING = "LOADING"
    AVAILABLE = "AVAILABLE"
    END = "END"  # could not be loaded


@dataclass(frozen=True)
class VersionStatus:
    """The state of one version of a model; ``error`` is the kind of error that kept it from loading, without paths.

    ``weight`` is its share of the requests that name no version, where ``labels.json`` says what serves them.
    """

    name: str
    version: int
    state: State
    error: str = ""
    weight: int | None = None
