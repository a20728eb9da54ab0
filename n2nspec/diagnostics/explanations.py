"""The page behind each code: what it means, a wrong example, the right one.

In: `pages/CODE.md` beside this file: paragraphs, then `## Wrong` and `## Right` with a fenced example each.
Out: the page as plain text, and its examples, which the tests run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from n2nspec.diagnostics.codes import CODES

__all__ = ["Example", "Explanation", "explanation"]

PAGES = Path(__file__).parent / "pages"

_PAGE = re.compile(
    r"(?P<meaning>.+?)\n\n## Wrong\n\n(?P<wrong>.+?)\n\n## Right\n\n(?P<right>.+?)\n", re.DOTALL
)
_EXAMPLE = re.compile(r"(?:(?P<note>.+?)\n\n)?```(?P<language>[^\n]+)\n(?P<text>.*?)\n```", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """`language` is what stands after the fence: toml, json, python, or console for lines that begin with $.

    `note` is the sentence above the example; it may be empty.
    """

    language: str
    text: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The page of one code."""

    code: str
    meaning: str
    wrong: Example
    right: Example

    @property
    def text(self) -> str:
        """As it is read in a terminal; ends with a line break."""
        head = f"{self.code}: {CODES[self.code]}"
        parts = [head, self.meaning, *_shown("Wrong", self.wrong), *_shown("Right", self.right)]
        return "\n\n".join(parts) + "\n"


def explanation(code: str) -> Explanation | None:
    """The page of a code; None for a code that does not exist."""
    if code not in CODES:
        return None
    found = _PAGE.fullmatch((PAGES / f"{code}.md").read_text(encoding="utf-8"))
    assert found, f"{code}.md is not a page"
    return Explanation(
        code=code,
        meaning=found["meaning"],
        wrong=_example(found["wrong"]),
        right=_example(found["right"]),
    )


def _example(text: str) -> Example:
    found = _EXAMPLE.fullmatch(text)
    assert found, f"no example: {text}"
    return Example(language=found["language"], text=found["text"], note=found["note"] or "")


def _shown(title: str, example: Example) -> list[str]:
    indented = "\n".join(f"    {line}".rstrip() for line in example.text.split("\n"))
    return [f"{title}:" + (f" {example.note}" if example.note else ""), indented]
