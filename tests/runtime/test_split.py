"""Steps that several processes share: the same numbers as in one, whatever becomes of the helpers."""

from __future__ import annotations

import copy
import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

import n2nspec
from n2nspec.compiler.division import divisible
from n2nspec.graph import analyse
from n2nspec.runtime import Model
from n2nspec.runtime.split import memory
from n2nspec.runtime.split.channel import Channel

SPECS = Path(__file__).parents[2] / "specs"
SHAPE = (5, 3, 128, 128)
"""n2n's work on these pictures is worth two processes, of three and of two pictures."""


def model(processes: int, settings: dict[str, object] | None = None, engine: str = "optimized") -> Model:
    spec = n2nspec.load(SPECS / "n2n.toml", overrides=settings or {})
    return n2nspec.compile(spec, engine=engine, dtype="float64", processes=processes, seed=1)


def batch(shape: tuple[int, ...] = SHAPE) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return tuple(torch.rand(shape, generator=generator, dtype=torch.float64) for _ in range(2))  # type: ignore[return-value]


def helpers(model: Model) -> list[subprocess.Popen[bytes]]:
    assert model._team is not None
    return [helper._process for helper in model._team._helpers]


def parameters(model: Model) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in model.state_dict().values()])


@pytest.fixture(scope="module")
def shared() -> Iterator[Model]:
    """One whose helper is there."""
    shared = model(2)
    shared.gather(SHAPE)
    assert not shared.warnings
    yield shared
    (process,) = helpers(shared)
    shared._team = None
    assert process.wait(10) is not None


def test_a_batch_of_fixed_size_is_not_divided() -> None:
    for shape in ([5, 3, "H", "W"], ["N", 3, "N", "W"]):
        spec = n2nspec.load(SPECS / "n2n.toml", overrides={"input.x": shape, "require": {}})
        assert not divisible(analyse(spec)), shape


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_helper_computes_what_one_process_does(shared: Model, reduction: str) -> None:
    settings = {"train.loss": {"type": "Huber", "reduction": reduction}} if reduction == "sum" else {}
    alone, together = model(1, settings), shared if not settings else model(2, settings)
    together.gather(SHAPE)
    x, target = batch()
    for _ in range(3):
        assert together.step(x, target) == pytest.approx(alone.step(x, target), rel=1e-12)
    difference = (parameters(together) - parameters(alone)).abs().max()
    assert difference <= 1e-10 * parameters(alone).abs().max()
    assert together.processes(SHAPE) == 2
    assert together.measure_helpers() > 0


def test_before_the_helper_is_there_the_numbers_are_the_same(shared: Model) -> None:
    """Bit for bit, so that it does not matter when it comes."""
    early, late = model(2), model(2)
    late.gather(SHAPE)
    x, target = batch()
    losses = [[other.step(x, target) for _ in range(2)] for other in (early, late)]
    assert losses[0] == losses[1]
    assert torch.equal(parameters(early), parameters(late))


@pytest.mark.slow
def test_a_helper_compiles_the_same_function() -> None:
    """Bit for bit what is computed here while it is not there."""
    early, late, judge = model(2, engine="compiled"), model(2, engine="compiled"), model(1)
    x, target = batch((4, 3, 128, 128))
    early.step(x, target)
    late.gather(tuple(x.shape))
    assert not late.warnings
    late.step(x, target)
    helper = late._team._helpers[0] if late._team else None
    assert helper
    assert helper._last, "it was asked"
    early._team = copy.copy(early._team)  # whose helper comes too late again
    assert early.step(x, target) == late.step(x, target)
    assert torch.equal(parameters(early), parameters(late))
    for _ in range(2):
        judge.step(x, target)
    difference = (parameters(late) - parameters(judge)).abs().max()
    assert difference <= 1e-10 * parameters(judge).abs().max()
    assert late.engine == "compiled"
    assert late.measure_helpers() > 2 * parameters(late).nbytes


def test_batches_of_other_sizes_and_annealed_losses() -> None:
    settings = {"train.loss": {"type": "AnnealedL0"}}
    alone, together = model(1, settings), model(2, settings)
    together.gather(SHAPE)
    for progress, shape in ((0.0, SHAPE), (0.5, (3, 3, 256, 128)), (1.0, SHAPE), (1.0, (1, 3, 16, 16))):
        alone.progress = together.progress = progress
        x, target = batch(shape)
        assert together.step(x, target) == pytest.approx(alone.step(x, target), rel=1e-10)


def test_a_helper_that_dies_is_missed_and_nothing_is_lost() -> None:
    alone, together = model(1), model(2)
    together.gather(SHAPE)
    x, target = batch()
    together.step(x, target)
    alone.step(x, target)
    (process,) = helpers(together)
    process.kill()
    process.wait()
    for _ in range(2):
        assert together.step(x, target) == pytest.approx(alone.step(x, target), rel=1e-12)
    (warning,) = together.warnings
    assert warning.code == "W502"
    assert "exit code" in warning.message or "Broken pipe" in warning.message


