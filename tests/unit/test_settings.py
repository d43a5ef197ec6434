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
        "SERVING_ANY_OP": "xor",
        "PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY": "True",
        "PYTHON_ENABLE_OPENTELEMETRY": "1",
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
        any_op=("xor",),
        application_insights=True,
        opentelemetry=True,
    )
    assert Settings.from_environment({"SERVING_ENGINE": "auto", "SERVING_POLL_SECONDS": "0"}) == Settings(
        poll_seconds=0
    )


def test_models_may_be_in_a_container():
    url = "https://acc.blob.core.windows.net/models/team"
    settings = Settings.from_environment({"SERVING_MODEL_PATH": url, "SERVING_STORE_CONNECTION": "AccountKey=x"})

    assert (str(settings.model_path), settings.store_connection) == (url, "AccountKey=x")


def test_a_key_in_an_address_is_refused_and_not_shown():
    with pytest.raises(ConfigurationError, match=r"SERVING_MODEL_PATH is 'https://a/b'; it must be https://") as error:
        Settings.from_environment({"SERVING_MODEL_PATH": "https://a/b?sig=secret"})

    assert "secret" not in str(error.value)


def test_batch_rows_by_model_leave_the_default_for_all_others():
    settings = Settings.from_environment({"SERVING_BATCH_ROWS": "xor=8"})

    assert settings.batch_rows == BatchRows(BatchRows.default, {"xor": 8})


def test_only_a_model_that_is_proven_or_named_is_batched():
    batch_rows = BatchRows(32, {"xor": 8})

    assert [batch_rows.of(*one) for one in (("xor", False), ("other", True), ("other", False))] == [8, 32, 0]


@pytest.mark.parametrize(
    ("text", "on"), [("1", True), ("true", True), ("T", True), ("Y", True), ("yes", True), ("0", False), ("no", False)]
)
def test_telemetry_is_on_where_the_worker_s_own_is(text, on):
    assert Settings.from_environment({"PYTHON_ENABLE_OPENTELEMETRY": text}).telemetry is on


@pytest.mark.parametrize("text", ["many", "-1", "=8", "xor=", "xor=many", "8, xor"])
def test_batch_rows_that_are_none_are_refused(text):
    with pytest.raises(ConfigurationError, match=f"SERVING_BATCH_ROWS is '{text}'; it must be a whole number of rows"):
        Settings.from_environment({"SERVING_BATCH_ROWS": text})


def test_an_empty_setting_is_an_unset_one():
    assert Settings.from_environment({"SERVING_ENGINE": "", "SERVING_MAX_BODY_BYTES": ""}) == Settings()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("SERVING_ENGINE", "gpu", "one of auto, litert, tensorflow, c, python"),
        ("SERVING_POLL_SECONDS", "-1", "a number of seconds, 0 or more"),
        ("SERVING_POLL_SECONDS", "nan", "a number of seconds, 0 or more"),
        ("SERVING_POLL_SECONDS", "inf", "a number of seconds, 0 or more"),
        ("SERVING_POLL_SECONDS", "5 s", "a number of seconds, 0 or more"),
        ("SERVING_MAX_BODY_BYTES", "0", "a whole number above 0"),
        ("SERVING_MAX_BODY_BYTES", "-1", "a whole number above 0"),
        ("SERVING_MAX_BODY_BYTES", "20 MB", "a whole number above 0"),
    ],
)
def test_a_bad_setting_is_named_with_its_value_and_what_is_expected(name, value, expected):
    with pytest.raises(ConfigurationError) as caught:
        Settings.from_environment({name: value})

    assert str(caught.value) == f"{name} is {value!r}; it must be {expected}."


def test_the_page_of_settings_has_the_table_of_today():
    page = settings_table.PAGE.read_text(encoding="utf-8")

    assert settings_table.updated(page) == page, "run: python -m tools.settings_table"
    assert page.count("| `SERVING_") == sum(field.metadata["name"].startswith("SERVING_") for field in fields(Settings))


def test_a_secret_is_not_shown_with_the_other_settings(monkeypatch):
    monkeypatch.setenv("SERVING_STORE_CONNECTION", "AccountKey=c2VjcmV0")

    settings = Settings.from_environment()

    assert settings.store_connection == "AccountKey=c2VjcmV0"
    assert "c2VjcmV0" not in repr(settings)
