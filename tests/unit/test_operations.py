"""What an endpoint asks of the models is done in threads, each marked as working for the request."""

import asyncio
import threading
from contextlib import contextmanager
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any

import pytest

from serving.models.operations import Operations

REQUEST = ContextVar("request", default="none")


class Repository:
    """Records each call with its thread, what marks that, and the request's context."""

    def __init__(self):
        self.marked = []
        self.calls = []
        self.answered = False

    def record(self, *call):
        self.calls.append(call)
        thread = threading.current_thread()
        assert thread is not threading.main_thread()
        assert REQUEST.get() == "mine"
        assert self.marked == [thread]
        return thread.name

    @contextmanager
    def mark(self):
        self.marked.append(threading.current_thread())
        yield
        self.marked.clear()

    def loaded(self, name, version=None):
        return self if (name, version) == ("loaded", 4) else None

    @property
    def has_answered(self):
        return self.answered

    def warm_up(self):
        self.record("warm_up")
        self.answered = True

    def get(self, name, version):
        self.name_of_the_thread = self.record("get", name, version)
        return self

    def default_name(self):
        self.record("default_name")
        return "default"

    def names(self):
        return ["a", "b"]

    def status(self, name):
        self.record("status", name)
        return [f"{name} 2", f"{name} 1"]

    def version_of(self, name, label):
        self.record("version_of", name, label)
        return 5

    def all_signatures(self):
        self.record("all_signatures")
        return {"a": (1, {})}


@pytest.fixture
def repository():
    return Repository()


def ask(repository, operation, *arguments):
    async def call():
        REQUEST.set("mine")
        return await getattr(Operations(repository, repository.mark), operation)(*arguments)

    return asyncio.run(call())


@pytest.mark.parametrize(
    ("operation", "arguments", "answer", "calls"),
    [
        ("status", ("a",), ["a 2", "a 1"], [("status", "a")]),
        ("status", (), ["a 2", "a 1", "b 2", "b 1"], [("status", "a"), ("status", "b")]),
        ("version_of", ("a", "stable"), 5, [("version_of", "a", "stable")]),
        ("signatures", (), {"a": (1, {})}, [("all_signatures",)]),
    ],
)
def test_the_repository_is_asked_in_a_thread(repository, operation, arguments, answer, calls):
    assert ask(repository, operation, *arguments) == answer
    assert repository.calls == calls


def test_loads_have_threads_of_their_own_so_that_waiting_ones_leave_the_others_free(repository):
    assert ask(repository, "load", "m", 3) is repository

    assert repository.calls == [("get", "m", 3)]
    assert repository.name_of_the_thread.startswith("load")


@pytest.mark.parametrize(
    ("arguments", "calls"),
    [
        ((), [("default_name",), ("get", "default", None), ("warm_up",)]),
        (("m", 3), [("get", "m", 3), ("warm_up",)]),
        (("loaded", 4), [("warm_up",)]),
    ],
)
def test_a_model_is_ready_once_it_is_loaded_and_has_answered(repository, arguments, calls):
    assert ask(repository, "ready", *arguments) is repository
    assert repository.calls == calls

    repository.calls.clear()
    ask(repository, "ready", *arguments)
    assert ("warm_up",) not in repository.calls


def test_a_folder_need_not_exist(tmp_path):
    repository: Any = SimpleNamespace(settings=SimpleNamespace(model_path=tmp_path))

    assert Operations(repository).folder("m") == tmp_path / "m"
