"""What ``python -m training.digits`` writes, and that what it writes is served as a model of pictures."""

import asyncio
import json

import azure.functions as func
import pytest

from serving.endpoints.classify import Classify
from serving.http import handle
from serving.preprocessing.recipe import Recipe
from training import digits


def test_a_model_that_recognizes_too_few_is_not_written(tmp_path, capsys):
    assert digits.main(["--epochs=1", "--output", str(tmp_path / "model"), "--samples", str(tmp_path / "samples")]) == 1

    assert "of the pictures are recognized; expected 97%" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_trained_model_names_its_samples(models, tmp_path, capsys):
    from export.__main__ import main

    folder, samples = models / "digits" / "1", tmp_path / "samples"
    assert digits.main(["--output", str(folder), "--samples", str(samples)]) == 0
    assert "% of the pictures that it was not trained on are recognized." in capsys.readouterr().out
    assert main([str(folder), "--engine=tensorflow"]) == 0

    names = Recipe.read(folder).classes
    assert len(names) == len(list(samples.iterdir())) == 10
    for digit, name in enumerate(names):
        request = func.HttpRequest(
            "POST",
            "https://app/api",
            headers={"content-type": "image/png"},
            route_params={"path": "digits/classify"},
            body=(samples / f"{digit}.png").read_bytes(),
        )
        [[first, *_]] = json.loads(asyncio.run(handle(request, Classify())).get_body())["predictions"]
        assert (first["class"], first["index"]) == (name, digit)
        assert 0.2 < first["score"] <= 1
