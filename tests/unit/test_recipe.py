"""``preprocessing.json``: what it may hold, and how each mistake is reported."""

import json
from dataclasses import fields

import pytest

from serving.preprocessing import FILE, fitted
from serving.preprocessing.fitting import fit
from serving.preprocessing.recipe import Image, Recipe
from tests.fixtures import PROJECT_ROOT
from tests.unit.picture_files import signature, spec

WHOLE = {
    "image": {
        "input": "x",
        "color_mode": "rgb",
        "target_size": [224, 160],
        "interpolation": "bilinear",
        "keep_aspect_ratio": True,
        "scale": [-1, 1],
        "mean": [0.1, 0.2, 0.3],
        "std": 2,
    },
    "output": "y",
    "classes": ["Katze", "Hündin"],
    "threshold": 0.25,
}


def test_a_whole_file_is_read_and_written(tmp_path):
    (tmp_path / FILE).write_text(json.dumps(WHOLE))

    recipe = Recipe.read(tmp_path)

    image = Image("x", "rgb", (224, 160), "bilinear", True, None, (-1.0, 1.0), (0.1, 0.2, 0.3), (2.0,))
    assert recipe == Recipe(image, "y", ("Katze", "Hündin"), 0.25)
    (tmp_path / FILE).write_text(recipe.to_json())
    assert Recipe.read(tmp_path) == recipe
    assert "Hündin" in recipe.to_json()


def test_what_has_its_default_is_not_written():
    assert json.loads(Recipe(Image(scale=(0.0, 1.0))).to_json()) == {"image": {"scale": [0.0, 1.0]}}
    assert json.loads(Recipe(Image()).to_json()) == {"image": {}}
    assert Recipe.parse({"image": {}, "threshold": None}) == Recipe(Image())


def test_a_folder_without_the_file_has_no_recipe(tmp_path):
    assert Recipe.read(tmp_path) is None
    assert fitted.of(tmp_path, {}) is fitted.NONE


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ([], "it must be a JSON object"),
        ({"image": []}, "image: expected a JSON object, got []"),
        ({"clases": []}, "clases is not known; the members are image, output, classes, threshold"),
        ({"image": {"size": 3}}, "image.size is not known; the members are input, color_mode, "),
        ({"image": {"color_mode": "bgr"}}, 'image.color_mode: expected one of grayscale, rgb, rgba, got "bgr"'),
        ({"image": {"target_size": 224}}, "image.target_size: expected a height and a width"),
        ({"image": {"target_size": [224]}}, "image.target_size: expected a height and a width"),
        ({"image": {"target_size": [224, 0]}}, "image.target_size: expected a height and a width"),
        ({"image": {"target_size": [224, 1e3]}}, "image.target_size: expected a height and a width"),
        ({"image": {"target_size": [224, 9000]}}, "image.target_size: expected a height and a width of 1 to 8192"),
        ({"image": {"interpolation": "cubic"}}, "image.interpolation: expected one of nearest, bilinear"),
        ({"image": {"keep_aspect_ratio": 1}}, "image.keep_aspect_ratio: expected true or false, got 1"),
        (
            {"image": {"preprocess_input": "alexnet"}},
            "image.preprocess_input: expected a mode (none, tf, torch, caffe)",
        ),
        ({"image": {"scale": [1, 1]}}, "image.scale: expected two different numbers"),
        ({"image": {"scale": [1, float("inf")]}}, "image.scale: expected two different numbers"),
        ({"image": {"scale": 1}}, "image.scale: expected two different numbers"),
        ({"image": {"mean": ["a"]}}, "image.mean: expected a number, or a list"),
        ({"image": {"mean": [1, 2]}}, "image.mean: expected a number, or a list"),
        ({"image": {"mean": True}}, "image.mean: expected a number, or a list"),
        ({"image": {"std": 0}}, "image.std: expected numbers other than 0"),
        ({"image": {"preprocess_input": "tf", "mean": 1}}, "image.preprocess_input already does what image.mean"),
        ({"classes": "cat"}, "classes: expected a list of 2 or more names"),
        ({"classes": ["cat"]}, "classes: expected a list of 2 or more names"),
        ({"classes": ["cat", " "]}, "classes: expected a list of 2 or more names"),
        ({"threshold": 1}, "threshold: expected a number between 0 and 1, got 1"),
        ({"threshold": 0.5, "classes": ["a", "b", "c"]}, "threshold is for 2 classes; classes has 3"),
    ],
)
def test_a_mistake_is_reported_with_its_file_and_member(tmp_path, content, problem):
    (tmp_path / FILE).write_text(json.dumps(content))

    with pytest.raises(ValueError, match=r"^") as caught:
        Recipe.read(tmp_path)

    assert str(caught.value).startswith(f"{tmp_path / FILE}: {problem}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe{}", b"[" * 100_000, b" " * 5_000_000])
def test_what_is_not_json_is_reported_with_its_file(tmp_path, content):
    (tmp_path / FILE).write_bytes(content)

    with pytest.raises(ValueError, match=r"^") as caught:
        Recipe.read(tmp_path)

    assert str(caught.value).startswith(f"{tmp_path / FILE}: ")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"image": {"input": "z"}}, "image.input is 'z'; the model has x"),
        ({"image": {"color_mode": "grayscale"}}, "does not fit input 'x' of shape [?, 8, 8, 3]"),
        ({"output": "z"}, "the model has no output 'z'; it has: y"),
        ({"classes": ["a", "b", "c"]}, "expected one output of 3 scores for each row; the model has y of 4"),
        ({"threshold": 0.5}, "expected one output of 1 scores for each row; the model has y of 4"),
    ],
)
def test_what_does_not_fit_the_model_is_reported(tmp_path, content, problem):
    (tmp_path / FILE).write_text(json.dumps(content))

    with pytest.raises(ValueError, match=r"^") as caught:
        fitted.of(tmp_path, {"serving_default": signature((8, 8, 3))})

    assert str(caught.value).startswith(f"{tmp_path / FILE}: ")
    assert problem in str(caught.value)


def test_a_model_with_several_inputs_needs_the_name_of_the_one_with_the_picture():
    several = signature((8, 8, 3))
    several = type(several)({**several.inputs, "z": spec(2)}, several.outputs, "")

    with pytest.raises(ValueError, match="must say which input takes the picture; the model has x, z"):
        fit(Recipe(Image()), {"serving_default": several})

    found = fit(Recipe(Image("x")), {"serving_default": several})
    described = found.described({"serving_default": several, "other": several})
    assert [spec.decode is not None for spec in described["serving_default"].inputs.values()] == [True, False]
    assert [spec.decode is not None for spec in described["other"].inputs.values()] == [False, False]


def test_a_model_without_the_default_signature_has_no_recipe():
    with pytest.raises(ValueError, match="it is for the signature serving_default; the model has other"):
        fit(Recipe(Image()), {"other": signature((8, 8, 3))})


def test_the_documentation_names_every_member():
    text = (PROJECT_ROOT / "docs" / "pictures.md").read_text(encoding="utf-8")

    for member in (*fields(Recipe), *fields(Image)):
        assert f"`{member.name}`" in text
