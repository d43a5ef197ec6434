"""azure.yaml, the workflow, the Dockerfile and Kubernetes name the same package, Python and parameters as the rest."""

import json
import re
from pathlib import Path

from tests.infra.bicep import INFRA, Bicep, value

PROJECT = INFRA.parent
PACKAGE = "python3.13-linux-x86_64"


def _yaml(path):
    import yaml

    return yaml.safe_load((PROJECT / path).read_text(encoding="utf-8"))


def _default(name):
    return value(Bicep.read("main.bicep").declared("param")[name].node.children[-1])


def test_azd_deploys_the_package_that_make_builds_without_a_remote_build():
    service = _yaml("azure.yaml")["services"]["api"]

    assert service["dist"] == f"dist/{PACKAGE}"
    assert service["remoteBuild"] is False
    assert service["hooks"]["prepackage"]["run"].startswith(f"make package TARGET={_default('pythonVersion')} ")


def test_azd_finds_the_app_by_its_tag():
    (service,) = _yaml("azure.yaml")["services"]

    assert f"'azd-service-name': '{service}'" in Bicep.read("function-app.bicep").resource("app")["tags"]


def test_the_parameters_file_fills_params_of_main_and_every_one_without_a_default():
    given = json.loads((INFRA / "main.parameters.json").read_text(encoding="utf-8"))["parameters"]
    params = Bicep.read("main.bicep").declared("param")

    assert {name for name, param in params.items() if not param.has_default} <= set(given) <= set(params)
    assert given["pythonVersion"]["value"] == f"${{PYTHON_VERSION={_default('pythonVersion')}}}"


def test_the_workflow_deploys_the_zip_that_it_packaged():
    jobs = _yaml(".github/workflows/deploy.yml")["jobs"]
    uploaded = [step["with"]["path"] for step in jobs["package"]["steps"] if "upload-artifact" in step.get("uses", "")]
    (deployed,) = (step["with"] for step in jobs["deploy"]["steps"] if "functions-action" in step.get("uses", ""))

    assert uploaded == [f"dist/{PACKAGE}.zip", "dist/*.sbom.json"]
    assert deployed["package"] == f"{PACKAGE}.zip"
    assert "remote-build" not in deployed


def test_only_what_is_on_main_and_passed_is_deployed_with_a_token_for_that_job_alone():
    workflow = _yaml(".github/workflows/deploy.yml")
    jobs = workflow["jobs"]

    assert workflow["permissions"] == {}
    assert workflow[True]["push"] == {"branches": ["main"]}  # YAML 1.1 reads the key "on" as true
    assert set(jobs["deploy"]["needs"]) == set(jobs) - {"deploy"}
    assert "github.event_name == 'push'" in jobs["deploy"]["if"]
    assert {name: job["permissions"] for name, job in jobs.items() if name != "deploy"} == {
        name: {"contents": "read"} for name in jobs if name != "deploy"
    }


def test_the_workflow_runs_every_step_of_ci():
    (steps,) = re.findall(r'^steps="(.+)"$', (PROJECT / "tools/scripts/ci").read_text(encoding="utf-8"), re.MULTILINE)
    jobs = _yaml(".github/workflows/deploy.yml")["jobs"]
    commands = [step["run"] for name in ("check", "package") for step in jobs[name]["steps"] if "run" in step]

    assert commands == ['tools/scripts/ci "$STEP"', "tools/scripts/ci package"]
    assert {*jobs["check"]["strategy"]["matrix"]["step"], "package"} == set(steps.split())


def test_actions_are_pinned_by_commit():
    text = (PROJECT / ".github/workflows/deploy.yml").read_text(encoding="utf-8")

    for used in re.findall(r"uses: (.+)", text):
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", used), used


def test_the_image_holds_the_package_and_finds_its_libraries():
    lines = (PROJECT / "infra/Dockerfile").read_text(encoding="utf-8")

    assert "ARG BASE_DIGEST\nFROM mcr.microsoft.com/azure-functions/python:4-python3.13@${BASE_DIGEST}\n" in lines
    assert f"COPY dist/{PACKAGE}/ /home/site/wwwroot/\n" in lines
    assert "PYTHONPATH=/home/site/wwwroot/.python_packages/lib/site-packages\n" in lines
    assert f"!dist/{PACKAGE}\n" in (PROJECT / ".dockerignore").read_text(encoding="utf-8")


def test_kubernetes_probes_what_the_app_answers_without_a_key():
    function = json.loads((PROJECT / "Health/function.json").read_text(encoding="utf-8"))["bindings"][0]
    (container,) = _yaml("infra/kubernetes/deployment.yaml")["spec"]["template"]["spec"]["containers"]
    probes = {name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")}

    assert (function["authLevel"], function["route"]) == ("anonymous", "health/{path?}")
    live = "/api/health/live"
    assert probes == {"startup": live, "liveness": live, "readiness": "/api/health/ready"}


def test_kubernetes_scales_the_deployment_by_a_cpu_request_that_is_there():
    deployment, scaling = (_yaml(f"infra/kubernetes/{name}.yaml") for name in ("deployment", "scaling"))
    (container,) = deployment["spec"]["template"]["spec"]["containers"]

    assert scaling["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert scaling["spec"]["triggers"][0]["type"] == "cpu"
    assert container["resources"]["requests"]["cpu"]
    assert "replicas" not in deployment["spec"]  # else each `kubectl apply` would undo the scaling


def test_every_kubernetes_file_is_applied():
    folder = Path(PROJECT, "infra/kubernetes")

    assert {*_yaml("infra/kubernetes/kustomization.yaml")["resources"], "kustomization.yaml"} == {
        path.name for path in folder.iterdir()
    }
