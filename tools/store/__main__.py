"""``python -m tools.store``: serve the project's models from Azurite on this machine, until Ctrl-C."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from azure.storage.blob import BlobServiceClient

from serving.models import versions
from serving.settings import APP_ROOT
from tools.store import azurite, upload

_CONTAINER = "models"


def put_all(endpoint: azurite.Endpoint, folder: Path, container: str = _CONTAINER) -> None:
    """Upload all models in a folder into a container of an emulated account, which is made."""
    with BlobServiceClient.from_connection_string(endpoint.connection) as service:
        client = service.create_container(container)
        for name in versions.names(folder):
            for version in versions.find(folder, name).values():
                upload.put(client, "", version)
            if (folder / name / versions.LABELS).exists():
                upload.put(client, "", folder / name / versions.LABELS)


def main() -> int:
    """Start Azurite and the local host on it; return the host's exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.store", description=__doc__)
    parser.add_argument("--port", default="7071", help="port of the host (default: %(default)s)")
    options = parser.parse_args()
    if reason := azurite.why_not():
        print(f"Azurite can't be started: {reason}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder, azurite.running(Path(folder), 10000) as endpoint:
        put_all(endpoint, APP_ROOT / "model")
        store = {"SERVING_MODEL_PATH": endpoint.url(_CONTAINER), "SERVING_STORE_CONNECTION": endpoint.connection}
        print("To upload a version, in another terminal:")
        print(*(f"  export {name}='{value}'" for name, value in store.items()), "  make upload MODEL=...", sep="\n")
        try:
            host = [sys.executable, "-m", "tools.local_host", "--port", options.port]
            return subprocess.run(host, env={**os.environ, **store}, check=False).returncode
        except KeyboardInterrupt:
            return 0


if __name__ == "__main__":
    sys.exit(main())
