"""Tests of what deploys the app. They need parsers of their own: ``make check-infra`` installs and runs them."""

import importlib.util

import pytest

_HAS_PARSERS = importlib.util.find_spec("tree_sitter_bicep") is not None


def pytest_runtest_setup() -> None:
    """Skip every test of this folder where the parsers are missing; pytest sums them up in one line."""
    if not _HAS_PARSERS:
        pytest.skip("tree-sitter-bicep is not installed; see `make check-infra`")
