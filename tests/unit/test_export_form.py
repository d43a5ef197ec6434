"""Whether a large model's weights become constants or stay variables is measured."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export import form, install, saved_model
from export.form import _Start
from export.saved_model import Verified
from serving.engines.session import load_session
from serving.models.export_record import ExportRecord, SourceError

Export = Callable[..., tuple[Path, install.Written]]


@pytest.fixture
def export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Export:
    """Return a function that exports a model of two numbers whose weights count as large, for TensorFlow."""
    keras = pytest.importorskip("keras")
    monkeypatch.setattr(saved_model, "_LARGEST_FROZEN_BYTES", 0)

    def make(*starts: _Start) -> tuple[Path, install.Written]:
        if starts:
            found = iter(starts * form._ROUNDS)
            monkeypatch.setattr(form, "_start", lambda *of_one: next(found))
        model = keras.Sequential([keras.Input((2,), name="x"), keras.layers.Dense(3, name="y")])
        model.save(tmp_path / "model.keras")
        return tmp_path, install.export(model, "3", [tmp_path / "model.keras"], tmp_path, "tensorflow")

    return make


@pytest.mark.parametrize(
    ("frozen", "with_variables", "is_frozen"),
    [
        (_Start(1, 150), _Start(3, 100), True),
        (_Start(1, 170), _Start(3, 100), False),
        (_Start(2.5, 100), _Start(3, 100), False),
        (_Start(1, 0), _Start(3, 0), True),
    ],
    ids=["starts sooner", "takes much more memory", "hardly sooner", "memory is not known"],
)
def test_the_form_that_starts_better(
    export: Export, frozen: _Start, with_variables: _Start, is_frozen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, written = export(with_variables, frozen)

    record = ExportRecord.read(folder)
    assert (folder / "variables").exists() != is_frozen
    assert record.is_optimized == is_frozen
    assert written.engine == record.engine
    assert written.engine.startswith("frozen: first answer after") == is_frozen
    session: Any = load_session(folder, "tensorflow", record.load_options())
    assert session.run("serving_default", {"x": np.ones((1, 2), np.float32)})["y"].shape == (1, 3)


def test_a_start_is_measured_in_a_process_of_its_own(export: Export, tmp_path: Path) -> None:
    folder, _ = export()
    np.savez(tmp_path / "feeds.npz", x=np.ones((1, 2), np.float32))

    start = form._start(folder, tmp_path / "feeds.npz", is_optimized=False)

    assert 0 < start.seconds < 600
    assert start.megabytes == 0 or 5 < start.megabytes < 2000


def test_a_state_that_constants_can_not_carry_stays_in_variables(
    export: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saved_model, "write_frozen", lambda *rest: False)

    folder, written = export(_Start(9, 9), _Start(1, 1))

    assert (folder / "variables").exists()
    assert written.engine == ""


@pytest.mark.parametrize("outcome", [SourceError("it differs"), Verified(0.5, False, None, "too sensitive")])
def test_what_does_not_answer_alike_when_frozen_stays_in_variables(
    export: Export, monkeypatch: pytest.MonkeyPatch, outcome: SourceError | Verified
) -> None:
    verify = saved_model.verify

    def verify_frozen(model: Any, folder: Path, is_optimized: bool) -> Verified:
        if not is_optimized:
            return verify(model, folder, is_optimized)
        if isinstance(outcome, SourceError):
            raise outcome
        return outcome

    monkeypatch.setattr(saved_model, "verify", verify_frozen)

    folder, written = export(_Start(9, 9), _Start(1, 1))

    assert (folder / "variables").exists()
    assert written.engine == ""
