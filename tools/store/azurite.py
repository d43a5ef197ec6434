"""Azurite, Microsoft's emulator of Azure Storage, which npm installs in ``.venv-azurite``."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from serving.settings import APP_ROOT

COMMAND = APP_ROOT / ".venv-azurite" / "node_modules" / ".bin" / "azurite-blob"

# Azurite's own account, which is public (learn.microsoft.com/azure/storage/common/storage-use-azurite).
ACCOUNT = "devstoreaccount1"
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def why_not() -> str:
    """Return why Azurite can't be started here; nothing if it can be."""
    if not shutil.which("node"):
        return "Node.js is not installed"
    return "" if COMMAND.exists() else "no .venv-azurite here; `make .venv-azurite/installed` sets it up"


@dataclass(frozen=True)
class Endpoint:
    """Where an emulated account listens."""

    port: int

    @property
    def connection(self) -> str:
        """Its connection string."""
        return (
            f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={_KEY};"
            f"BlobEndpoint=http://127.0.0.1:{self.port}/{ACCOUNT};"
        )

    def url(self, path: str) -> str:
        """Return the address of a container, with a folder in it if need be."""
        return f"http://127.0.0.1:{self.port}/{ACCOUNT}/{path}"


@contextmanager
def running(folder: Path, port: int = 0) -> Iterator[Endpoint]:
    """Run Azurite with its blobs in a folder, on any free port by default; it answers once this has been entered."""
    port = port or _free_port()
    command = [os.fspath(COMMAND), "--blobPort", str(port), "--location", os.fspath(folder), "--silent"]
    # Later libraries ask for versions of the protocol that it does not know yet, and of which nothing is used here.
    command += ["--skipApiVersionCheck", "--disableTelemetry"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            assert process.stdout is not None
            lines = []
            for line in process.stdout:
                lines.append(line)
                if "successfully listen" in line:
                    break
            else:
                raise OSError(f"Azurite did not start: {''.join(lines[-3:])}")
            yield Endpoint(port)
        finally:
            process.terminate()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
