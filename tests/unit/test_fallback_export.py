"""Exports while serving: private, and as bounded as every export (``test_export_bounded.py``)."""

import os
import time
from pathlib import Path

import pytest

from serving.models import fallback_export
from serving.models.fallback_export import FallbackExportError
from serving.models.private import NotPrivateError
from tests.unit import keras_files

pytestmark = pytest.mark.skipif(os.name != "posix", reason="owners and permissions of POSIX")


@pytest.fixture
def sources(tmp_path: Path) -> list[Path]:
    keras_files.write_xor_of_2017(tmp_path / "xor" / "1")
    return [tmp_path / "xor" / "1" / name for name in ("model.json", "model.h5")]


def test_a_cache_that_others_can_write_to_is_not_used(tmp_path: Path, sources: list[Path]) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o777)

    with pytest.raises(NotPrivateError, match="is writable by other users; set SERVING_CACHE_PATH"):
        fallback_export.export_into(tmp_path / "cache" / "xor", sources)


def test_the_export_is_bounded_and_old_remains_are_removed(
    tmp_path: Path, sources: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache" / "xor"
    for name, age in (("0123-killed", 10_000), ("0123-running", 0)):
        (cache / name).mkdir(parents=True)
        os.utime(cache / name, (time.time() - age,) * 2)
    monkeypatch.setattr(fallback_export, "_TIMEOUT_SECONDS", 0.06)
    monkeypatch.setattr(fallback_export, "_SECONDS_OF_REMAINS", 400)

    with pytest.raises(FallbackExportError, match=r"it took longer than 0.001 minutes"):
        fallback_export.export_into(cache, sources)

    assert [path.name for path in cache.iterdir()] == ["0123-running"]
