"""Pictures over HTTP, as curl and Triton's client send them."""

import json
import subprocess

import httpx
import pytest

from tests.end_to_end.picture_models import DARK, LIGHT, in_base64, picture
from tests.fixtures import PROJECT_ROOT

CLIENTS = PROJECT_ROOT / ".venv-clients" / "bin" / "python"


@pytest.fixture(scope="module")
def url(pictures_host):
    return f"{pictures_host.url}/api/models/shade/classify"


def names(answer):
    return [[one["class"] for one in row] for row in answer["predictions"]]


def curl(*arguments):
    done = subprocess.run(["curl", "-s", *map(str, arguments)], capture_output=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("file_format", ["jpeg", "png", "gif", "bmp", "webp"])
def test_a_picture_of_each_format_is_named(url, file_format):
    content = picture(204, file_format=file_format)

    answer = httpx.post(url, content=content, headers={"Content-Type": f"image/{file_format}"})

    assert answer.headers["x-model"] == "shade/1"
    assert names(answer.json()) == [["light", "dark"]]


def test_curl_sends_a_picture_as_it_is_and_as_a_form(url, tmp_path):
    for name, content in (("dark", DARK), ("light", LIGHT)):
        (tmp_path / f"{name}.png").write_bytes(content)
    dark, light = tmp_path / "dark.png", tmp_path / "light.png"

    assert names(curl("--data-binary", f"@{dark}", url)) == [["dark", "light"]]
    assert names(curl("-F", f"image=@{light}", "-F", f"image=@{dark}", f"{url}?top=1")) == [["light"], ["dark"]]


def test_json_carries_base64(url):
    answer = httpx.post(url, json={"images": [in_base64(LIGHT), in_base64(DARK)]})

    assert names(answer.json()) == [["light", "dark"], ["dark", "light"]]


def test_a_mistake_is_a_problem(url):
    answer = httpx.post(url, content=b"no picture", headers={"Content-Type": "image/png"})

    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert answer.json()["detail"].startswith("Picture 1 is not a picture in a format that is read: JPEG")


@pytest.mark.skipif(not CLIENTS.exists(), reason="no .venv-clients here; `make test` sets it up")
def test_tritons_client_gets_names_by_class_count(pictures_host):
    script = PROJECT_ROOT / "tests" / "end_to_end" / "protocol_clients.py"
    arguments = ["triton_pictures", pictures_host.url, in_base64(DARK), in_base64(LIGHT)]

    done = subprocess.run([CLIENTS, script, *arguments], capture_output=True, text=True, check=True)

    for rows in json.loads(done.stdout).values():
        assert [[text.split(":")[1:] for text in row] for row in rows] == [
            [["0", "dark"], ["1", "light"]],
            [["1", "light"], ["0", "dark"]],
        ]


def test_the_root_leads_to_the_playground(pictures_host):
    response = httpx.get(pictures_host.url, follow_redirects=True)

    assert (response.status_code, response.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert f"Try the models on {pictures_host.url}/api/playground" in pictures_host.log
