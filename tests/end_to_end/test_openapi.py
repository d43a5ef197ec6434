"""The running app against its own OpenAPI document: schemathesis finds no server error and no undocumented answer."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
from openapi_spec_validator import validate

from tests.end_to_end.running_host import RunningHost
from tests.fixtures import PROJECT_ROOT

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def test_the_document_is_valid_open_api_3_1(app_host: RunningHost) -> None:
    document = httpx.get(f"{app_host.url}/api/openapi.json").json()

    validate(document)
    assert document["openapi"] == "3.1.0"
    assert {"/PredictParity", "/v1/models/parity:predict", "/v2/models/parity/infer", "/health"} <= document[
        "paths"
    ].keys()


def test_the_running_app_keeps_to_its_document(app_host: RunningHost) -> None:
    schemathesis = Path(sys.executable).with_name("schemathesis")
    command = [str(schemathesis), "run", f"{app_host.url}/api/openapi.json", "--url", f"{app_host.url}/api"]
    options = ["--max-examples", "30", "--checks", CHECKS, "--phases", "examples,coverage,fuzzing", "--seed", "1"]

    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "tests.end_to_end.schemathesis_hooks"}
    result = subprocess.run(
        [*command, *options, "--no-color"],
        env=environment,
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stdout
    assert " generated, " in result.stdout
