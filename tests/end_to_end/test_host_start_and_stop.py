"""The local host starts, refuses to start and stops; each test has a host of its own."""

import re
import signal
import socket
import subprocess
import sys
import threading

import httpx
import pytest

from tests.end_to_end.conftest import StartHost
from tests.end_to_end.running_host import PATIENCE_SECONDS, AppFolder, Gate, RunningHost
from tests.fixtures import PROJECT_ROOT

ANSWER = "def main(req): return 'answered'"
WAIT_AT_GATE = "import os, socket; socket.create_connection(('127.0.0.1', int(os.environ['GATE']))).recv(1)"
SLOW = f"def main(req):\n    {WAIT_AT_GATE}\n    return 'answered'"


@pytest.fixture
def host(app_folder: AppFolder, start_host: StartHost) -> RunningHost:
    app_folder.add("Answer", ANSWER)
    return start_host(app_folder.root)


@pytest.fixture
def slow_host(app_folder: AppFolder, start_host: StartHost, gate: Gate) -> RunningHost:
    """A host with one function that answers at once and one that waits at the gate."""
    app_folder.add("Answer", ANSWER)
    app_folder.add("Slow", SLOW)
    return start_host(app_folder.root, GATE=gate.port)


class BackgroundRequest(threading.Thread):
    """A GET request that runs while the test continues."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url
        self._response: httpx.Response | None = None
        self.start()

    def run(self) -> None:
        self._response = httpx.get(self._url, timeout=PATIENCE_SECONDS)

    def response(self) -> httpx.Response:
        self.join()
        assert self._response is not None
        return self._response


def idle_connection(host: RunningHost) -> socket.socket:
    """Return a keep-alive connection that has received its answer."""
    connection = socket.create_connection(("localhost", host.port), PATIENCE_SECONDS)
    connection.sendall(b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert connection.recv(1000).startswith(b"HTTP/1.1 404")
    return connection


def interrupt_and_wait_until_it_is_ending(host: RunningHost) -> None:
    with idle_connection(host) as connection:
        host.interrupt()
        # A host that is ending closes idle connections first.
        assert connection.recv(1) == b""


def refused_start(app: AppFolder, port: int = 0) -> tuple[int, str]:
    """Run a host that ends by itself; returns its exit code and what it wrote to stderr."""
    command = [sys.executable, "-m", "tools.local_host", "--port", str(port), "--app", str(app.root)]
    ended = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, encoding="utf-8", timeout=PATIENCE_SECONDS)
    return ended.returncode, ended.stderr


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


@pytest.mark.parametrize("address", ["localhost", "127.0.0.1", pytest.param("[::1]", marks=needs_ipv6)])
def test_it_listens_on_every_name_of_localhost(host: RunningHost, address: str) -> None:
    assert httpx.get(f"http://{address}:{host.port}/api/Answer").text == "answered"


@pytest.mark.parametrize(
    ("family", "address"),
    [
        pytest.param(socket.AF_INET, "127.0.0.1", id="IPv4"),
        pytest.param(socket.AF_INET6, "::1", id="IPv6", marks=needs_ipv6),
    ],
)
def test_a_port_in_use_in_either_family_is_reported_in_one_line(app_folder, family, address):
    with socket.create_server((address, 0), family=family) as other_program:
        port = other_program.getsockname()[1]
        exit_code, errors = refused_start(app_folder, port)

    assert exit_code == 1
    assert errors == f"Port {port} is in use; choose another: make start PORT={port + 1}\n"


def test_an_invalid_function_json_is_reported_in_one_line(app_folder: AppFolder) -> None:
    app_folder.write("Bad/function.json", "{")

    exit_code, errors = refused_start(app_folder)

    assert exit_code == 1
    assert re.fullmatch(r"\S+function\.json: not valid JSON: [^\n]+\n", errors)


def test_an_unknown_log_level_is_reported_in_one_line(app_folder: AppFolder) -> None:
    app_folder.write("host.json", '{"logging": {"logLevel": {"default": "Loud"}}}')

    exit_code, errors = refused_start(app_folder)

    assert exit_code == 1
    assert re.fullmatch(r"host\.json: unknown log level 'Loud'; [^\n]+\n", errors)


def test_while_it_ends_a_request_in_flight_is_answered_and_no_new_connection_accepted(slow_host, gate):
    request = BackgroundRequest(f"{slow_host.url}/api/Slow")

    with gate.reached():
        interrupt_and_wait_until_it_is_ending(slow_host)
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{slow_host.url}/api/Slow")

    assert request.response().text == "answered"
    assert slow_host.wait() == 0


def test_it_ends_without_a_traceback(host: RunningHost) -> None:
    httpx.get(f"{host.url}/api/Answer")

    assert host.stop() == 0
    assert "Traceback" not in host.log


def test_it_can_be_ended_as_soon_as_it_announces_its_url(host: RunningHost) -> None:
    assert host.url

    assert host.stop() == 0
    assert "Warning" not in host.log


def test_a_second_interrupt_cuts_off_a_function_that_does_not_return(slow_host: RunningHost, gate: Gate) -> None:
    request = BackgroundRequest(f"{slow_host.url}/api/Slow")

    with gate.reached():
        interrupt_and_wait_until_it_is_ending(slow_host)
        slow_host.interrupt()
        assert slow_host.wait() == 0

    assert request.response().status_code == 503
    assert "Slow was cut off" in slow_host.log
    assert "Traceback" not in slow_host.log


@pytest.mark.skipif(sys.platform == "win32", reason="a process on Windows cannot handle SIGTERM")
def test_sigterm_ends_it_as_an_interrupt_does(host: RunningHost) -> None:
    assert httpx.get(f"{host.url}/api/Answer").text == "answered"

    host.process.send_signal(signal.SIGTERM)

    assert host.wait() == 0


@pytest.mark.skipif(sys.platform == "win32", reason="a process on Windows cannot handle SIGTERM")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_functions_are_imported_ends_it_without_a_traceback(app_folder, start_host, gate, number):
    app_folder.add("SlowImport", f"{WAIT_AT_GATE}\n{ANSWER}")
    host = start_host(app_folder.root, GATE=gate.port)

    with gate.reached():
        host.process.send_signal(number)
        assert host.wait() == 0

    assert "Traceback" not in host.log


def test_clients_that_disconnect_while_they_send_or_wait_do_no_harm(slow_host: RunningHost, gate: Gate) -> None:
    with socket.create_connection(("localhost", slow_host.port), PATIENCE_SECONDS) as sender:
        sender.sendall(b"POST /api/Answer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nnot all of it")
    with socket.create_connection(("localhost", slow_host.port), PATIENCE_SECONDS) as waiting:
        waiting.sendall(b"GET /api/Slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with gate.reached():
            waiting.close()

    assert httpx.get(f"{slow_host.url}/api/Answer").text == "answered"
    assert slow_host.stop() == 0
    assert "Traceback" not in slow_host.log
