"""Pinning, sharing and rolling back while clients send: each change is followed, and no request is lost."""

import json
import re
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.end_to_end.conftest import StartHost
from tests.end_to_end.running_host import PATIENCE_SECONDS, stores
from tests.fixtures import MODEL

ROWS = [[1, 0], [1, 1]]
REQUESTS: list[tuple[str, object]] = [
    ("api/PredictParity", {"X": ROWS}),
    ("api/v1/models/parity:predict", {"instances": ROWS}),
    (
        "api/v2/models/parity/infer",
        {"inputs": [{"name": "X", "datatype": "FP32", "shape": [2, 2], "data": [1, 0, 1, 1]}]},
    ),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a model with versions 1 and 2."""
    for version in ("1", "2"):
        shutil.copytree(MODEL / "1", tmp_path / "parity" / version)
    return tmp_path / "parity"


@contextmanager
def sending(url: str) -> Iterator[Callable[[], Counter[str]]]:
    """Send requests from several clients; gives a function that returns which versions answered the next ones."""
    answers: list[tuple[int, str]] = []
    stop = threading.Event()

    def client(number: int) -> None:
        with httpx.Client(timeout=60) as http:
            while not stop.is_set():
                path, body = REQUESTS[number % len(REQUESTS)]
                response = http.post(f"{url}/{path}", json=body)
                answers.append((response.status_code, response.headers.get("X-Model", "")))

    def next_answers() -> Counter[str]:
        start = len(answers) + 4  # those on their way may be of before
        while len(answers) < start + 60 and any(thread.is_alive() for thread in threads):
            time.sleep(0.01)
        return Counter(model for _, model in answers[start:])

    threads = [threading.Thread(target=client, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield next_answers
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        assert {status for status, _ in answers} == {200}


def wait_for(next_answers: Callable[[], Counter[str]], *versions: int) -> None:
    expected = {f"parity/{version}" for version in versions}
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (seen := set(next_answers())) != expected:
        assert time.monotonic() < deadline, f"{seen} answered; expected {expected}"


def test_what_the_labels_say_is_followed_while_clients_send(
    app_root: Path, start_host: StartHost, folder: Path
) -> None:
    if stores:
        pytest.skip("changes folders while the app runs; tests/unit/test_store.py changes a store")
    host = start_host(app_root, SERVING_MODEL_PATH=folder.parent, SERVING_POLL_SECONDS=0.2)

    def label(content: str) -> None:
        (folder / "new.json").write_text(content)
        (folder / "new.json").replace(folder / "labels.json")

    with sending(host.url) as next_answers:
        wait_for(next_answers, 2)
        label('{"latest": 1}')
        wait_for(next_answers, 1)
        label('{"latest": {"1": 1, "2": 1}}')
        wait_for(next_answers, 1, 2)
        for number in range(10):
            headers = {"X-Split-Key": f"user-{number}"}
            path, body = REQUESTS[number % len(REQUESTS)]
            seen = {httpx.post(f"{host.url}/{path}", json=body, headers=headers).headers["X-Model"] for _ in range(5)}
            assert len(seen) == 1
        label('{"latest": {"1": 1, "2": 0}}')
        host.wait_for_log(re.compile(r"labels\.json: latest\.2: expected a whole number of 1 to 1000000, got 0"))
        wait_for(next_answers, 1, 2)
        shutil.copytree(folder / "1", folder / "3")
        (folder / "3" / "saved_model.pb").write_bytes(b"broken")
        label(json.dumps({"latest": {"2": 1, "3": 9}}))
        wait_for(next_answers, 2)
        host.wait_for_log(re.compile("version 3 does not exist or can't be loaded"))
        (folder / "labels.json").unlink()
        (folder / "3").rename(folder / "removed")
        label('{"latest": 1}')
        wait_for(next_answers, 1)
        (folder / "labels.json").unlink()
        wait_for(next_answers, 2)
    assert "Traceback" not in host.log
