"""What ``python -m training.train`` writes and says: when it solves XOR, gets stuck, is interrupted or can't write."""

import dataclasses
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from training import files, plot, train, xor

PROJECT = Path(train.__file__).parent.parent
PIPES: dict[str, Any] = {"cwd": PROJECT, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
TOO_FEW = 2  # epochs

Capture = pytest.CaptureFixture[str]
Trains = Callable[[Callable[[int], Any]], list[int]]


@pytest.fixture(scope="module")
def network() -> ModuleType:
    from training import network

    return network


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """One whole run in a process of its own: its exit code, what it printed and the folder it wrote to."""
    folder = tmp_path_factory.mktemp("run")
    done = subprocess.run(command("--output", folder, "--plot", folder / "plot.png"), **PIPES)
    return SimpleNamespace(code=done.returncode, stdout=done.stdout, stderr=done.stderr, folder=folder)


@pytest.fixture(scope="module")
def solved(network: Any) -> Any:
    return network.train(seed=1, epochs=400)


@pytest.fixture(scope="module")
def stuck(network: Any) -> Any:
    return network.train(seed=1, epochs=TOO_FEW)


@pytest.fixture
def trains(monkeypatch: pytest.MonkeyPatch, network: Any) -> Trains:
    """Return a function that fixes what training leads to, by seed; it returns the list of the seeds then tried."""

    def fix(outcome: Callable[[int], Any]) -> list[int]:
        tried: list[int] = []

        def training(seed: int, epochs: int) -> Any:
            tried.append(seed)
            return dataclasses.replace(outcome(seed), seed=seed)

        monkeypatch.setattr(network, "train", training)
        return tried

    return fix


@pytest.fixture
def model(tmp_path: Path) -> SimpleNamespace:
    """A model that an earlier run wrote, and the arguments to write there again."""
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("model.json", "model.h5", "plot.png"):
        (folder / name).write_text(f"an earlier run's {name}")
    arguments = ["--output", str(folder), "--plot", str(folder / "plot.png")]
    return SimpleNamespace(folder=folder, arguments=arguments, content=contents(folder))


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "training.train", *map(str, arguments)]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def raise_interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def answers_of_keras_3(folder: Path) -> Any:
    import keras

    model = keras.models.model_from_json((folder / "model.json").read_text())
    model.load_weights(folder / "model.h5")
    return model(xor.POINTS).numpy()


