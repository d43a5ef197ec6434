"""Which files of the project are published: those that ``.funcignore`` does not exclude, as Core Tools reads it."""

from __future__ import annotations

import os
from pathlib import Path

from pathspec import GitIgnoreSpec

# Core Tools excludes these whatever .funcignore says (GetLocalFiles in its FileSystemHelpers.cs).
_NEVER = (".git", ".vscode", ".funcignore", ".gitignore", "local.settings.json", "project.lock.json")


def published(project: Path) -> list[str]:
    """Return the paths of the files that publishing a project uploads, relative to it and sorted."""
    file = project / ".funcignore"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    spec = GitIgnoreSpec.from_lines([*lines, *_NEVER])
    found = []
    for folder, folders, files in os.walk(project):
        place = Path(folder).relative_to(project)
        # Excluded folders are not walked: virtual environments among them are gigabytes large.
        folders[:] = [name for name in folders if not spec.match_file((place / name).as_posix() + "/")]
        found += [(place / name).as_posix() for name in files]
    return sorted(name for name in found if not spec.match_file(name))
