"""A recipe fitted to its model: which input takes pictures, and which output has the scores."""

from __future__ import annotations

from collections.abc import Mapping

from serving.engines.signature import DEFAULT_SIGNATURE, Signature
from serving.preprocessing.classification import Classifier
from serving.preprocessing.fitted import Preprocessing
from serving.preprocessing.pictures import PictureInput
from serving.preprocessing.recipe import Image, Recipe


def fit(recipe: Recipe, signatures: Mapping[str, Signature]) -> Preprocessing:
    """Return a recipe as it applies to a model; raises ValueError where it does not fit the model's signature."""
    if DEFAULT_SIGNATURE not in signatures:
        raise ValueError(f"it is for the signature {DEFAULT_SIGNATURE}; the model has {', '.join(signatures)}")
    signature = signatures[DEFAULT_SIGNATURE]
    classifier = None
    if recipe.classes or recipe.output or recipe.threshold:
        classifier = Classifier.of(signature.outputs, recipe.output, recipe.classes, recipe.threshold)
    return Preprocessing(_picture(recipe.image, signature) if recipe.image else None, classifier)


def _picture(image: Image, signature: Signature) -> PictureInput:
    names = ", ".join(signature.inputs)
    if image.input is None and len(signature.inputs) != 1:
        raise ValueError(f"image.input must say which input takes the picture; the model has {names}")
    name = image.input or next(iter(signature.inputs))
    if name not in signature.inputs:
        raise ValueError(f"image.input is {name!r}; the model has {names}")
    return PictureInput.of(name, signature.inputs[name], image)
