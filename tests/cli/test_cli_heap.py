"""Freed memory: kept where the C library can be told, and only there."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from n2nspec.cli._heap import keep_freed_memory

COUNT = """
import resource, sys
from n2nspec.cli._heap import keep_freed_memory

if sys.argv[1] == "keep":
    assert keep_freed_memory()

def step():
    return [bytearray(2**20) for _ in range(12)]  # freed at once

step(), step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
QUIET = {key: value for key, value in os.environ.items() if not key.startswith(("MALLOC_", "GLIBC_"))}


def faults(how: str) -> int:
    """New pages that 20 rounds of 12 MiB cost, in a process of its own."""
    run = subprocess.run(
        [sys.executable, "-c", COUNT, how], env=QUIET, capture_output=True, text=True, check=True
    )
    return int(run.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_freed_memory_is_asked_for_again_without_new_pages() -> None:
    kept, left = faults("keep"), faults("leave")
    assert kept < 1000
    assert left > 10 * kept


@pytest.mark.parametrize("name", ["MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES"])
def test_what_the_user_has_said_stays(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "1")
    assert not keep_freed_memory()


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_other_systems_are_left_alone(system: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", system)
    assert not keep_freed_memory()
