"""The host reads local.settings.json and settings of its own."""

import json
from pathlib import Path
from typing import Any

import pytest

from tools.local_host.errors import HostError
from tools.local_host.settings import Settings, put_in_environment


def write_settings(root: Path, content: Any) -> None:
    (root / "local.settings.json").write_text(json.dumps(content), encoding="utf-8")


def test_the_values_are_put_in_the_environment_as_text(tmp_path: Path) -> None:
    write_settings(tmp_path, {"Values": {"TEXT": "a", "NUMBER": 4, "FLAG": True, "EMPTY": "", "NULL": None}})
    environ: dict[str, str] = {}

    put_in_environment(tmp_path, environ)

    assert environ == {"TEXT": "a", "NUMBER": "4", "FLAG": "true", "EMPTY": ""}


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    write_settings(tmp_path, {"Values": {"ENGINE": "python"}})
    environ = {"ENGINE": "c"}

    put_in_environment(tmp_path, environ)

    assert environ == {"ENGINE": "c"}


def test_the_file_is_optional(tmp_path: Path) -> None:
    environ: dict[str, str] = {}

    put_in_environment(tmp_path, environ)

    assert environ == {}


def test_encrypted_settings_are_refused(tmp_path: Path) -> None:
    write_settings(tmp_path, {"IsEncrypted": True, "Values": {"KEY": "CfDJ8"}})

    with pytest.raises(HostError, match='"IsEncrypted" is true'):
        put_in_environment(tmp_path, {})


def test_the_host_reads_azure_s_settings() -> None:
    settings = Settings.from_environment(
        {
            "PYTHON_THREADPOOL_THREAD_COUNT": "4",
            "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT": "1000",
            "AzureFunctionsJobHost__logging__logLevel__default": "Warning",
        }
    )

    assert settings == Settings(thread_count=4, max_body_bytes=1000, log_level="Warning")


def test_unset_and_empty_settings_keep_their_defaults() -> None:
    assert Settings.from_environment({"PYTHON_THREADPOOL_THREAD_COUNT": ""}) == Settings()


@pytest.mark.parametrize("text", ["0", "-1", "four", "1.5"])
def test_a_setting_that_is_not_a_positive_number_is_reported_by_name(text: str) -> None:
    with pytest.raises(HostError, match=f"PYTHON_THREADPOOL_THREAD_COUNT is '{text}'"):
        Settings.from_environment({"PYTHON_THREADPOOL_THREAD_COUNT": text})
