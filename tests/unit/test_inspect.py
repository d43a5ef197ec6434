"""``python -m tools.inspect``: what it prints about a model, without loading TensorFlow."""

import json
import re
import shutil
import subprocess
import sys

import pytest

from serving.settings import APP_ROOT
from tools.inspect import main

XOR = APP_ROOT / "model" / "xor" / "1"


def test_it_prints_signature_size_versions_and_a_request_for_each_protocol(capsys):
    assert main([str(XOR)]) == 0

    printed = capsys.readouterr().out
    assert "Model xor, version 1 (available versions: 1)" in printed
    assert "Size on disk: 0.02 MB" in printed
    assert "Export: matches its sources" in printed
    assert re.search(r"input +X +float32 +\[\?, 2\]", printed)
    assert re.search(r"output +labels +float32 +\[\?, 1\]", printed)
    requests = re.findall(r"curl -s -H '[^']+' -d '([^']+)' http://localhost:7071/api/(\S+)", printed)
    assert [path for _, path in requests] == ["PredictXor", "v1/models/xor:predict", "v2/models/xor/infer"]
    assert all(json.loads(body) for body, _ in requests)


def test_a_stale_export_is_reported(tmp_path, capsys):
    folder = shutil.copytree(XOR, tmp_path / "xor" / "1")
    (folder / "model.json").write_text("{}")

    main([str(folder)])

    assert "Export: STALE; run python -m export" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "says"), [(None, "run python -m export"), (b"\xff\xff\xff", "can't be read"), (b"", "can't be read")]
)
def test_a_folder_without_a_readable_saved_model_is_an_error_of_one_line(tmp_path, capsys, content, says):
    if content is not None:
        (tmp_path / "saved_model.pb").write_bytes(content)

    assert main([str(tmp_path)]) == 1

    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


def test_it_loads_neither_tensorflow_nor_keras():
    code = "import sys; from tools.inspect import main; main(sys.argv[1:])"
    code += "; print({'tensorflow', 'keras'} & {*sys.modules})"
    child = subprocess.run([sys.executable, "-c", code, XOR], capture_output=True, text=True, cwd=APP_ROOT, check=True)

    assert child.stdout.splitlines()[-1] == "set()"
