"""The folders of models: which names and numbers count, labels, and when a folder has changed."""

import os

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
    ("content", "labels"), [(None, {}), ("{}", {}), ('{"stable": 1, "canary": 2}', {"stable": 1, "canary": 2})]
)
def test_labels_are_read_from_their_file(tmp_path, content, labels):
    make(tmp_path, "a/1")
    if content:
        (tmp_path / "a" / "labels.json").write_text(content)

    assert versions.labels(tmp_path, "a") == labels


@pytest.mark.parametrize("content", ["[]", "1", '{"stable": "1"}', '{"stable": true}', '{"a": 1, "b": null}'])
def test_labels_that_are_no_versions_are_an_error(tmp_path, content):
    make(tmp_path, "a/1")
    (tmp_path / "a" / "labels.json").write_text(content)

    with pytest.raises(ValueError, match=r'labels.json must be a JSON object such as \{"stable": 1\}'):
        versions.labels(tmp_path, "a")


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
