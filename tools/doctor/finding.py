"""The result of a check, and how results are printed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from textwrap import wrap

_WIDTH = 110


class Level(StrEnum):
    """How severe a finding is, in the words that are printed."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "PROBLEM"


@dataclass(frozen=True)
class Finding:
    """What was found, in one line, and how to fix it where it is not ok."""

    level: Level
    what: str
    todo: str = ""


def ok(what: str) -> Finding:
    """Return a finding of what is right."""
    return Finding(Level.OK, what)


def warning(what: str, todo: str) -> Finding:
    """Return a finding of what works, but worse than it could or than seems intended."""
    return Finding(Level.WARNING, what, todo)


def problem(what: str, todo: str) -> Finding:
    """Return a finding of what will fail."""
    return Finding(Level.PROBLEM, what, todo)


def text_of(title: str, findings: Iterable[Finding]) -> str:
    """Return a heading and its findings as aligned lines."""
    lines = [title]
    for finding in findings:
        lines += _indented(f"  {finding.level:8} ", finding.what)
        if finding.todo:
            lines += _indented(f"  {'':8} to do: ", finding.todo)
    return "\n".join(lines)


def _indented(start: str, text: str) -> list[str]:
    # Words are not broken, so that paths and commands can be copied.
    return wrap(
        text,
        _WIDTH,
        initial_indent=start,
        subsequent_indent=" " * len(start),
        break_long_words=False,
        break_on_hyphens=False,
    )


def summary(findings: Iterable[Finding]) -> str:
    """Return the last line: the numbers of problems and warnings."""
    levels = [finding.level for finding in findings]
    problems, warnings = levels.count(Level.PROBLEM), levels.count(Level.WARNING)
    return f"{_counted(problems, 'problem')}, {_counted(warnings, 'warning')}."


def _counted(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"
