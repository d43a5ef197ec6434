"""A SavedModel made elsewhere, as a model with the members that an export reads of a Keras model."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from export import saved_model
from serving.engines import graph
from serving.engines.errors import TensorFlowError
from serving.engines.graph import UnsafeGraphError
from serving.engines.signature import DEFAULT_SIGNATURE, SERVE_TAG
from serving.models.export_record import SAVED_MODEL, SourceError

_AS_IT_IS = "which a frozen copy can't have. The app serves it as it is"
# Operations on what constants can't replace: variables that change or are TensorFlow 1's, and tables.
_STATE = re.compile(r"Assign|Variable(V2)?$|.*(LookupTable|HashTable)")


def sources(folder: Path) -> list[Path]:
    """Return the files of a SavedModel, ``saved_model.pb`` first."""
    inner = (path for name in ("variables", "assets") for path in sorted((folder / name).rglob("*")))
    return [folder / SAVED_MODEL, *(path for path in inner if not path.is_dir())]


class ForeignModel:
    """A SavedModel's signature ``serving_default``, called with its inputs in the order of their names.

    Other signatures are in ``left_out``. Raises SourceError where there is no such signature, where the app does not
    allow one of its operations, or where a copy can't be frozen.
    """

    def __init__(self, tf: Any, folder: Path) -> None:
        try:
            graph.check(folder, SERVE_TAG)
        except (UnsafeGraphError, TensorFlowError, ValueError, OSError) as error:
            raise SourceError(f"the app would refuse the SavedModel: {error}") from error
        self._loaded = tf.saved_model.load(str(folder), tags=[SERVE_TAG])  # owns the variables
        signatures = self._loaded.signatures
        if DEFAULT_SIGNATURE not in signatures:
            raise SourceError(
                f"the SavedModel has no signature {DEFAULT_SIGNATURE!r}; its signatures are: "
                f"{', '.join(sorted(signatures)) or 'none'}"
            )
        self._function = signatures[DEFAULT_SIGNATURE]
        if state := sorted(filter(_STATE.match, saved_model.operations(self._function))):
            raise SourceError(f"the SavedModel has state or tables ({', '.join(state)}), {_AS_IT_IS}")
        self.left_out = sorted(set(signatures) - {DEFAULT_SIGNATURE})
        specs = self._function.structured_input_signature[1]
        self.inputs = [_named(tf, name, spec) for name, spec in sorted(specs.items())]

    def __call__(self, arguments: Any, training: bool = False) -> Any:
        """Return the outputs by name."""
        arrays = arguments if len(self.inputs) > 1 else [arguments]
        return self._function(**{one.name: array for one, array in zip(self.inputs, arrays, strict=True)})

    def predict_on_batch(self, arguments: Any) -> Any:
        """Return the outputs by name."""
        return self(arguments)


def _named(tf: Any, name: str, spec: Any) -> Any:
    """Return a TensorSpec by the name in the signature: TensorFlow has made another of one that is no identifier."""
    if not name.isidentifier() or spec.shape.rank is None:
        what = "a name that is no identifier" if spec.shape.rank is not None else "any number of dimensions"
        raise SourceError(f"the SavedModel's input {name!r} has {what}, {_AS_IT_IS}")
    return tf.TensorSpec(spec.shape, spec.dtype, name)
