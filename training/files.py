"""Writes several files that belong together: all or none."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class _Replacement:
    """A file to replace; its ``new`` and its ``old`` content are files in a folder beside it."""

    target: Path
    new: Path
    old: Path

    def undo(self) -> None:
        """Restore the old file, or remove the target if there was none and ``new`` has become it."""
        if self.old.exists():
            self.old.replace(self.target)
        elif not self.new.exists():
            self.target.unlink(missing_ok=True)


def write_together(contents: Mapping[Path, bytes]) -> None:
    """Write each content to its path and create folders as needed; on failure or Ctrl-C restore the old files.

    The first path must be the file that readers need most. Several files can't be replaced in one step, and the process
    may be killed in between. The first file is missing during that time, so a reader reports an error instead of mixing
    old and new files. Raises OSError.
    """
    with ExitStack() as scratch:
        first, *others = [_prepare(scratch, path, content) for path, content in contents.items()]
        try:
            first.target.unlink(missing_ok=True)
            for file in (*others, first):
                file.new.replace(file.target)
        except BaseException:
            for file in (*others, first):
                file.undo()
            raise


def _prepare(scratch: ExitStack, target: Path, content: bytes) -> _Replacement:
    target.parent.mkdir(parents=True, exist_ok=True)
    # Beside the target, hence on the same file system, where a rename replaces a file in one step.
    folder = Path(scratch.enter_context(tempfile.TemporaryDirectory(prefix=".training-", dir=target.parent)))
    file = _Replacement(target, folder / "new", folder / "old")
    file.new.write_bytes(content)
    if target.exists():
        shutil.copy2(target, file.old)
    return file
