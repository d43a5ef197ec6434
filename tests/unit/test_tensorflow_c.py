"""The C engine starts without importing tensorflow, and leaks no memory."""

import subprocess
import sys
from pathlib import Path

import pytest


def run_python(code, *arguments):
    child = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert child.returncode == 0, child.stderr
    return child.stdout


def test_it_starts_without_importing_tensorflow_keras_or_protobuf(saved_model):
    folder = saved_model(lambda x: {"y": x}, x=([None], "float32"))
    code = """
import sys
from pathlib import Path
import numpy as np
from serving.engines.session import load_session
session = load_session(Path(sys.argv[1]), "c")
assert session.run("serving_default", {"x": np.ones(2, np.float32)})["y"].tolist() == [1, 1]
print(*sorted({"tensorflow", "keras", "google.protobuf", "h5py"} & sys.modules.keys()))
"""
    assert run_python(code, folder).strip() == ""


RESIDENT = """
import resource, sys
from pathlib import Path
import numpy as np
from serving.engines import errors
from serving.engines.session import load_session

def resident_kib():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])

folder = Path(sys.argv[1])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads resident memory from Linux's /proc")
@pytest.mark.parametrize(
    ("dtype", "feed", "warm_up", "runs"),
    [
        ("float32", "np.ones((2, 2), np.float32)", 20_000, 100_000),
        ("string", "np.array([[b'x' * 5000] * 2] * 2, object)", 2_000, 20_000),
    ],
)
def test_predictions_leave_resident_memory_flat(saved_model, dtype, feed, warm_up, runs):
    folder = saved_model(lambda x: {"y": x}, x=([None, 2], dtype))
    code = f"""{RESIDENT}
session, feeds = load_session(folder, "c"), {{"x": {feed}}}
for _ in range({warm_up}):
    session.run("serving_default", feeds)
before = resident_kib()
for _ in range({runs}):
    session.run("serving_default", feeds)
print(resident_kib() - before)
"""
    # A leak of one 8-byte status or one 5,000-byte string per run would add 800 KiB or 400 MB.
    assert int(run_python(code, folder)) < 700


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads resident memory from Linux's /proc")
def test_failed_runs_leave_resident_memory_flat(saved_model, tf):
    folder = saved_model(lambda x: {"y": tf.gather(tf.zeros([2, 1000]), x)}, x=([None], "int32"))
    code = f"""{RESIDENT}
session, feeds = load_session(folder, "c"), {{"x": np.full(10_000, 5, np.int32)}}
def fail(times):
    for _ in range(times):
        try:
            session.run("serving_default", feeds)
        except errors.InvalidArgumentError:
            pass
fail(500)
before = resident_kib()
fail(2_000)
print(resident_kib() - before)
"""
    assert int(run_python(code, folder)) < 4_000  # 2,000 leaked feeds would be 80 MB


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads resident memory from Linux's /proc")
@pytest.mark.parametrize("release", ["session.close()", "del session"])
def test_a_released_session_frees_its_memory(saved_model, tf, release):
    weight = tf.Variable(tf.ones([1000, 1000]))  # 4 MB
    folder = saved_model(lambda x: {"y": tf.matmul(x, weight)}, [weight], x=([None, 1000], "float32"))
    code = f"""{RESIDENT}
def load_and_release(times):
    for _ in range(times):
        session = load_session(folder, "c")
        session.run("serving_default", {{"x": np.ones((1, 1000), np.float32)}})
        {release}
load_and_release(5)
before = resident_kib()
load_and_release(25)
print(resident_kib() - before)
"""
    assert int(run_python(code, folder)) < 40_000  # 25 leaked sessions would be 100 MB


def test_a_large_array_that_is_not_contiguous_is_copied_while_it_is_there(saved_model):
    folder = saved_model(lambda x: {"y": x}, x=([None, None], "float32"))
    # Its copy in C order is so large that its memory would be unmapped as soon as nobody holds it.
    code = f"""{RESIDENT}
values = np.arange(4_000_000, dtype=np.float32).reshape(1000, 4000).T
fetched = load_session(folder, "c").run("serving_default", {{"x": values}})["y"]
print(np.array_equal(fetched, values))
"""
    assert run_python(code, folder).strip() == "True"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="limits memory as Linux does")
@pytest.mark.parametrize(("dtype", "fill"), [("float32", "np.float32(1)"), ("string", "np.array(b'', object)")])
def test_an_input_without_memory_for_it_is_an_error(saved_model, dtype, fill):
    folder = saved_model(lambda x: {"y": x}, x=([None], dtype))
    code = f"""{RESIDENT}
session = load_session(folder, "c")
address_space = int(Path("/proc/self/status").read_text().split("VmSize:")[1].split()[0]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (address_space + 2**28,) * 2)
try:
    session.run("serving_default", {{"x": np.broadcast_to({fill}, (2**28,))}})
except errors.ResourceExhaustedError as error:
    print(error)
"""
    assert "no memory for a tensor of" in run_python(code, folder)
