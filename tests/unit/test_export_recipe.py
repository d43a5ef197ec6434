"""The flags of ``python -m export`` for pictures and class names, and what they write."""

import argparse
import json
from pathlib import Path

import pytest

from export import recipe
from export.__main__ import main
from serving.models.export_record import SourceError
from serving.preprocessing import FILE
from serving.preprocessing.recipe import Image, Recipe
from tests.fixtures import MODEL


def parsed(*flags: str) -> Recipe | None:
    parser = argparse.ArgumentParser()
    recipe.add_arguments(parser)
    return recipe.of(parser.parse_args(flags))


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([], None),
        (["--image"], Recipe(Image())),
        (["--scale=-1..1"], Recipe(Image(scale=(-1.0, 1.0)))),
        (["--scale", "0..0.5", "--mean", "1,2,3", "--std=2"], Recipe(Image(scale=(0, 0.5), mean=(1, 2, 3), std=(2,)))),
        (["--preprocess=mobilenet_v2"], Recipe(Image(preprocess_input="mobilenet_v2"))),
        (
            ["--target-size=32x48", "--color-mode=rgba", "--interpolation=bilinear", "--keep-aspect-ratio"],
            Recipe(Image(None, "rgba", (32, 48), "bilinear", True)),
        ),
        (["--threshold=0.7"], Recipe(threshold=0.7)),
    ],
)
def test_flags_become_a_recipe(flags, expected):
    assert parsed(*flags) == expected


@pytest.mark.parametrize(
    "text",
    [
        "cat\nGrüner Hund\n",
        "\ufeffcat\r\nGrüner Hund",
        '["cat", "Grüner Hund"]',
        '{"cat": 0, "Grüner Hund": 1}',
        '{"1": "Grüner Hund", "0": "cat"}',
        '{"0": ["n02123045", "cat"], "1": ["n0", "Grüner Hund"]}',
    ],
)
def test_names_are_read_in_each_form(tmp_path, text):
    (tmp_path / "classes").write_text(text, encoding="utf-8")

    assert parsed(f"--classes={tmp_path / 'classes'}") == Recipe(classes=("cat", "Grüner Hund"))


def test_the_names_of_imagenet_are_those_of_keras_hub():
    names = parsed("--classes=imagenet").classes

    assert len(names) == len(set(names)) + 2 == 1000  # two cranes and two maillots
    assert (names[0], names[281], names[999]) == ("tench", "tabby", "toilet tissue")


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (["--scale=1"], "image.scale: expected two different numbers, such as [-1, 1], got [1.0]"),
        (["--scale=a..b"], 'image.scale: expected two different numbers, such as [-1, 1], got ["a", "b"]'),
        (["--target-size=32"], "image.target_size: expected a height and a width"),
        (["--target-size=bigxsmall"], "image.target_size: expected a height and a width"),
        (["--mean=1,2"], "image.mean: expected a number, or a list with one for each channel, got [1.0, 2.0]"),
        (["--preprocess=alexnet"], "image.preprocess_input: expected a mode"),
        (["--preprocess=vgg16", "--scale=0..1"], "image.preprocess_input already does what image.scale would do"),
        (["--threshold=2"], "threshold: expected a number between 0 and 1, got 2.0"),
        (["--classes=missing.txt"], "--classes missing.txt can't be read: "),
    ],
)
def test_a_bad_flag_is_refused_with_what_is_expected(flags, problem):
    with pytest.raises(SourceError) as caught:
        parsed(*flags)

    assert str(caught.value).startswith(problem)


@pytest.mark.parametrize("text", ['{"cat": 0, "dog": 2}', '{"a": {}}', "[" * 100_000, "{"])
def test_a_file_of_another_form_is_refused(tmp_path, text):
    (tmp_path / "classes").write_text(text)

    with pytest.raises(SourceError, match="is none of the forms that are read: lines of text"):
        parsed(f"--classes={tmp_path / 'classes'}")


def test_a_file_without_names_is_refused(tmp_path):
    (tmp_path / "classes").write_text("cat\n\ndog\n")

    with pytest.raises(SourceError, match="classes: expected a list of 2 or more names"):
        parsed(f"--classes={tmp_path / 'classes'}")


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """A folder with the export of a model of two numbers in, one out."""
    (tmp_path / "saved_model.pb").write_bytes((MODEL / "1" / "saved_model.pb").read_bytes())
    return tmp_path


def test_a_recipe_that_fits_is_written(exported):
    note = recipe.put(Recipe(classes=("even", "odd"), threshold=0.4), exported)

    assert note == f"Wrote {FILE}: 2 classes from even to odd, threshold 0.4."
    assert json.loads((exported / FILE).read_text()) == {"classes": ["even", "odd"], "threshold": 0.4}
    assert recipe.put(None, exported) == ""


@pytest.mark.parametrize("wanted", [Recipe(Image()), Recipe(classes=("a", "b", "c"))])
def test_a_recipe_that_does_not_fit_is_refused_and_not_written(exported, wanted):
    with pytest.raises(SourceError, match=f"the model is exported, but {FILE} can't be used: "):
        recipe.put(wanted, exported)

    assert not (exported / FILE).exists()


def test_a_file_that_is_there_is_checked(exported):
    (exported / FILE).write_text('{"classes": ["a", "b", "c"]}')

    with pytest.raises(SourceError, match="expected one output of 3 scores"):
        recipe.put(None, exported)


def test_an_export_writes_the_file_and_hints_at_it(tmp_path, capsys):
    import keras

    layers = [keras.Input((4, 4, 3)), keras.layers.Flatten(), keras.layers.Dense(2, "softmax")]
    keras.Sequential(layers).save(tmp_path / "model.keras")
    (tmp_path / "classes.txt").write_text("cat\ndog\n")

    assert main([str(tmp_path), "--engine=tensorflow"]) == 0
    assert "Its input looks like a picture: add --image" in capsys.readouterr().out

    assert main([str(tmp_path), "--engine=tensorflow", "--scale=0..1", f"--classes={tmp_path / 'classes.txt'}"]) == 0
    assert f"Wrote {FILE}: it takes pictures, 2 classes from cat to dog." in capsys.readouterr().out
    assert Recipe.read(tmp_path) == Recipe(Image(scale=(0.0, 1.0)), classes=("cat", "dog"))

    assert main([str(tmp_path), "--engine=tensorflow"]) == 0
    assert Recipe.read(tmp_path).image is not None

    assert main([str(tmp_path), "--scale=nothing"]) == 1
    assert capsys.readouterr().err.startswith("Export failed: image.scale: expected two different numbers")
