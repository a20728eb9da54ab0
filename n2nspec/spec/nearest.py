"""Words that were probably meant, where there may be very many to compare.

In: a word and the options. Out: the likely one. Each word is looked for once, and after a while none is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable

from n2nspec.diagnostics import closest

__all__ = ["EFFORT", "Nearest", "is_slip"]

EFFORT = 20_000
"""Words compared in search of likely ones: a spec of thousands of wrong names is still answered at once."""


class Nearest:
    """Remembers the likely options of words; `among` tells one set of options from another."""

    def __init__(self) -> None:
        self._found: dict[tuple[Hashable, str], str | None] = {}
        self._effort = EFFORT

    def __call__(
        self, word: str, options: Callable[[], Collection[str]], *, among: Hashable = None
    ) -> str | None:  # fmt: skip
        if self._effort > 0 and (among, word) not in self._found:
            choices = options()
            self._effort -= len(choices)
            self._found[among, word] = closest(word, choices)
        return self._found.get((among, word))


def is_slip(name: str, near: str | None) -> bool:
    """Whether a name may be a slip for the one which is nearest to it: conv1 is not one for conv2."""
    return near is not None and _digits(name) == _digits(near)


def _digits(name: str) -> list[str]:
    return [character for character in name if character.isdigit()]
