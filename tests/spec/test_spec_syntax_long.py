"""Long texts: all faults are told, or it is said that there are more; in time proportional to the length."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from language import refused

from n2nspec.spec.faults import MOST_FAULTS

LAYERS = 6_000
MORE = f"there are more faults behind this one: the first {MOST_FAULTS} are told"


def text(suffix: str, faults: int, *, twice: bool = False) -> str:
    """A spec of about half a MiB with so many faults, evenly in it; the last layer gives a key twice."""
    wrong = {(number + 1) * LAYERS // (faults + 1) for number in range(faults)}
    channels = ["three" if index in wrong else "3" for index in range(LAYERS)]
    if suffix == ".toml":
        lines = ["spec_version = 1", 'name = "n"', "[input]", 'x = ["N", 3, "H", "W"]']
        for count in channels:
            lines += ["[[encoder]]", 'type = "Conv2d"', f"out_channels = {count}", "kernel_size = 3", ""]
        return "\n".join([*lines, *(["kernel_size = 3"] if twice else [])])
    head = json.dumps({"spec_version": 1, "name": "n", "input": {"x": ["N", 3, "H", "W"]}})[:-1]
    layers = [f'{{"type": "Conv2d",\n"out_channels": {count},\n"kernel_size": 3}}' for count in channels]
    if twice:
        layers[-1] = layers[-1].replace("}", ',\n"kernel_size": 3}')
    return f'{head}, "encoder": [\n{",".join(layers)}]}}'


@pytest.mark.parametrize("suffix", [".toml", ".json"])
@pytest.mark.parametrize("twice", [False, True])
def test_every_fault_of_a_long_text_is_told_at_its_place(suffix: str, twice: bool, tmp_path: Path) -> None:
    file = tmp_path / f"long{suffix}"
    written = text(suffix, MOST_FAULTS - 5, twice=twice)
    file.write_text(written, encoding="utf-8")
    started = time.perf_counter()
    found = refused(file)
    assert time.perf_counter() - started < 60  # a guard: seconds on an idle machine
    expected = [number for number, line in enumerate(written.split("\n"), 1) if "three" in line]
    lines = [diagnostic.span.line for diagnostic in found if diagnostic.span]
    last = len(written.rstrip().split("\n"))
    assert lines == [*expected, *([last] if twice else [])]
    assert all(MORE not in diagnostic.help for diagnostic in found)
    assert all("three" in diagnostic.message for diagnostic in found[: len(expected)])


@pytest.mark.parametrize("suffix", [".toml", ".json"])
@pytest.mark.parametrize(("faults", "more"), [(MOST_FAULTS, False), (MOST_FAULTS + 1, True)])
def test_that_there_are_more_is_said(suffix: str, faults: int, more: bool, tmp_path: Path) -> None:
    file = tmp_path / f"long{suffix}"
    file.write_text(text(suffix, faults), encoding="utf-8")
    found = refused(file)
    assert len(found) == MOST_FAULTS
    assert [diagnostic for diagnostic in found if MORE in diagnostic.help] == ([found[-1]] if more else [])
