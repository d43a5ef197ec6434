"""Scores to classes: the highest of each row, with their names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from serving.engines.signature import TensorSpec
from serving.errors import PredictionError


@dataclass(frozen=True)
class Class:
    """A class with its place in the output and its score."""

    name: str
    index: int
    score: np.float32 | np.float64


@dataclass(frozen=True)
class Classifier:
    """What an output's values mean: their names, if there are any, or the two sides of a threshold."""

    output: str
    names: tuple[str, ...] = ()
    threshold: float | None = None

    @classmethod
    def of(
        cls,
        outputs: Mapping[str, TensorSpec],
        output: str | None = None,
        names: tuple[str, ...] = (),
        threshold: float | None = None,
    ) -> Classifier:
        """Find the output with the scores; raises ValueError where there is none for these names."""
        if output is not None and output not in outputs:
            raise ValueError(f"the model has no output {output!r}; it has: {', '.join(outputs)}")
        widths = {name: _width(spec) for name, spec in outputs.items() if output in (None, name)}
        widths = {name: width for name, width in widths.items() if width}
        wanted = 1 if threshold is not None else len(names)
        found = [name for name, width in widths.items() if wanted in (0, width)]
        if not found and len(names) == 2 and 1 in widths.values():  # one sigmoid
            threshold, found = 0.5, [name for name, width in widths.items() if width == 1]
        if len(found) != 1:
            got = ", ".join(f"{name} of {width}" for name, width in widths.items()) or "none"
            expected = f"of {wanted} scores for each row" if wanted else "with scores for each row"
            raise ValueError(f"expected one output {expected}; the model has {got}")
        if threshold is None and widths[found[0]] == 1:
            raise ValueError(f"output {found[0]!r} is one number for each row, which is no class without a threshold")
        return cls(found[0], names, threshold)

    def top(self, fetches: Mapping[str, np.ndarray], count: int) -> list[list[Class]]:
        """Return the highest classes of each row, the highest first; raises PredictionError for NaN."""
        array = fetches[self.output]
        scores = array.reshape(len(array), -1)
        if scores.dtype.itemsize < 4:
            scores = scores.astype(np.float32)  # also bfloat16, which JSON's writer can't write
        if not np.isfinite(scores).all():
            raise PredictionError(f"Output {self.output!r} contains NaN or Infinity, which is no score.")
        if self.threshold is not None:
            return [self._sides(score, self.threshold)[:count] for score in scores[:, 0]]
        count = min(count, scores.shape[1])
        best = np.argsort(-scores, axis=1, kind="stable")[:, :count]
        return [[self._class(int(i), row[i]) for i in order] for order, row in zip(best, scores, strict=True)]

    def names_of(self, fetches: Mapping[str, np.ndarray]) -> list[str]:
        """Return the name of the highest class of each row."""
        return [classes[0].name for classes in self.top(fetches, 1)]

    def _sides(self, score: np.float32, threshold: float) -> list[Class]:
        sides = [self._class(0, type(score)(1) - score), self._class(1, score)]
        return sides[::-1] if score >= threshold else sides

    def _class(self, index: int, score: np.float32) -> Class:
        return Class(self.names[index] if self.names else str(index), index, score)


def _width(spec: TensorSpec) -> int | None:
    """Return how many scores a row of an output has; None if it has none, or any number."""
    if spec.dtype.kind not in "fV" or not spec.shape or None in spec.shape[1:]:
        return None
    return int(np.prod([size or 0 for size in spec.shape[1:]], dtype=np.int64))
