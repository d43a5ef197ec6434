"""What of the project is published: the files that ``.funcignore`` leaves, as Azure Functions Core Tools reads it."""

from __future__ import annotations

from pathlib import Path

from pathspec import GitIgnoreSpec

# Core Tools leaves these out whatever .funcignore says (GetLocalFiles in its FileSystemHelpers.cs).
_NEVER = (".git", ".vscode", ".funcignore", ".gitignore", "local.settings.json", "project.lock.json")


def published(project: Path) -> list[str]:
    """Return the paths of all files that publishing the project uploads, relative to it, in their order."""
    lines = (project / ".funcignore").read_text(encoding="utf-8").splitlines()
    spec = GitIgnoreSpec.from_lines([*lines, *_NEVER])
    return sorted(spec.match_tree_files(project, negate=True))
