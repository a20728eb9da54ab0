"""The command line: the only part of the package that prints or exits.

Exit codes: 0 fine, 1 the input is at fault, 2 wrong usage, 130 on Ctrl-C. Results go to stdout, progress and
diagnostics to stderr.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

import click

from n2nspec._version import __version__
from n2nspec.cli._faults import told
from n2nspec.cli._output import print_diagnostics
from n2nspec.diagnostics import Diagnostic, DiagnosticError

__all__ = ["main"]

COMMANDS = {
    "compile": "Check a spec: sizes, shapes, parameters, cost; then plan it.",
    "diff": "Compare two networks as graphs: nodes, parameters, cost, sizes.",
    "draw": "Draw a network: SVG, Mermaid or Graphviz.",
    "train": "Train a denoiser as a spec says.",
    "eval": "Measure a trained denoiser on held-out pictures.",
    "denoise": "Denoise pictures with a trained denoiser.",
    "verify": "Check every gradient against torch autograd and finite differences.",
    "bench": "Time a training step, or inference, with every engine, ours and torch's.",
    "time": "Time each kernel of a training step.",
    "plot": "Draw the loss curves of runs into one picture.",
    "explain": "What a code such as E206 means, with an example.",
    "layers": "List the layer types and what else there is to choose from, or show one in full.",
    "schema": "Write the JSON Schema of a spec, for editors.",
    "init": "Start a project: a spec that trains, its schema, a README.",
}


class _LazyGroup(click.Group):
    """Imports a command when it is used: checking a spec must not pay for training."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"n2nspec.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="Networks as data, trained on noisy pairs by hand-written gradients.",
)
@click.version_option(__version__, prog_name="n2nspec")
def _cli() -> None: ...


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the shell (`>&-`)
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 (stays open until the end)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal that cannot show × must not end a training run
            stream.reconfigure(errors="replace")
    try:
        result = _cli.main(
            args=None if arguments is None else list(arguments), prog_name="n2nspec", standalone_mode=False
        )
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except DiagnosticError as error:
        print_diagnostics(error.diagnostics)
        return 1
    except click.UsageError as error:
        error.show()
        return 2
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        return 130
    except BrokenPipeError:  # the reader of our output has gone (`| head`); nobody is left to tell
        _abandon_stdout()
        return 0
    except OSError as error:  # what a command itself reads and writes is told by its own diagnostics
        _abandon_stdout()
        print_diagnostics([Diagnostic(code="E405", message=f"cannot write the output: {error.strerror}")])
        return 1
    except Exception as error:
        fault = told(error)
        if fault is None:
            raise
        print_diagnostics([fault])
        return 1


def _abandon_stdout() -> None:
    """Lets what is still buffered go to nowhere, or the interpreter complains about it at its end.

    https://docs.python.org/3/library/signal.html#note-on-sigpipe
    """
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
