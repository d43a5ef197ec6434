"""What a list of files means, without a store."""

import pytest

from serving.store import listing
from serving.store.listing import File
from serving.store_url import StoreUrl


def files(*names):
    return [File(name, 0 if name.endswith("/") else 1, f"tag {name}") for name in names]


def found(*names, prefix=""):
    read = listing.read(files(*names), prefix)
    return {f"{name}/{number}" for name, versions in read.versions.items() for number in versions}


@pytest.mark.parametrize(
    ("names", "versions"),
    [
        (["a/1/export.json", "a/1/saved_model.pb"], {"a/1"}),
        (["a/1/saved_model.pb"], {"a/1"}),
        (["a/1/variables/variables.index", "a/1/export.json"], {"a/1"}),
        (["a/1/saved_model.pb", "a/1/variables/variables.index"], set()),
        (["a/1/saved_model.pb", "a/1/variables/variables.data-00000-of-00001"], set()),
        (
            ["a/1/saved_model.pb", "a/1/variables/variables.index", "a/1/variables/variables.data-00000-of-00002"],
            set(),
        ),
        (
            ["a/1/saved_model.pb", "a/1/variables/variables.index", "a/1/variables/variables.data-00000-of-00001"],
            {"a/1"},
        ),
        (["a/1/model.keras"], set()),
        (["a/00012/export.json"], {"a/12"}),
        (["a/1", "a/1/", "a/1/export.json"], {"a/1"}),
        (["a/x/export.json", "a/-1/export.json", "a/\u0663/export.json", "export.json", "1/export.json"], set()),
        ([".hidden/1/export.json", "../1/export.json", "/1/export.json", "no versions/1/export.json"], set()),
    ],
)
def test_a_version_counts_once_it_is_complete(names, versions):
    assert found(*names) == versions


def test_the_prefix_is_taken_off():
    assert found("team/a/1/export.json", prefix="team/") == {"a/1"}


def test_labels_beside_versions_are_listed_unless_they_are_too_large():
    read = listing.read([*files("a/labels.json"), File("b/labels.json", 10**9, "t")], "")

    assert list(read.labels) == ["a"]


def test_another_size_or_etag_is_another_content():
    one, two, three = (
        listing.read([File("a/1/export.json", size, tag)], "").versions["a"][1].digest
        for size, tag in ((1, "t"), (2, "t"), (1, "u"))
    )

    assert len({one, two, three}) == 3


def test_a_version_of_too_many_files_is_refused():
    read = listing.read(files("a/1/export.json", *(f"a/1/assets/{number}" for number in range(1000))), "")

    assert read.versions == {}
    assert read.refused == {"a/1": "it has 1001 files; at most 1000 are read"}


@pytest.mark.parametrize(
    ("text", "container", "prefix"),
    [
        ("https://acc.blob.core.windows.net/models", "https://acc.blob.core.windows.net/models", ""),
        ("https://acc.blob.core.windows.net/models/a/b/", "https://acc.blob.core.windows.net/models", "a/b/"),
        ("http://127.0.0.1:10000/acc/models/a", "http://127.0.0.1:10000/acc/models", "a/"),
    ],
)
def test_an_address_has_a_container_and_perhaps_a_folder(text, container, prefix):
    assert StoreUrl.parse(text) == StoreUrl(container, prefix)


@pytest.mark.parametrize(
    "text",
    [
        *("https://acc.blob.core.windows.net", "http://acc.blob.core.windows.net/models", "https://", "ftp://a/b"),
        *("https://acc.blob.core.windows.net/models?sv=1", "https://u:p@acc/models", "http://127.0.0.1:10000/acc"),
    ],
)
def test_another_address_is_refused(text):
    with pytest.raises(ValueError, match="https://"):
        StoreUrl.parse(text)
