"""What was measured on this machine, kept for later runs in the user's cache folder.

In: what was measured, as data, and the result. Out: the result, the next time. A store that cannot be read or
written is an empty one: nothing is lost but time.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

__all__ = ["Store", "cache_folder"]

MOST = 4096
"""Results that are kept; the oldest go first."""


def cache_folder() -> Path:
    """Where this user's caches are.

    Raises:
        RuntimeError: the user has no home.
    """
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "n2nspec"


class Store:
    """One file of results, by the hash of what they are for."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._known: dict[str, Any] | None = None

    def get(self, question: Any) -> Any | None:
        """The result, if there is one."""
        if self._known is None:
            self._known = self._read()
        return self._known.get(_key(question))

    def put(self, question: Any, result: Any) -> None:
        """Keeps a result, beside those that other processes have kept meanwhile."""
        known = {**self._read(), _key(question): result}
        self._known = dict(list(known.items())[-MOST:])
        with suppress(OSError, RuntimeError):
            folder = cache_folder()
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(
                "w", dir=folder, prefix=self._name, delete=False, encoding="utf-8"
            ) as stream:
                json.dump(self._known, stream)
            os.replace(stream.name, folder / self._name)

    def _read(self) -> dict[str, Any]:
        with suppress(OSError, RuntimeError, ValueError):
            found = json.loads((cache_folder() / self._name).read_text(encoding="utf-8"))
            if isinstance(found, dict):
                return found
        return {}


def _key(question: Any) -> str:
    return hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()[:24]
