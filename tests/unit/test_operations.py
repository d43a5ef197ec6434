"""What an endpoint asks of the models is done in threads, each marked as working for the request."""

import asyncio
import threading
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any

import pytest

from serving.models.operations import Operations

REQUEST = ContextVar("request", default="none")


def done(result):
    future: Future = Future()
    future.set_result(result)
    return future


class Repository:
    """Records each call with its thread, what marks that, and the request's context."""

    def __init__(self):
        self.marked = []
        self.calls = []
        self.answered = False
        self.evicted_version = None

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

    def loaded(self, name, version=None, key=None):
        return self if (name, version) == ("loaded", 4) else None

    @property
    def has_answered(self):
        return self.answered

    def __str__(self):
        return "default/1"

    def first_run(self):
        self.calls.append(("first_run",))
        self.answered = True
        return done("")

    def failures_of_first_run(self):
        return nullcontext()

    def start(self, name, version, in_thread):
        assert in_thread == self.mark
        self.record("start", name, version)
        return done(self)

    def evicted(self, name):
        return self.evicted_version

    def check_loadable(self, name, version):
        self.record("check_loadable", name, version)

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


def test_a_load_is_awaited(repository):
    assert ask(repository, "load", "m", 3) is repository

    assert repository.calls == [("start", "m", 3)]


def test_the_default_model_is_ready_once_it_is_loaded_and_has_answered(repository):
    assert ask(repository, "ready") == "default/1"
    assert repository.calls == [("default_name",), ("start", "default", None), ("first_run",)]

    repository.calls.clear()
    ask(repository, "ready")
    assert ("first_run",) not in repository.calls


def test_an_evicted_default_model_is_ready_without_a_load(repository):
    repository.evicted_version = 4

    assert ask(repository, "ready") == "default/4"
    assert repository.calls == [("default_name",)]


def test_a_loaded_model_is_loadable_and_another_one_is_looked_at(repository):
    ask(repository, "check_loadable", "loaded", 4)
    assert repository.calls == []

    ask(repository, "check_loadable", "m", 3)
    assert repository.calls == [("check_loadable", "m", 3)]


def test_a_folder_need_not_exist(tmp_path):
    repository: Any = SimpleNamespace(settings=SimpleNamespace(model_path=tmp_path))

    assert Operations(repository).folder("m") == str(tmp_path / "m")
