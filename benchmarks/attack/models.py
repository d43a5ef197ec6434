"""The models that are attacked: each function writes some into a model folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.figures import ROOT


def xor(models: Path) -> None:
    """Copy the project's example."""
    shutil.copytree(ROOT / "model" / "xor", models / "xor")


@cache
def tensorflow() -> Any:
    """Return TensorFlow, which takes seconds to import."""
    import tensorflow

    return tensorflow


def save(folder: Path, function: Callable[[Any], Any], shape: list[int | None], variable: Any = None) -> None:
    """Save a function of the input ``x`` of float32, with one output ``y``, as a SavedModel."""
    tf = tensorflow()
    module = tf.Module()
    module.variable = variable
    module.function = tf.function(lambda x: {"y": function(x)}, input_signature=[tf.TensorSpec(shape, name="x")])
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.function})


def small(models: Path, count: int) -> None:
    """Save ``count`` models that are alike: each adds the two columns of its rows."""
    first = models / "small0" / "1"
    save(first, lambda x: tensorflow().reduce_sum(x, 1, keepdims=True), [None, 2])
    for number in range(1, count):
        shutil.copytree(first, models / f"small{number}" / "1")


def weighty(models: Path, count: int, megabytes: int) -> None:
    """Save ``count`` models with so many megabytes of weights each."""
    tf = tensorflow()
    first = models / "weighty0" / "1"
    weights = tf.Variable(tf.ones([megabytes * 2**18 // 1024, 1024]))
    save(first, lambda x: tf.matmul(x, weights), [None, weights.shape[0]], weights)
    for number in range(1, count):
        shutil.copytree(first, models / f"weighty{number}" / "1")


def recurrent(models: Path) -> None:
    """Save an LSTM over sequences of any length: the loop is as long as the input."""
    tf = tensorflow()
    from keras import layers

    cell = layers.LSTM(8)
    cell.build((None, None, 1))
    save(models / "recurrent" / "1", cell, [None, None, 1], cell.variables)
    del tf


def counting(models: Path) -> None:
    """Save a loop of as many steps as the first value of the input says."""
    tf = tensorflow()

    def count(x: Any) -> Any:
        return tf.while_loop(lambda done, last: done < last, lambda done, last: (done + 1.0, last), (0.0, x[0, 0]))[:1]

    save(models / "counting" / "1", lambda x: tf.reshape(count(x), [1, 1]), [None, 2])


def growing(models: Path) -> None:
    """Save a graph whose output is as large as the first value of the input says."""
    tf = tensorflow()
    save(models / "growing" / "1", lambda x: tf.fill([tf.cast(x[0, 0], tf.int64), 1], x[0, 1]), [None, 2])
