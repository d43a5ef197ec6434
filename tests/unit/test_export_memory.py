"""The memory that converting weights takes: where it can't be had, TensorFlow serves the model with its variables."""

import re

import pytest

from export import form, litert, memory, saved_model
from serving.engines.options import LoadOptions

pytest.importorskip("resource")

GB = 2**30


@pytest.mark.parametrize(
    ("allowed", "physical", "weights", "is_enough"),
    [
        (-1, 16 * GB, 500e6, True),
        (-1, 16 * GB, 700e6, False),
        (GB // 4, GB // 2, 1000, True),
        (8 * GB, 16 * GB, 300e6, True),
        (8 * GB, 16 * GB, 350e6, False),
        (64 * GB, 8 * GB, 350e6, False),
    ],
    ids=[
        "no limit",
        "the machine's memory",
        "small weights",
        "within a limit",
        "beyond it",
        "a limit beyond the machine's memory",
    ],
)
def test_weights_need_a_multiple_of_their_memory(monkeypatch, allowed, physical, weights, is_enough):
    monkeypatch.setattr("resource.getrlimit", lambda _: (allowed, -1))
    monkeypatch.setattr("os.sysconf", lambda name: {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": physical // 4096}[name])

    lack = memory.lack(int(weights))

    assert (lack == "") is is_enough
    assert is_enough or re.fullmatch(rf"to convert {weights / 1e6:.0f} MB of weights may take \d+ GB .*", lack)


@pytest.fixture
def traced(tf):
    module = tf.Module()
    module.weights = tf.Variable([[1.0, 2.0]])
    function = tf.function(lambda x: {"y": x @ module.weights}, autograph=False)
    return module, function.get_concrete_function(x=tf.TensorSpec([None, 1], tf.float32, name="x"))


def test_a_model_that_is_too_large_to_convert_is_served_with_its_variables(tf, traced, tmp_path, monkeypatch):
    _, function = traced
    saved_model._write_with_variables(tf, None, function, tmp_path)
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr(memory, "lack", lambda weights: f"{weights} bytes are too many")

    decision = litert.decide(tf, lambda _: function, tmp_path, LoadOptions(), independent_rows=False)

    assert decision.proof is None
    assert decision.reason == "LiteRT: 8 bytes are too many: served by TensorFlow"
    assert form.freeze_if_better(tf, None, function, tmp_path) == ""
    assert sorted(tmp_path.rglob("*")) == before
