"""TensorFlow's library, prelinked: it computes and fails as the wheel's own does, with few of its names."""

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from serving.engines import tensorflow_library
from tools.package import prelink
from tools.package.elf import LayoutError

pytestmark = pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="libraries of Linux on x86-64 only"
)
LIBRARIES = ("libtensorflow_cc.so.2", "libtensorflow_framework.so.2")
PROJECT_ROOT = Path(__file__).resolve().parents[2]

RUN = """
import sys, numpy as np
from pathlib import Path
from serving.engines import tensorflow_library
from serving.engines.options import LoadOptions
from serving.engines.tensorflow_c import Session
from serving.engines.errors import TensorFlowError

session = Session(Path(sys.argv[1]), LoadOptions())
feeds = dict(np.load(sys.argv[2], allow_pickle=True))
fetches = session.run("serving_default", feeds)
try:
    session.run("serving_default", {**feeds, "row": np.array([99], np.int32)})
    error = "none"
except TensorFlowError as raised:
    error = f"{type(raised).__name__}: {raised}"
np.savez(sys.argv[3], error=error, library=str(tensorflow_library.find_library()), **fetches)
"""


@pytest.fixture(scope="module")
def wheels_folder():
    return tensorflow_library.find_library().parent


@pytest.fixture(scope="module")
def prelinked(tmp_path_factory, wheels_folder):
    """A folder to import from, with TensorFlow's libraries in it, prelinked."""
    folder = tmp_path_factory.mktemp("prelinked")
    (folder / "tensorflow").mkdir()
    for name in LIBRARIES:
        shutil.copyfile(wheels_folder / name, folder / "tensorflow" / name)
    (folder / "tensorflow" / "__init__.py").touch()
    library, framework = (folder / "tensorflow" / name for name in LIBRARIES)
    prelink.prelink_pair(library, framework, b"TF_")
    yield folder
    shutil.rmtree(folder)  # half a gigabyte


def test_it_computes_and_fails_as_the_wheels_own_library_does(prelinked, saved_model, tf, tmp_path):
    kernel = tf.constant(np.random.default_rng(0).normal(size=(3, 3, 3, 8)).astype(np.float32))
    table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(["a", "b"], [1.0, 2.0]), -1.0)

    def function(image, words, row):
        convolved = tf.nn.relu(tf.nn.conv2d(image, kernel, 1, "SAME"))
        looped = tf.while_loop(lambda i, x: i < 5, lambda i, x: (i + 1, tf.tanh(x) + 0.1), (0, convolved))[1]
        return {
            "pooled": tf.reduce_mean(looped, [1, 2]),
            "resized": tf.image.resize(image, (3, 5)),
            "looked_up": table.lookup(words),
            "joined": tf.strings.to_number(tf.strings.regex_replace(words, "[a-z]", "7")),
            "sorted": tf.sort(tf.signal.dct(tf.reshape(image, (2, -1)))),
            "solved": tf.linalg.inv(tf.matmul(image[0, :, :, 0], image[0, :, :, 0], transpose_b=True) + tf.eye(16)),
            "gathered": tf.nn.embedding_lookup(tf.eye(4), row),
        }

    specs = {"image": ([2, 16, 16, 3], "float32"), "words": ([None], "string"), "row": ([None], "int32")}
    folder = saved_model(function, [table], **specs)
    feeds = tmp_path / "feeds.npz"
    image = np.random.default_rng(1).normal(size=(2, 16, 16, 3)).astype(np.float32)
    np.savez(feeds, image=image, words=np.array([b"a", b"c"], object), row=np.array([3], np.int32))

    results = []
    for name, first in (("wheel", ""), ("prelinked", str(prelinked))):
        result = tmp_path / f"{name}.npz"
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [first, str(PROJECT_ROOT)]))}
        subprocess.run([sys.executable, "-c", RUN, folder, feeds, result], check=True, env=environment)
        results.append(dict(np.load(result)))

    wheel, own = results
    assert str(own.pop("library")).startswith(str(prelinked))
    assert not str(wheel.pop("library")).startswith(str(prelinked))
    assert "99" in str(wheel["error"])
    assert wheel.keys() == own.keys() >= {"pooled", "looked_up", "error"}
    for name, value in wheel.items():
        np.testing.assert_array_equal(own[name], value, name)


def test_names_that_others_ask_for_are_found_and_the_rest_is_gone(prelinked, wheels_folder):
    (defined, needed), (framework, _) = (prelink.names(wheels_folder / name) for name in LIBRARIES)
    (defined_now, needed_now), (framework_now, _) = (
        prelink.names(prelinked / "tensorflow" / name) for name in LIBRARIES
    )

    assert {name for name in defined if name.startswith(b"TF_")} <= defined_now <= defined
    assert {name for name in framework if name.startswith(b"TF_")} <= framework_now <= framework
    assert needed_now <= needed
    assert needed_now & framework <= framework_now
    assert defined & framework <= defined_now & framework_now  # one of them serves both
    assert len(defined_now) < len(defined) / 20


def test_it_is_smaller_by_its_names(prelinked, wheels_folder):
    for name, ratio in zip(LIBRARIES, (0.65, 0.8), strict=True):
        assert (prelinked / "tensorflow" / name).stat().st_size < ratio * (wheels_folder / name).stat().st_size


def test_a_library_of_another_linker_is_left_as_it_is(tmp_path):
    [other] = [Path(str(file.locate())) for file in importlib.metadata.files("orjson") if file.name.endswith(".so")]
    copy = tmp_path / "other.so"
    shutil.copyfile(other, copy)

    with pytest.raises(LayoutError):
        prelink.prelink_pair(copy, copy, b"")

    assert copy.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("content", [b"", b"no library", b"\x7fELF\x02\x01" + bytes(100)])
def test_a_file_that_is_not_a_library_is_refused(tmp_path, content):
    (tmp_path / "x.so").write_bytes(content)

    with pytest.raises(LayoutError, match="not a 64-bit library"):
        prelink.prelink_pair(tmp_path / "x.so", tmp_path / "x.so", b"")
