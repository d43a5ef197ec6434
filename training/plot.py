"""Draws the loss during training, and the network's answers at and around XOR's four points."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training import xor

_SIZE = (12, 5)  # inches, at matplotlib's 100 dots per inch
_SURFACE = np.linspace(-0.25, 1.25, 301, dtype=np.float32)  # on both axes
_LEVELS = np.linspace(0, 1, 41)
_COLOURS = "coolwarm"  # from blue (0) to red (1), which colour-blind people can distinguish
_BLUE, _RED = "#3b4cc0", "#b40426"  # the ends of that scale


def draw(losses: np.ndarray, answers: Callable[[np.ndarray], np.ndarray]) -> bytes:
    """Return a PNG image: on the left the loss of each epoch, (epochs,), on the right the decision surface.

    ``answers`` is the network: float32 (n, 2) in, float32 (n, 1) from 0 to 1 out.
    """
    figure = Figure(figsize=_SIZE, layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2, width_ratios=[6, 5])
    _draw_losses(left, losses)
    _draw_surface(right, answers)
    image = io.BytesIO()
    figure.savefig(image, format="png", metadata={"Software": None})  # the same image for every version of matplotlib
    return image.getvalue()


def _draw_losses(axes: Axes, losses: np.ndarray) -> None:
    guessing = np.log(2)  # the loss of a network that answers 0.5 to everything
    axes.axhline(guessing, color="grey", linestyle="dotted")
    axes.annotate("guessing", (len(losses), guessing), (0, 4), textcoords="offset points", ha="right", color="dimgrey")
    axes.semilogy(np.arange(1, len(losses) + 1), losses, color=_BLUE, linewidth=2)
    axes.set(title="Training", xlabel="epoch", ylabel="loss (binary cross-entropy)")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_surface(axes: Axes, answers: Callable[[np.ndarray], np.ndarray]) -> None:
    x1, x2 = np.meshgrid(_SURFACE, _SURFACE)
    surface = answers(np.column_stack([x1.ravel(), x2.ravel()])).reshape(x1.shape)
    colours = axes.contourf(x1, x2, surface, levels=_LEVELS, cmap=_COLOURS)
    axes.contour(x1, x2, surface, levels=[0.5], colors="black", linestyles="dashed")
    _draw_points(axes, answers(xor.POINTS))
    axes.figure.colorbar(colours, ax=axes, label="answer (dashed: 0.5)", ticks=np.linspace(0, 1, 6))
    axes.set(title="What it answers", xlabel="first input", ylabel="second input", aspect="equal")
    axes.set(xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])


def _draw_points(axes: Axes, answers: np.ndarray) -> None:
    for (x1, x2), (label,), (answer,) in zip(xor.POINTS, xor.LABELS, answers, strict=True):
        # In the colour of the correct answer, so that a wrong answer is visible.
        axes.plot(
            x1, x2, "o", color=_RED if label else _BLUE, markersize=11, markeredgecolor="white", markeredgewidth=2
        )
        axes.annotate(
            f"{answer:.3f}", (x1, x2), (0, 11), textcoords="offset points", ha="center", color="white", weight="bold"
        )
