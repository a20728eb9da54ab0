"""The building's rules, read from the source of every module, and no torch where none is needed.

`rules.py` reads what is written down; `tests/oracle/test_autograd_is_off.py` watches the operators that
really run.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rules import FLOORS, violations

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "n2nspec"


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def test_every_module_keeps_the_rules() -> None:
    found = [line for module, path in modules() for line in violations(path.read_text("utf-8"), module)]
    assert not found, "\n".join(found)


def test_every_folder_has_a_floor() -> None:
    names = {module.split(".")[1] for module, _ in modules() if "." in module}
    assert {"layers", "oracle", "cli"} <= names
    assert names <= FLOORS.keys(), f"no floor for {sorted(names - FLOORS.keys())}"


LAYER = "n2nspec.layers.example"
LAZY = "from n2nspec._lazy import torch\n"


@pytest.mark.parametrize(
    "line",
    [
        "y = torch.nn.functional.conv2d(x, w)",
        "y = torch.conv2d(x, w)",
        "y = torch.convolution(x, w)",
        "y = torch._convolution(x, w)",
        "y = torch.conv_transpose2d(x, w)",
        "y = torch.nn.Conv2d(1, 2, 3)",
        "y = torch.nn.functional.interpolate(x)",
        "y = torch.nn.functional.linear(x, w)",
        "y = torch.max_pool2d(x, 2)",
        "y = torch.nn.functional.adaptive_avg_pool2d(x, 2)",
        "y = torch.batch_norm(x)",
        "y = torch.native_group_norm(x)",
        "y = torch.nn.functional.mse_loss(x, y)",
        "y = torch.ops.aten.convolution_backward(x)",
        "y = torch.ops.aten.conv2d.default(x, w)",
        "y = torch._C._nn.upsample_nearest2d(x)",
        "y = torch._VF.conv2d(x)",
        "torch._foreach_add_(xs, ys)",
        "torch._fused_adam_(xs)",
        "o = torch.optim.Adam(ps)",
        "g = torch.autograd.grad(y, x)",
        "torch.autograd.backward(y)",
        "g = torch.func.grad(f)(x)",
        "class F(torch.autograd.Function): pass",
        "@torch.enable_grad()\ndef f(): pass",
        "x.requires_grad_()",
        "x.detach().requires_grad_(True)",
        "x.requires_grad = True",
        "x = torch.zeros(3, requires_grad=True)",
        "F = torch.nn.functional\ny = F.conv2d(x, w)",
        "nn = torch.nn\ny = nn.functional.avg_pool2d(x, 2)",
        "conv = torch.conv2d",
        "f(torch.nn)",
        "y = getattr(torch, 'conv2d')(x, w)",
        "y = getattr(getattr(torch, 'nn'), 'functional').conv2d(x, w)",
        "y = getattr(torch, 'conv' + '2d')(x, w)",
        "y = torch.__dict__['conv2d'](x, w)",
        "y = vars(torch)['nn'].functional.conv2d(x, w)",
        "import importlib\ny = importlib.import_module('torch.nn.functional').conv2d(x, w)",
        "import importlib\ny = importlib.import_module('torch.' + name)",
        "import importlib\ny = importlib.import_module(f'torch.{name}')",
        "import importlib\ny = importlib.import_module(f'{name}.{other}')",
        "import importlib\ny = importlib.import_module(f'n2nspec.{name}')",
        "import importlib\ny = importlib.import_module(f'n2nspec.cli.{name}')",
        "y = __import__('torch.nn').nn.functional.conv2d",
        "import sys\ny = sys.modules['torch.nn.functional'].conv2d(x)",
        "import operator\ny = operator.attrgetter('nn.functional.conv2d')(torch)(x)",
        "from torch.nn import functional as F",
        "from torch.nn.functional import conv2d",
        "import torch.nn.functional as F",
        "import torch.optim",
        "from torch import conv2d",
        "from torch import *",
        "from torch.autograd import grad",
        "import torch",
        "import torchvision",
        "if (n := torch.nn): n.Conv2d(1, 1, 1)",
        "def f(conv=torch.conv2d): pass",
        "print('x')",
        "import sys\nsys.exit(1)",
        "from sys import exit\nexit(1)",
        "raise SystemExit(1)",
        "raise SystemExit",
        "import sys\nsys.stdout.write('x')",
        "import click",
        "from click import echo",
        "from rich.console import Console",
        "eval('1')",
        "from n2nspec.spec import load",
        "from n2nspec import spec",
        "import n2nspec",
        "from n2nspec import load",
        "def f():\n    from n2nspec.runtime import compile",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from n2nspec.graph import Graph",
        "from . import conv2d",
    ],
)
def test_a_violation_is_reported(line: str) -> None:
    """Negative controls: the checker sees each spelling."""
    assert violations(LAZY + line + "\n", LAYER), line


@pytest.mark.parametrize(
    "line",
    [
        "y = torch.nn.functional.unfold(torch.nn.functional.pad(x, (1, 1)), 3)",
        "F = torch.nn.functional\ny = F.fold(x, 3, 3)",
        "y = torch.where(x > 0, x, 0).exp().clamp(0, 1) @ w",
        "y = torch.linalg.vector_norm(x)",
        "gx = layer.backward(gy)",
        "with torch.no_grad(): y = x + 1",
        "twin = 'torch.nn.Conv2d'",
        "def f(m: torch.nn.Module) -> torch.optim.Optimizer: ...",
        "m: torch.nn.Module = f()",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from torch import Tensor",
        "self.eval()",
        "from n2nspec.geometry import Shape",
        "from n2nspec.losses import MSE",
        "y = getattr(self, name)",
        "import importlib\ny = importlib.import_module(f'{__name__}.{file}')",
        "import importlib\ny = importlib.import_module(f'n2nspec.layers.{file}')",
    ],
)
def test_what_is_allowed_is_not_reported(line: str) -> None:
    assert not violations(LAZY + line + "\n", LAYER), line


def test_the_oracle_may_use_torch_and_the_command_line_may_print() -> None:
    assert not violations(
        "import torch\ny = torch.nn.Conv2d(1, 1, 1)(x).sum().backward()\n", "n2nspec.oracle.twin"
    )
    assert not violations("import click, sys\nprint(1)\nsys.exit(1)\n", "n2nspec.cli.main")
    assert violations("print(1)\n", "n2nspec.oracle.twin")
    assert violations(LAZY + "torch.nn.Conv2d(1, 1, 1)\n", "n2nspec.cli.main")


NO_TORCH = """
import sys
{code}
slow = {{"torch", "torchvision", "matplotlib", "skimage"}}
loaded = sorted(name for name in sys.modules if name.split(".")[0] in slow)
assert not loaded, loaded[:5]
"""


@pytest.mark.parametrize(
    "code",
    [
        "import n2nspec",
        "import n2nspec.layers, n2nspec.losses, n2nspec.optim, n2nspec.noise, n2nspec.spec, n2nspec.graph",
        "import n2nspec\nfrom n2nspec.graph import analyse\nanalyse(n2nspec.load('specs/n2n.toml'))",
        "import n2nspec.cli\n"
        "assert n2nspec.cli.main(['compile', 'specs/n2n.toml', '--check', '--size', '32x32']) == 0",
    ],
    ids=["import", "floors 0 to 3", "analyse", "command line"],
)
def test_checking_a_spec_does_not_import_torch(code: str) -> None:
    done = _python(NO_TORCH.format(code=code))
    assert done.returncode == 0, done.stderr


def test_the_import_check_sees_torch() -> None:
    """Negative control."""
    done = _python(NO_TORCH.format(code="from n2nspec._lazy import torch; torch.zeros(1)"))
    assert done.returncode == 1
    assert "AssertionError: ['torch'" in done.stderr


def _python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
