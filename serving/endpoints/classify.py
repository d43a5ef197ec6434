"""``POST models/{model}[/versions/{version}]/classify``: pictures in, names and scores out."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from serving.endpoints.problem import ProblemEndpoint
from serving.engines.signature import DEFAULT_SIGNATURE, Reserve
from serving.errors import BadRequestError, NotFoundError
from serving.exchange import Exchange, Reply
from serving.models.model import Model
from serving.preprocessing import pictures
from serving.preprocessing.pictures import PictureInput
from serving.wire import classes, uploads

_PATH = re.compile(r"([^/]+)(?:/versions/([0-9]{1,18}))?/classify")

_TOP = 5


class Classify(ProblemEndpoint):
    """The endpoint of every model that takes pictures."""

    async def answer(self, exchange: Exchange) -> Reply:
        """Answer with the highest classes of each picture; raises ServingError."""
        match = _PATH.fullmatch(exchange.path.strip("/"))
        if match is None:
            raise NotFoundError("Expected a path such as models/NAME/classify or models/NAME/versions/1/classify.")
        exchange.allow("POST")
        count, is_shown = _count(exchange.query), exchange.query.get("pictures") == "true"
        model = await exchange.model(match[1], int(match[2]) if match[2] else None)
        picture, classifier = _picture(model), model.classifier()
        content_type = exchange.headers.get("content-type") or ""
        reserve = exchange.share.reserve
        array, seen = await exchange.decode(_decode, exchange.body, content_type, picture, reserve, is_shown)
        fetches = await exchange.run(model, DEFAULT_SIGNATURE, {picture.name: array})
        return Reply(await exchange.encode(classes.encode, fetches, classifier, count, model.name, model.version, seen))


def _decode(
    body: bytes, content_type: str, picture: PictureInput, reserve: Reserve, is_shown: bool
) -> tuple[np.ndarray, list[bytes]]:
    """Return the pictures in a body as the model's input, and as PNG files of what it sees if these are wanted."""
    pixels = picture.pixels(uploads.decode(body, content_type, reserve), reserve)
    return picture.rows(pixels), [pictures.png(row) for row in pixels] if is_shown else []


def _picture(model: Model) -> PictureInput:
    picture = model.preprocessing.picture
    if picture is None:
        raise BadRequestError(
            f"Model {model} does not say how a picture becomes its input; add preprocessing.json beside it "
            "(docs/pictures.md), or send numbers to v1/models or v2/models."
        )
    if len(model.signature().inputs) > 1:
        names = ", ".join(model.signature().inputs)
        raise BadRequestError(f"Model {model} takes more than a picture: {names}; use v1/models or v2/models.")
    return picture


def _count(query: Mapping[str, str]) -> int:
    text = query.get("top", str(_TOP))
    if not re.fullmatch("[0-9]{1,9}", text, re.ASCII) or int(text) == 0:
        raise BadRequestError(f"top: expected a whole number above 0, got {text[:40]!r}.", parameter="top")
    return int(text)
