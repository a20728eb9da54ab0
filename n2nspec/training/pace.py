"""How fast training goes and how long it will take.

In: the moments at which batches and measurements ended. Out: pictures a second, and seconds left.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import perf_counter

__all__ = ["Pace"]

RECENT = 64
"""Batches that the estimate looks back on; the first ones are slow, caches and compilers warm up."""


class Pace:
    """Counts wall-clock time: training, reading of data, and everything else that delays the next batch.

    Args:
        batches: all batches of the run.
        measurements: how often the held-out pictures will be measured.
        clock: seconds that only go forward.
    """

    def __init__(self, batches: int, measurements: int, clock: Callable[[], float] = perf_counter) -> None:
        self._clock = clock
        self._batches_left = batches
        self._measurements_left = measurements
        self._measurement_seconds = 0.0
        self._recent: deque[tuple[float, int]] = deque(maxlen=RECENT)
        self._last = clock()

    def batch(self, pictures: int) -> None:
        """A batch of so many pictures ended."""
        now = self._clock()
        self._recent.append((now - self._last, pictures))
        self._last = now
        self._batches_left -= 1

    def measurement(self) -> None:
        """A measurement of the held-out pictures, and the writing of a checkpoint, ended."""
        now = self._clock()
        self._measurement_seconds = now - self._last
        self._last = now
        self._measurements_left -= 1

    @property
    def pictures_per_second(self) -> float:
        """Over the recent batches; 0 before the first."""
        seconds = sum(duration for duration, _ in self._recent)
        return sum(pictures for _, pictures in self._recent) / seconds if seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float:
        """Estimated from the recent batches and the last measurement."""
        if not self._recent:
            return 0.0
        a_batch = sum(duration for duration, _ in self._recent) / len(self._recent)
        return self._batches_left * a_batch + self._measurements_left * self._measurement_seconds
