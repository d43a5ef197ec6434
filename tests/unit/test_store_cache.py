"""The cache of downloaded versions: bounded, complete, and never without a version in use."""

import os
import sys

import pytest

from serving.store.cache import Cache
from serving.store.errors import RefusedError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="versions in use are locked on POSIX only")


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "store" / "a", 100)


def fill(cache, name, size, at=0):
    """Put an entry into the cache, used last at that time."""
    with cache.holding(name, size, lambda folder: (folder / "file").write_bytes(b"x" * size)):
        pass
    os.utime(cache.root / name, (at, at))


def entries(cache):
    return sorted(path.name for path in cache.root.iterdir() if path.is_dir())


def test_the_least_recently_used_make_room(cache):
    fill(cache, "a", 40, at=2)
    fill(cache, "b", 40, at=1)

    fill(cache, "c", 40)

    assert entries(cache) == ["a", "c"]


def test_one_in_use_is_kept_by_another_process_too(cache):
    with cache.holding("a", 60, lambda folder: (folder / "file").write_bytes(b"x" * 60)):
        with pytest.raises(RefusedError, match=r"raise SERVING_STORE_CACHE_MB"):
            fill(Cache(cache.root, 100), "b", 60)
        assert entries(cache) == ["a"]

    fill(cache, "b", 60)
    assert entries(cache) == ["b"]


def test_what_is_there_is_not_downloaded_again(cache):
    fill(cache, "a", 40)

    with cache.holding("a", 40, lambda folder: pytest.fail("it was downloaded")):
        pass


def test_a_download_that_fails_leaves_nothing(cache):
    def fail(folder):
        (folder / "file").write_bytes(b"x")
        raise OSError("cut")

    with pytest.raises(OSError, match="cut"), cache.holding("a", 1, fail):
        pass

    assert entries(cache) == []


def test_remains_of_a_process_that_was_ended_are_removed(cache):
    fill(cache, "a", 10)
    (cache.root / "tmp-old").mkdir()
    os.utime(cache.root / "tmp-old", (1, 1))
    (cache.root / "tmp-new").mkdir()

    fill(cache, "b", 10)

    assert entries(cache) == ["a", "b", "tmp-new"]


def test_downloads_at_the_same_time_have_room_for_all_of_them(cache):
    def download(folder):
        with pytest.raises(RefusedError):
            fill(cache, "b", 60)
        (folder / "file").write_bytes(b"x" * 60)

    with cache.holding("a", 60, download):
        assert entries(cache) == ["a"]