def answers_of_tf_keras(folder: Path) -> Any:
    import tf_keras

    model = tf_keras.Sequential(
        [
            tf_keras.layers.Dense(2, activation="sigmoid", input_shape=(2,)),
            tf_keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.load_weights(folder / "model.h5")
    return model(xor.POINTS).numpy()


# What a run writes


def test_a_run_solves_xor_at_once_writes_a_model_and_a_plot_and_says_what_comes_next(run: SimpleNamespace) -> None:
    assert (run.code, run.stderr) == (0, "")
    assert set(contents(run.folder)) == {"model.json", "model.h5", "plot.png"}
    assert run.stdout.count("Training with seed") == 1
    assert run.stdout.endswith(f"Next: python -m export {run.folder}\n")


@pytest.mark.parametrize("answers", [answers_of_keras_3, answers_of_tf_keras])
def test_the_written_model_solves_xor_in_either_keras(run: SimpleNamespace, answers: Any) -> None:
    np.testing.assert_allclose(answers(run.folder), xor.LABELS, atol=xor.TOLERANCE)


def test_both_versions_of_keras_get_the_same_answers_from_the_written_model(run: SimpleNamespace) -> None:
    np.testing.assert_allclose(answers_of_tf_keras(run.folder), answers_of_keras_3(run.folder), rtol=1e-6)


def test_the_answers_printed_are_those_of_the_written_model(run: SimpleNamespace) -> None:
    lines = [line.split() for line in run.stdout.splitlines() if line.startswith("  ")]

    np.testing.assert_array_equal([line[:2] for line in lines], xor.POINTS.astype(int).astype(str))
    np.testing.assert_allclose([[float(line[2])] for line in lines], answers_of_keras_3(run.folder), atol=1e-5)


def test_model_json_is_indented_and_names_the_input_x_and_the_output_layer_labels(run: SimpleNamespace) -> None:
    text = (run.folder / "model.json").read_text()
    content = json.loads(text)

    assert [layer["config"]["name"] for layer in content["config"]["layers"]] == ["X", "hidden", "labels"]
    assert text == json.dumps(content, indent=2) + "\n"


def test_the_plot_is_a_png_image_of_1200_by_500_pixels_below_150_kb(run: SimpleNamespace) -> None:
    image = (run.folder / "plot.png").read_bytes()

    assert image.startswith(b"\x89PNG\r\n")
    assert (int.from_bytes(image[16:20]), int.from_bytes(image[20:24])) == (1200, 500)
    assert len(image) < 150_000


def test_the_same_training_gives_the_same_plot(stuck: Any) -> None:
    assert plot.draw(stuck.losses, stuck.answers) == plot.draw(stuck.losses, stuck.answers)


def test_the_defaults_lie_in_this_project_whatever_the_working_folder_is(monkeypatch, tmp_path, trains, solved):
    trains(lambda seed: solved)
    written: list[Path] = []
    monkeypatch.setattr(files, "write_together", written.extend)
    monkeypatch.chdir(tmp_path)

    assert train.main([]) == 0

    assert written == [
        PROJECT / path for path in ("model/xor/1/model.json", "model/xor/1/model.h5", "docs/training.png")
    ]


# What a run says


def test_help_names_every_option_without_loading_keras() -> None:
    script = "import atexit, sys; from training import train; atexit.register(lambda: print('keras' in sys.modules));"
    done = subprocess.run([sys.executable, "-c", script + "train.main(['--help'])"], **PIPES)

    assert done.returncode == 0
    assert all(option in done.stdout for option in ("--seed", "--epochs", "--output", "--plot"))
    assert done.stdout.endswith("\nFalse\n")


@pytest.mark.parametrize("arguments", [("--epochs", "0"), ("--epochs", "many"), ("--seed", "-1"), ("--seed", "1.5")])
def test_an_option_out_of_range_is_refused_with_what_was_expected(arguments: tuple[str, str], capsys: Capture) -> None:
    with pytest.raises(SystemExit, match="2"):
        train.main([*arguments])

    assert f"argument {arguments[0]}: got '{arguments[1]}', expected a whole number from" in capsys.readouterr().err


# Training


def test_training_takes_the_notebooks_optimizer_and_loss(stuck: Any) -> None:
    optimizer = stuck.model.optimizer.get_config()

    assert (optimizer["name"], optimizer["momentum"], optimizer["nesterov"]) == ("sgd", 0.9, True)
    assert optimizer["learning_rate"] == pytest.approx(0.1)
    assert stuck.model.loss == "binary_crossentropy"


def test_each_epoch_shows_every_point_once_one_at_a_time(network: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fed: list[Any] = []
    fit = network.keras.Sequential.fit

    def noted_fit(model: Any, x: Any, **options: Any) -> Any:
        fed.append(x)
        return fit(model, x, **options)

    monkeypatch.setattr(network.keras.Sequential, "fit", noted_fit)

    trained = network.train(seed=1, epochs=TOO_FEW)

    first_epoch = [(point.numpy().tolist(), label.numpy().tolist()) for point, label in fed[0].take(4)]
    assert sorted(first_epoch) == [([[0, 0]], [[0]]), ([[0, 1]], [[1]]), ([[1, 0]], [[1]]), ([[1, 1]], [[0]])]
    assert trained.model.optimizer.iterations == 4 * TOO_FEW
    assert trained.losses.shape == (TOO_FEW,)


def test_the_same_seed_gives_the_same_files_and_another_one_other_weights(network: Any, stuck: Any) -> None:
    again, other = (network.train(seed, epochs=TOO_FEW) for seed in (stuck.seed, stuck.seed + 1))

    assert again.architecture() == stuck.architecture()
    assert again.weights() == stuck.weights() != other.weights()


@pytest.mark.parametrize(
    ("answers", "solved"),
    [
        pytest.param([[0.04], [0.96], [0.96], [0.04]], True, id="all within the tolerance"),
        pytest.param([[0.04], [0.96], [0.94], [0.04]], False, id="one outside"),
        pytest.param([[0.01], [0.5], [0.99], [0.5]], False, id="stuck in a local minimum"),
        pytest.param([[np.nan], [0.99], [0.99], [0.01]], False, id="not a number"),
    ],
)
def test_xor_is_solved_when_all_four_answers_are_close(answers: Any, solved: Any) -> None:
    assert xor.is_solved(np.array(answers)) is solved


# Getting stuck


def test_a_seed_that_gets_stuck_is_reported_and_the_next_one_taken(trains, solved, stuck, model, capsys):
    tried = trains(lambda seed: stuck if seed == 7 else solved)

    assert train.main(["--seed", "7", *model.arguments]) == 0

    assert tried == [7, 8]
    output = capsys.readouterr().out
    assert "Seed 7 did not solve XOR" in output
    assert "Seed 8 solved XOR" in output


def test_after_ten_stuck_seeds_a_run_fails_with_one_line_that_says_what_to_do(trains, stuck, model, capsys):
    tried = trains(lambda seed: stuck)

    assert train.main(["--seed", "5", *model.arguments]) == 1

    assert tried == list(range(5, 15))
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "no seed from 5 to 14 solved XOR in 400 epochs; try more --epochs or another --seed" in error
    assert contents(model.folder) == model.content


# Being interrupted, or unable to write


def test_ctrl_c_while_training_ends_with_a_short_message_and_exit_code_130(model: SimpleNamespace) -> None:
    # A shell starts background jobs, and so perhaps this suite, with SIGINT ignored, which children inherit.
    options = PIPES | {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    process: Any = subprocess.Popen(command("--epochs", 1_000_000, *model.arguments), **options)
    try:
        while "Training with seed" not in process.stdout.readline():
            assert process.poll() is None
        error = interrupted(process)
    finally:
        process.kill()

    assert process.returncode == 130
    assert error.endswith("Interrupted; nothing was written.\n")
    assert contents(model.folder) == model.content


def interrupted(process: Any) -> str:
    """Press Ctrl-C until the process ends: Python loses one that arrives while a finalizer runs."""
    for _ in range(20):
        process.send_signal(signal.SIGINT)
        try:
            return str(process.communicate(timeout=10)[1])
        except subprocess.TimeoutExpired:
            continue
    raise AssertionError("Ctrl-C does not end it")


def test_ctrl_c_after_training_leaves_the_earlier_model_as_it_was(monkeypatch, trains, solved, model, capsys):
    trains(lambda seed: solved)
    monkeypatch.setattr(plot, "draw", raise_interrupt)

    assert train.main(model.arguments) == 130

    assert capsys.readouterr().err == "Interrupted; nothing was written.\n"
    assert contents(model.folder) == model.content


def test_a_folder_that_cannot_be_made_fails_with_one_line_that_names_it(trains, solved, model, capsys):
    trains(lambda seed: solved)
    impossible = model.folder / "model.json" / "below a file"

    assert train.main([*model.arguments, "--output", str(impossible)]) == 1

    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert str(impossible) in error
    assert contents(model.folder) == model.content
