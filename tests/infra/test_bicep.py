"""The Bicep files hold together: what Bicep's compiler would say of names, parameters and outputs."""

from pathlib import Path

import pytest

from tests.infra.bicep import BUILT_IN, FILES, INFRA, Bicep

every_file = pytest.mark.parametrize("name", FILES)


@every_file
def test_a_file_is_bicep(name):
    import pycep

    assert Bicep.read(name).errors() == []
    pycep.BicepParser().parse(text=(INFRA / name).read_text(encoding="utf-8"))


@every_file
def test_every_name_that_is_used_is_declared(name):
    bicep = Bicep.read(name)
    declared = {one for kind in ("param", "var", "resource", "module") for one in bicep.declared(kind)}

    assert bicep.used() <= declared | BUILT_IN


@every_file
def test_every_param_and_var_is_used(name):
    bicep = Bicep.read(name)
    declared = {*bicep.declared("param"), *bicep.declared("var")}

    assert declared <= bicep.used()


def _modules():
    main = Bicep.read("main.bicep")
    return {name: (module, Bicep.read(module.type)) for name, module in main.declared("module").items()}


def test_main_gives_each_module_what_it_asks_for_and_no_more():
    for name, (module, file) in _modules().items():
        params = file.declared("param")
        given = set(module.body["params"])
        required = {param for param, declaration in params.items() if not declaration.has_default}
        assert required <= given <= set(params), name


def test_every_output_that_main_uses_is_there_and_every_output_is_used():
    used = Bicep.read("main.bicep").outputs_used()
    there = {(name, output) for name, (_, file) in _modules().items() for output in file.declared("output")}

    assert used == there


def test_every_file_is_a_module_of_main():
    assert {module.type for module, _ in _modules().values()} == set(FILES) - {"main.bicep"}


@every_file
def test_resources_name_a_type_and_a_stable_api_version(name):
    for declaration in Bicep.read(name).declared("resource").values():
        kind, _, version = declaration.type.partition("@")
        assert kind.startswith("Microsoft."), declaration.type
        assert len(version) == len("2024-01-01"), f"{declaration.type} is a preview"


def test_every_param_of_main_says_what_it_is():
    for name, param in Bicep.read("main.bicep").declared("param").items():
        before = param.node.prev_sibling
        decorators = param.node.text.decode()
        while before is not None and before.type == "decorators":
            decorators += before.text.decode()
            before = before.prev_sibling
        assert "@description(" in decorators, name


def test_every_text_file_that_is_loaded_is_there_and_every_query_is_loaded():
    loaded = set()
    for name in FILES:
        text = (INFRA / name).read_text(encoding="utf-8")
        loaded |= {part.split("'")[0] for part in text.split("loadTextContent('")[1:]}

    assert loaded == {path.relative_to(INFRA).as_posix() for path in Path(INFRA, "alerts").iterdir()}
