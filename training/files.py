"""Write several files that belong together: all or none."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class _Replacement:
    """A file to replace; ``new`` and ``old``, its next and its present content, lie in a folder beside it."""

    target: Path
    new: Path
    old: Path

    def undo(self) -> None:
        """Put back what was there, also where that was nothing; ``new`` is gone once it has become the target."""
        if self.old.exists():
            self.old.replace(self.target)
        elif not self.new.exists():
            self.target.unlink(missing_ok=True)


def write_together(contents: Mapping[Path, bytes]) -> None:
    """Write each content to its path, making folders as needed; on any failure or Ctrl-C leave the files as they were.

    Name first the file without which no reader takes the others. Several files can't be replaced in one step, and a
    process can be killed within the fraction of a millisecond that it takes. That first file is missing meanwhile, so
    that a reader reports it instead of taking the new content of one file with the old content of another.
    Raises OSError.
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
    # Beside the target, and so on its file system, where renaming replaces a file in one step.
    folder = Path(scratch.enter_context(tempfile.TemporaryDirectory(prefix=".training-", dir=target.parent)))
    file = _Replacement(target, folder / "new", folder / "old")
    file.new.write_bytes(content)
    if target.exists():
        shutil.copy2(target, file.old)
    return file
