"""The published function folders load under Microsoft's runtime, whichever they are."""

from pathlib import Path

from tests.contract.conftest import StartWorker


def test_every_published_function_folder_loads(published_app: Path, start_worker: StartWorker) -> None:
    worker = start_worker(published_app)

    for config in published_app.glob("*/function.json"):
        worker.load(config.parent.name)
