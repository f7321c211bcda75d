"""Writes docs/de-identification.md from the tables that the tag engine runs on."""

from __future__ import annotations

from pathlib import Path

from radanon_node.tags.describe import render_documentation

TARGET = Path(__file__).parents[1] / "docs" / "de-identification.md"

if __name__ == "__main__":
    TARGET.write_text(render_documentation(), encoding="utf-8")
    print(TARGET)
