"""Messages between two processes.

In: two pipes. Out: messages, a line each: named values as JSON, or numbers alone, which are read in a fifth
of the time, once here and once there in every step. Whoever waits looks again and again for a while before it
sleeps: messages are a step apart, waking a process takes as long as some kernels, and it may wake on the very
core that another one works on.
"""

from __future__ import annotations

import json
import os
import select
from time import perf_counter
from typing import Any

__all__ = ["PATIENCE", "Channel", "Message"]

Message = dict[str, Any] | tuple[float, ...]

PATIENCE = 0.02
"""Seconds of looking: longer than from step to step, far shorter than a look at held-out pictures."""
PIECE = 2**16


class Channel:
    """Both directions, by file descriptors."""

    def __init__(self, read: int, write: int) -> None:
        self._read, self._write = read, write
        self._rest = b""
        self._looks = os.name == "posix"  # elsewhere only sockets can be looked at
        if self._looks:
            os.set_blocking(read, False)

    def say(self, message: Message) -> None:
        """Sends a message.

        Raises:
            OSError: nobody is there.
        """
        words = " ".join(map(repr, message)) if isinstance(message, tuple) else json.dumps(message)
        line = words.encode() + b"\n"
        while line:
            line = line[os.write(self._write, line) :]

    def hear(self, *, patience: float = PATIENCE) -> Message | None:
        """The next message; None when there will be no more."""
        until = perf_counter() + patience
        while b"\n" not in self._rest:
            try:
                piece = os.read(self._read, PIECE)
            except BlockingIOError:
                if perf_counter() > until:
                    select.select([self._read], [], [])
                continue
            if not piece:
                return None
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\n")
        if not line.startswith(b"{"):
            return tuple(map(float, line.split()))
        message: dict[str, Any] = json.loads(line)
        return message
