"""What a model's ``preprocessing.json`` means for it. Most models have none, and import nothing more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from serving.engines.signature import DEFAULT_SIGNATURE, Signature
from serving.preprocessing import FILE

if TYPE_CHECKING:
    from serving.preprocessing.classification import Classifier
    from serving.preprocessing.pictures import PictureInput


@dataclass(frozen=True)
class Preprocessing:
    """A recipe that fits its model: the input that takes pictures, and the meaning of the scores; None without one."""

    picture: PictureInput | None = None
    classifier: Classifier | None = None

    def described(self, signatures: Mapping[str, Signature]) -> dict[str, Signature]:
        """Return a model's signatures; the default one takes pictures and names classes where the recipe says so."""
        described = dict(signatures)
        if self.picture is not None:
            signature = described[DEFAULT_SIGNATURE]
            example = signature.inputs[self.picture.name].example
            spec = replace(self.picture.spec, decode=self.picture.decode, example=example)
            described[DEFAULT_SIGNATURE] = replace(signature, inputs={**signature.inputs, self.picture.name: spec})
        if self.classifier is not None and self.classifier.names:
            signature, name = described[DEFAULT_SIGNATURE], self.classifier.output
            outputs = {**signature.outputs, name: replace(signature.outputs[name], has_names=True)}
            described[DEFAULT_SIGNATURE] = replace(signature, outputs=outputs)
        return described


NONE = Preprocessing()


def of(folder: Path, signatures: Mapping[str, Signature]) -> Preprocessing:
    """Return what the file in a model's folder says; raises ValueError where it is wrong or does not fit the model."""
    if not (folder / FILE).exists():
        return NONE
    from serving.preprocessing.fitting import fit
    from serving.preprocessing.recipe import Recipe

    recipe = Recipe.read(folder)
    try:
        return fit(recipe, signatures) if recipe else NONE
    except ValueError as error:
        raise ValueError(f"{folder / FILE}: {error}") from None
