"""The binding to TensorFlow's C library, compared with the library and its headers."""

import re
from ctypes import POINTER, c_char_p, c_int, c_size_t, c_void_p

import pytest

from serving.engines import tensorflow_library
from serving.engines.errors import EngineNotFoundError
from serving.engines.native import Library

HEADERS = tensorflow_library.find_library().parent / "include" / "tensorflow" / "c"


@pytest.fixture(scope="module")
def declarations():
    text = "\n".join((HEADERS / name).read_text() for name in ("c_api.h", "tf_tensor.h", "tf_tstring.h"))
    text += "\n".join((HEADERS / name).read_text() for name in ("tf_status.h", "tf_buffer.h"))
    text = re.sub(r"//.*", "", text)
    pattern = r"TF_CAPI_EXPORT\s+(?:extern\s+)?([^;()]*?)\b(TF_\w+)\(([^;]*?)\)\s*;"
    return {name: (result.split(), arguments) for result, name, arguments in re.findall(pattern, text)}


@pytest.mark.parametrize("name", tensorflow_library.PROTOTYPES)
def test_every_symbol_is_in_the_installed_library(name):
    assert getattr(tensorflow_library.load_api(), name)


@pytest.mark.parametrize("name", tensorflow_library.PROTOTYPES)
def test_every_prototype_is_that_of_the_header(name, declarations):
    result, arguments = tensorflow_library.PROTOTYPES[name]
    declared_result, declared_arguments = declarations[name]
    declared = [part for part in declared_arguments.split(",") if part.strip() not in ("", "void")]

    assert (result is None) == (declared_result == ["void"])
    assert len(arguments) == len(declared)
    for argument, declaration in zip(arguments, declared, strict=True):
        is_pointer = "*" in declaration or "[" in declaration
        assert is_pointer == (
            argument is c_void_p or isinstance(argument, type(POINTER(c_int))) or argument is c_char_p
        )
        if "size_t" in declaration:
            assert argument is c_size_t


def test_only_calls_that_take_long_release_the_gil():
    api = tensorflow_library.load_api()
    keeping = [name for name in tensorflow_library.PROTOTYPES if type(getattr(api, name))._flags_ & 4]  # PYTHONAPI

    assert tensorflow_library.PROTOTYPES.keys() - keeping == {
        *("TF_LoadSessionFromSavedModel", "TF_CloseSession", "TF_DeleteSession", "TF_SessionRun")
    }
    assert type(api.quick_session_run)._flags_ & 4
    assert api.quick_session_run.argtypes == api.TF_SessionRun.argtypes


def test_a_file_that_is_no_library_is_refused_with_the_linkers_reason(tmp_path):
    (tmp_path / "broken.so").write_text("no library")

    with pytest.raises(EngineNotFoundError, match=r"^broken\.so can't be loaded: .*broken\.so: "):
        Library(tmp_path / "broken.so", {}, ())


def test_the_library_is_loaded_once_a_process():
    assert tensorflow_library.load_api() is tensorflow_library.load_api()


def test_without_tensorflow_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr(tensorflow_library, "_api", None)

    assert not tensorflow_library.is_installed()
    with pytest.raises(EngineNotFoundError, match=r"requirements\.txt"):
        tensorflow_library.load_api()
