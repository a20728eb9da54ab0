"""The registry: files are found by name, imported when they are needed, and say what they hold."""

import subprocess
import sys

import pytest

import n2nspec.layers
from n2nspec.layers import LAYERS
from n2nspec.layers.registry import ALIASES
from n2nspec.losses import LOSSES
from n2nspec.noise import NOISES
from n2nspec.optim import OPTIMIZERS

REGISTRIES = (LAYERS, LOSSES, NOISES, OPTIMIZERS)


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda registry: registry._package)
def test_every_type_is_found_by_its_name(registry) -> None:
    assert len(registry) > 2
    for name, spec_type in registry.items():
        assert registry[name] is spec_type
        assert registry.spelt(name.swapcase())


def test_the_aliases_are_those_of_the_files() -> None:
    files = {name: spec_type.__module__.rpartition(".")[2] for name, spec_type in LAYERS.items()}
    second = {name: file for name, file in files.items() if name.lower() != file.replace("_", "")}
    assert {name.lower(): file for name, file in second.items()} == ALIASES


@pytest.mark.parametrize("name", ["conv2d", "Sequential", "Conv", "registry", "", "_base"])
def test_what_is_no_type_is_not_found(name: str) -> None:
    assert name not in LAYERS
    with pytest.raises(KeyError):
        LAYERS[name]


def test_only_types_are_spelt() -> None:
    assert [LAYERS.spelt(name) for name in ("conv2D", "convtranspose2d")] == [True, True]
    assert [LAYERS.spelt(name) for name in ("sequential", "registry")] == [False, False]


def test_a_package_has_the_public_names_of_its_files() -> None:
    assert {"Conv2d", "Conv2dSpec", "Sequential", "LayerSpec", "LAYERS"} <= set(n2nspec.layers.__all__)
    for name in n2nspec.layers.__all__:
        assert getattr(n2nspec.layers, name) is not None
    with pytest.raises(AttributeError, match=r"module 'n2nspec\.layers' has no attribute 'Conv9d'"):
        n2nspec.layers.Conv9d  # noqa: B018


def test_a_check_imports_the_layers_that_the_spec_uses() -> None:
    code = (
        "import sys; from n2nspec.cli import main; main(['compile', 'specs/n2n.toml', '--check'])\n"
        "print(*(name for name in sys.modules if name == 'networkx' or name.startswith('n2nspec.layers.')))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = set(answer.stdout.splitlines()[-1].split())
    layers = {name.rpartition(".")[2] for name in imported} - {"initialisation", "registry"}
    assert {name for name in layers if not name.startswith("_")} == {
        "conv2d", "nearest_upsampling", "relu", "sequential", "sigmoid", "upsampling"
    }  # fmt: skip
    assert "networkx" not in imported
