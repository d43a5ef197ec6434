"""The folders of models: which names and numbers count, labels, and when a folder has changed."""

import os
import re

import pytest

from serving.models import versions


def make(root, *paths):
    for path in paths:
        (root / path).mkdir(parents=True)


def test_models_and_versions_are_folders(tmp_path):
    make(tmp_path, "b/1", "a/00000123", "a/7", "a/x", "a/-1", "empty", ".hidden/1", "no versions/1", "none/tmp")
    (tmp_path / "file").touch()
    (tmp_path / "a" / "9").touch()

    assert versions.names(tmp_path) == ["a", "b"]
    assert versions.find(tmp_path, "a") == {123: tmp_path / "a" / "00000123", 7: tmp_path / "a" / "7"}
    assert versions.names(tmp_path / "missing") == []
    for name in ("", ".", "..", ".hidden", "no versions", "a/7", "missing"):
        assert versions.find(tmp_path, name) == {}


@pytest.mark.parametrize(
    ("content", "labels"),
    [
        (None, {}),
        ("{}", {}),
        ('\ufeff{"stable": 1, "canary": 2}', {"stable": {1: 1}, "canary": {2: 1}}),
        ('{"latest": 3}', {"latest": {3: 1}}),
        ('{"latest": {"10": 1, "0002": 99, "3": 5}}', {"latest": {2: 99, 3: 5, 10: 1}}),
    ],
)
def test_labels_are_read_from_their_file(tmp_path, content, labels):
    make(tmp_path, "a/1")
    if content:
        (tmp_path / "a" / "labels.json").write_text(content, encoding="utf-8")

    read = versions.labels(tmp_path, "a")
    assert read == labels
    assert all(list(shares) == sorted(shares) for shares in read.values())
    assert versions.labels(tmp_path / "a", ".") == {}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[]", 'it must be a JSON object such as {"stable": 1}'),
        ("1", "it must be a JSON object"),
        ("{", "Expecting property name"),
        ("[" * 60_000, "it is nested too deeply"),
        ('{"latest": ' + "[" * 20_000 + "]" * 20_000 + "}", "it is nested too deeply"),
        (" " * 70_000, "it is larger than 65536 bytes"),
        ("\xff", "can't decode byte"),
        ('{"a": 1, "a": 2}', "a name is there twice"),
        ('{"stable": "1"}', "'stable': expected a version such as 1, got \"1\""),
        ('{"stable": true}', "'stable': expected a version such as 1, got true"),
        ('{"a": 1, "b": null}', "'b': expected a version such as 1, got null"),
        ('{"stable": -1}', "'stable': expected a version such as 1, got -1"),
        ('{"stable": {"1": 1, "2": 1}}', "'stable': expected a version such as 1, got {"),
        ('{"latest": {}}', "latest: expected a version, or weights such as"),
        ('{"latest": [1, 2]}', "latest: expected a version, or weights such as"),
        ('{"latest": {"one": 1}}', "latest: expected a version, or weights such as"),
        ('{"latest": {"1": 0, "2": 1}}', "latest.1: expected a whole number of 1 to 1000000, got 0"),
        ('{"latest": {"1": 1, "2": 0.5}}', "latest.2: expected a whole number of 1 to 1000000, got 0.5"),
        ('{"latest": {"1": 1000001}}', "latest.1: expected a whole number of 1 to 1000000, got 1000001"),
        ('{"latest": {"1": 1, "01": 1}}', "latest: a version is there twice"),
    ],
)
def test_invalid_labels_are_an_error_that_names_the_file_and_the_place(tmp_path, content, says):
    make(tmp_path, "a/1")
    path = tmp_path / "a" / "labels.json"
    path.write_bytes(content.encode("latin-1"))

    with pytest.raises(ValueError, match="^" + re.escape(f"{path}: ")) as caught:
        versions.labels(tmp_path, "a")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_fingerprint_changes_with_any_file(tmp_path):
    make(tmp_path, "variables/deep")
    for name in ("saved_model.pb", "variables/index", "variables/deep/data"):
        (tmp_path / name).write_bytes(b"1")
    seen = [versions.fingerprint(tmp_path)]

    assert [name for name, *_ in seen[0]] == ["saved_model.pb", "variables/deep/data", "variables/index"]
    assert versions.fingerprint(tmp_path) == seen[0]
    (tmp_path / "variables" / "deep" / "data").write_bytes(b"12")
    seen.append(versions.fingerprint(tmp_path))
    os.utime(tmp_path / "variables" / "index", ns=(1, 1))
    seen.append(versions.fingerprint(tmp_path))
    (tmp_path / "variables" / "index").rename(tmp_path / "variables" / "other")
    seen.append(versions.fingerprint(tmp_path))
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    assert versions.fingerprint(tmp_path) == seen[-1]
    assert len(set(seen)) == len(seen)
    assert versions.fingerprint(tmp_path / "missing") == ()
