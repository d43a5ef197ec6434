"""The report on larger models: what is worse than in the naive app, and the instance that a model needs."""

from benchmarks.real_models.report import Measured, markdown

NAIVE = {"cold": 5.0, "p50": 0.1, "rate": 10.0, "private": 200 * 1024.0, "resident": 500 * 1024.0}


def measured(**ours):
    """Return a model that this app serves as the naive app does, except for these figures."""
    rounds = [NAIVE | {name: value * factor for name, value in ours.items()} for factor in (0.5, 1, 9)]
    return Measured("Net", "LiteRT", {"auto": rounds, "tensorflow": [NAIVE], "naive": [NAIVE], "onnx": []})


def test_nothing_is_worse_where_all_is_equal():
    assert "naive app\n\n- Nowhere." in markdown([measured()])


def test_each_figure_that_is_worse_is_named_by_its_median():
    text = markdown([measured(cold=6.0, rate=9.0)])

    assert "- Net, this app: import to first answer, s: 6.00 instead of 5.00" in text
    assert "- Net, this app: requests/s, 8 at a time: 9 instead of 10" in text
    assert text.count("instead of") == 2


def test_an_instance_keeps_a_quarter_of_its_memory_free():
    sizes = [markdown([measured(resident=mb * 1024.0)]).splitlines()[-1] for mb in (384, 385, 3073)]

    assert sizes[0] == "| Net: LiteRT | 512 | 2,048 | 2,048 |"
    assert sizes[1] == "| Net: LiteRT | 2,048 | 2,048 | 2,048 |"
    assert sizes[2] == "| Net: LiteRT | none | 2,048 | 2,048 |"


def test_an_app_that_was_not_measured_has_no_column():
    assert "ONNX Runtime" not in markdown([measured()])
