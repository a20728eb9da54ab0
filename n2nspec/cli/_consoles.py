"""rich, kept out of the way of commands that need none: a check should be instant."""

from __future__ import annotations

from rich.console import Console

__all__ = ["PatientConsole"]


class PatientConsole(Console):
    """Leaves a reader that has gone (`| head`) to `main`, where rich would end the process with 1."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError
