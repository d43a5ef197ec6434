"""``python -m tools.settings_table``: write the table of app settings into docs/settings.md."""

from __future__ import annotations

import argparse
import re
from dataclasses import fields

from serving.settings import APP_ROOT, Settings

PAGE = APP_ROOT / "docs" / "settings.md"
_BETWEEN = re.compile(r"(?<=<!-- settings -->\n\n).*?(?=\n<!-- /settings -->)", re.DOTALL)


def table() -> str:
    """Return the table in Markdown, one row a setting."""
    rows = [
        f"| `{setting['name']}` | {setting['shown']} | {setting['purpose']} |"
        for setting in (field.metadata for field in fields(Settings))
    ]
    return "\n".join(["| setting | default | what it does |", "|---|---|---|", *rows, ""])


def updated(page: str) -> str:
    """Return the page with the table between its two markers."""
    return _BETWEEN.sub(lambda _: table(), page)


if __name__ == "__main__":
    argparse.ArgumentParser(prog="python -m tools.settings_table", description=__doc__).parse_args()
    PAGE.write_text(updated(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