def test_an_interrupted_step_leaves_no_answer_behind(shared: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    x, target = batch()
    alone = model(1)
    alone.load_state_dict(shared.state_dict())
    alone.load_optimizer_state(shared.optimizer_state())

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    assert shared._team is not None
    with monkeypatch.context() as patched:
        patched.setattr(shared._team, "_alone", interrupted)
        with pytest.raises(KeyboardInterrupt):
            shared.step(1 - x, target)
    assert torch.get_num_threads() > 0
    assert shared.step(x, target) == pytest.approx(alone.step(x, target), rel=1e-12)


def test_an_interrupt_while_a_helper_is_told_leaves_it_in_use() -> None:
    """Wherever it comes: what was prepared for another batch is not taken for the one before."""
    alone, together = model(1), model(2)
    shapes = SHAPE, (7, 3, 128, 128)
    for shape in shapes:
        together.gather(shape)
    together.step(*batch())
    assert together._team is not None
    (helper,) = together._team._helpers

    def interrupted(job: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(helper, "_say", interrupted)
        with pytest.raises(KeyboardInterrupt):
            together.step(*batch(shapes[1]))
    alone.load_state_dict(together.state_dict())
    alone.load_optimizer_state(together.optimizer_state())
    for shape in (SHAPE, shapes[1], SHAPE):
        assert together.step(*batch(shape)) == pytest.approx(alone.step(*batch(shape)), rel=1e-12)
        assert helper._last, "it took part"
    assert not together.warnings


def test_memory_is_measured_after_what_a_helper_is_doing() -> None:
    together = model(2)
    together.gather(SHAPE)
    together.step(*batch())
    together.step(*batch((7, 3, 128, 128)))  # which it begins to make ready for
    assert together.measure_helpers() > 0
    together.gather((7, 3, 128, 128))
    together.step(*batch((7, 3, 128, 128)))
    assert not together.warnings


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="memory is shared elsewhere")
def test_no_memory_stays_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    reserve = memory._reserved

    def noted(size: int) -> str:
        made.append(reserve(size))
        return made[-1]

    monkeypatch.setattr(memory, "_reserved", noted)
    together = model(2)
    together.gather(SHAPE)
    together.step(*batch())
    assert len(made) == 2
    assert not any(Path(path).exists() for path in made)
    together.gather((7, 3, 128, 128))
    (process,) = helpers(together)
    process.kill()
    process.wait()
    together.step(*batch((7, 3, 128, 128)))
    (warning,) = together.warnings
    assert "exit code" in warning.message
    assert len(made) == 3
    del together
    gc.collect()
    assert not any(Path(path).exists() for path in made)


def test_a_copy_has_helpers_of_its_own(shared: Model) -> None:
    x, target = batch()
    other = copy.deepcopy(shared)
    assert other.step(x, target) == pytest.approx(shared.step(x, target), rel=1e-12)


def test_threads_are_as_before_afterwards() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        together = model(2)
        together.step(*batch())
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


PROGRAM = """
import sys, torch, n2nspec
from pathlib import Path
model = n2nspec.compile(n2nspec.load(sys.argv[1]), engine="optimized", processes=2)
x = torch.rand(32, 3, 32, 32)
model.step(x, x)
model.gather(tuple(x.shape))
model.step(x, x)
print(model._team._helpers[0]._process.pid, flush=True)
if len(sys.argv) > 2:
    import time
    time.sleep(60)
"""


def _gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("killed", [False, True])
def test_helpers_end_with_the_process_that_started_them(killed: bool, tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(SPECS / "n2n.toml"), *(["wait"] if killed else [])]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path, text=True
    )
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    if killed:
        process.send_signal(signal.SIGKILL)
    assert process.communicate()[1] == ""
    for _ in range(200):
        if _gone(pid):
            return
        time.sleep(0.05)
    pytest.fail("the helper is still there")


EARLY = """
import os, sys, torch, n2nspec
model = n2nspec.compile(n2nspec.load(sys.argv[1]), engine="optimized", processes=2)
x = torch.rand(32, 3, 32, 32)
model.step(x, x)
print(model._team._helpers[0]._files[0].path, flush=True)
os.kill(os.getpid(), 9)
"""


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_who_is_killed_before_the_helper_is_there_leaves_no_memory_shared() -> None:
    command = [sys.executable, "-c", EARLY, str(SPECS / "n2n.toml")]
    path = Path(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout.strip())
    assert path.is_absolute()
    for _ in range(200):
        if not path.exists():
            return
        time.sleep(0.05)
    pytest.fail("it is still there")


def test_messages_arrive_whole() -> None:
    read, write = os.pipe()
    channel = Channel(read, write)
    long = {"text": "x" * 10_000}
    channel.say(long)
    channel.say({"a": 1})
    channel.say((7, 0.1, 1e-310, float("inf")))
    channel.say((8, float("nan")))
    assert channel.hear() == long
    assert channel.hear(patience=0) == {"a": 1}
    assert channel.hear() == (7, 0.1, 1e-310, float("inf"))
    number, nan = channel.hear() or ()
    assert number == 8
    assert nan != nan
    os.close(write)
    assert channel.hear() is None
    os.close(read)
