"""App settings: defaults, and what a bad one says."""

from dataclasses import fields
from pathlib import Path

import pytest

from serving.settings import APP_ROOT, BatchRows, ConfigurationError, Settings
from tools import settings_table


def test_defaults_serve_the_apps_own_model_folder():
    settings = Settings.from_environment({})

    assert settings == Settings()
    assert settings.model_path == APP_ROOT / "model"


def test_every_setting_is_read():
    environ = {
        "SERVING_MODEL_PATH": "/mnt/models",
        "SERVING_ENGINE": "python",
        "SERVING_DEFAULT_MODEL": "xor",
        "SERVING_PRELOAD": "xor, words",
        "SERVING_POLL_SECONDS": "0.5",
        "SERVING_MAX_BODY_BYTES": "1000",
        "SERVING_BATCH_ROWS": "32, xor=0 , my-model.v2 = 128",
        "SERVING_CACHE_PATH": "/var/cache",
    }

    assert Settings.from_environment(environ) == Settings(
        model_path=Path("/mnt/models"),
        engine="python",
        default_model="xor",
        preload=("xor", "words"),
        poll_seconds=0.5,
        max_body_bytes=1000,
        batch_rows=BatchRows(32, {"xor": 0, "my-model.v2": 128}),
        cache_path=Path("/var/cache"),
    )


def test_batch_rows_by_model_leave_the_default_for_all_others():
    settings = Settings.from_environment({"SERVING_BATCH_ROWS": "xor=8"})

    assert settings.batch_rows == BatchRows(BatchRows.default, {"xor": 8})


@pytest.mark.parametrize("text", ["many", "-1", "=8", "xor=", "xor=many", "8, xor"])
def test_batch_rows_that_are_none_are_refused(text):
    with pytest.raises(ConfigurationError, match=f"SERVING_BATCH_ROWS is '{text}'; it must be a whole number of rows"):
        Settings.from_environment({"SERVING_BATCH_ROWS": text})


def test_an_empty_setting_is_an_unset_one():
    assert Settings.from_environment({"SERVING_ENGINE": "", "SERVING_MAX_BODY_BYTES": ""}) == Settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SERVING_ENGINE", "gpu"),
        ("SERVING_POLL_SECONDS", "-1"),
        ("SERVING_POLL_SECONDS", "nan"),
        ("SERVING_POLL_SECONDS", "5 s"),
        ("SERVING_MAX_BODY_BYTES", "0"),
        ("SERVING_MAX_BODY_BYTES", "-1"),
        ("SERVING_MAX_BODY_BYTES", "20 MB"),
    ],
)
def test_a_bad_setting_is_named_with_its_value(name, value):
    with pytest.raises(ConfigurationError) as caught:
        Settings.from_environment({name: value})

    assert name in str(caught.value)
    assert repr(value) in str(caught.value)


def test_the_page_of_settings_has_the_table_of_today():
    page = settings_table.PAGE.read_text(encoding="utf-8")

    assert settings_table.updated(page) == page, "run: python -m tools.settings_table"
    assert page.count("| `SERVING_") == sum(field.metadata["name"].startswith("SERVING_") for field in fields(Settings))
