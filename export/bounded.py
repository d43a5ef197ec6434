"""Exports in a child process that has nothing of the caller's secrets, and limits of memory and time.

A stranger's file decides how much Keras and TensorFlow allocate and how long they take; the child bears that alone.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

# What Python, Keras and TensorFlow need of the environment. Not all of TF_*: TF_VAR_... are Terraform's secrets.
_ENVIRONMENT = (
    *("PATH", "HOME", "LANG", "LC_ALL", "TZ", "PYTHONPATH", "PYTHONHOME", "PYTHONUTF8", "LD_LIBRARY_PATH"),
    *("SYSTEMROOT", "USERPROFILE", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "TF_CPP_MIN_LOG_LEVEL"),
    *("TF_ENABLE_ONEDNN_OPTS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "TF_FORCE_GPU_ALLOW_GROWTH"),
)

_SECONDS_TO_CLEAN_UP = 10

# What ends the child too, as Ctrl-C does: kill, and a terminal that closes.
_ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]

MEMORY_GB, MINUTES = 8.0, 30.0  # the default limits


def run(arguments: list[str], output: Path, memory_gb: float, minutes: float) -> int:
    """Run ``python -m export`` with these arguments within limits; return its exit code.

    Its output appears as it is written. Whatever ends it, standard error gets one line, and nothing of it remains.
    """
    for number in _ENDING:
        if signal.getsignal(number) == signal.SIG_DFL:  # nohup ignores SIGHUP
            signal.signal(number, signal.default_int_handler)
    command = [sys.executable, "-m", "export.bounded", str(memory_gb), str(minutes), *arguments]
    # Its own session: Ctrl-C reaches the child once, through this process.
    with (
        tempfile.TemporaryDirectory(prefix="export-") as scratch,
        subprocess.Popen(
            command, env=_environment(scratch), stderr=subprocess.PIPE, text=True, start_new_session=True
        ) as child,
    ):
        code, error = _wait(child, memory_gb, minutes)
        for remains in output.glob(f"{scratch_prefix(child.pid)}*"):
            shutil.rmtree(remains, ignore_errors=True)
    if code < 2 and "--traceback" not in arguments:  # libraries write there too: only the last line is the export's
        error = error.rstrip("\n").rpartition("\n")[2] + "\n" if code else ""
    sys.stderr.write(error)
    return code


def scratch_prefix(process: int) -> str:
    """Return how the names of a process's folders beside an export begin."""
    return f".export-{process}-"


def _environment(scratch: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    return kept | dict.fromkeys(("TMPDIR", "TEMP", "TMP"), scratch)


def _wait(child: subprocess.Popen[str], memory_gb: float, minutes: float) -> tuple[int, str]:
    """Return the child's exit code, and what to print on standard error."""
    too_long = f"Export failed: it took longer than {minutes:g} minutes. Allow more time with --minutes.\n"
    try:
        _, error = child.communicate(timeout=minutes * 60)
    except subprocess.TimeoutExpired:
        _kill(child)
        return 1, too_long
    except KeyboardInterrupt:
        return 130, _interrupt(child)
    if child.returncode >= 0:
        return child.returncode, error
    if child.returncode == -getattr(signal, "SIGALRM", 0):
        return 1, too_long
    name = signal.Signals(-child.returncode).name
    return 1, (
        f"Export failed: the export process was killed by {name}. "
        f"If the model needs more than {memory_gb:g} GB of memory, raise the limit with --memory.\n"
    )


def _interrupt(child: subprocess.Popen[str]) -> str:
    """Let the child put back what it was replacing."""
    child.send_signal(signal.SIGINT if os.name == "posix" else signal.SIGTERM)
    try:
        child.communicate(timeout=_SECONDS_TO_CLEAN_UP)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        _kill(child)
        return "Interrupted.\n"
    return "Interrupted; nothing was changed.\n"


def _kill(child: subprocess.Popen[str]) -> None:
    child.kill()
    child.wait()


def _limit(memory_gb: float, minutes: float) -> None:
    """Limit this process: by the system, which also holds where its parent is killed or TensorFlow does not return."""
    import resource

    # Private memory. RLIMIT_AS would also limit what is only reserved or mapped: XOR's export takes 0.3 GB of the one
    # and 1.9 GB of the other, ResNet50's 0.9 GB and 2.0 GB. Where memory ends, ResNet50's export fails with an error
    # under the one, and is aborted under the other.
    size = int(memory_gb * 2**30)
    for limit, value in ((resource.RLIMIT_DATA, size), (resource.RLIMIT_FSIZE, size), (resource.RLIMIT_CORE, 0)):
        already = resource.getrlimit(limit)[1]
        lowest = value if already == resource.RLIM_INFINITY else min(value, already)
        resource.setrlimit(limit, (lowest, lowest))
    signal.setitimer(signal.ITIMER_REAL, minutes * 60 + _SECONDS_TO_CLEAN_UP)
    with suppress(OSError):  # Linux: where the machine has less memory than that, this process is ended first
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def _main() -> int:
    memory_gb, minutes, *arguments = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    if os.name == "posix":
        _limit(float(memory_gb), float(minutes))
    from export.__main__ import main

    return main(arguments)


if __name__ == "__main__":
    sys.exit(_main())
