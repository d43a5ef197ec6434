"""The problem: XOR's four points, their labels, and when a network has solved it."""

from __future__ import annotations

import numpy as np

POINTS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=np.float32)
LABELS = np.array([[0], [1], [1], [0]], dtype=np.float32)

TOLERANCE = 0.05


def worst_error(answers: np.ndarray) -> float:
    """Return the largest distance between an answer and its label; ``answers`` is (4, 1), in the order of POINTS."""
    return float(np.abs(answers - LABELS).max())


def is_solved(answers: np.ndarray) -> bool:
    """Tell whether every answer is within TOLERANCE of its label; NaN is not."""
    return worst_error(answers) < TOLERANCE
