"""The building's rules for one source file: floors, forbidden torch, who may print.

In: the text of a module and its dotted name. Out: every rule that it breaks. A syntax tree sees every
spelling that is written down: attribute chains, aliases, from-imports, getattr with a constant.
"""

from __future__ import annotations

import ast
import re

__all__ = ["FLOORS", "violations"]

FLOORS = {
    "_lazy": 0, "_version": 0, "diagnostics": 0, "geometry": 0,
    "layers": 1, "losses": 1, "optim": 1, "noise": 1,
    "spec": 2, "graph": 3, "compiler": 4, "runtime": 5, "oracle": 5,
    "data": 6, "training": 6, "apply": 6, "cli": 7, "__main__": 7,
}  # fmt: skip
TOP = 8
"""`n2nspec/__init__.py` names the whole line of data; nothing below may import it."""

ALLOWED_NN = {f"torch.nn.functional.{name}" for name in ("fold", "unfold", "pad")}
FORBIDDEN_PREFIXES = (
    "torch.nn", "torch.optim", "torch.autograd", "torch.func", "torch.ops", "torch._ops", "torch._C",
    "torch._VF", "torch.utils.checkpoint", "torch._functorch", "torch.ao", "torch.quantization",
    "torchvision", "functorch",
)  # fmt: skip
FORBIDDEN_NAMES = re.compile(
    r"torch\.(enable_grad|_foreach_\w+|_fused_\w+|\w*conv(olution|\d|_)\w*|\w*pool\w*|\w*_norm(_\w+)?"
    r"|norm_except_dim|\w*upsample\w*|\w*interpolate\w*|\w*grid_sampler\w*|cudnn_\w+|miopen_\w+|mkldnn_\w+"
    r"|\w+_backward|dropout|native_\w+|linear)"
)
HARMLESS_NAMES = {"torch.renorm", "torch.frobenius_norm", "torch.nuclear_norm"}
"""Norms of numbers, not normalisation layers."""
ANYWHERE = {"requires_grad_", "enable_grad", "register_hook", "retain_grad"}
"""Methods that have no meaning but autograd's, whatever object they are called on."""
COMPUTED_IMPORTS = {"n2nspec._lazy", "n2nspec.layers.registry"}
"""The files whose job is importing a module whose name is not a constant."""


def _floor(module: str) -> int | None:
    """The floor of a dotted name of the package; None for other packages."""
    parts = module.split(".")
    if parts[0] != "n2nspec":
        return None
    return TOP if len(parts) == 1 else FLOORS.get(parts[1], TOP)


class _Reader(ast.NodeVisitor):
    """Collects `line: rule` for one module."""

    def __init__(self, module: str) -> None:
        self.module = module
        self.floor = _floor(module)
        self.found: list[str] = []
        self.aliases: dict[str, str] = {}
        self.typing_only = False
        self.in_oracle = module.startswith("n2nspec.oracle")
        self.in_cli = self.floor == FLOORS["cli"]

    def report(self, node: ast.AST, text: str) -> None:
        self.found.append(f"{self.module}:{getattr(node, 'lineno', 0)}: {text}")

    # -- names ----------------------------------------------------------------------------------------

    def resolve(self, node: ast.AST) -> str | None:
        """The dotted name that an expression stands for, as far as one can see; None otherwise."""
        match node:
            case ast.Name(id=name):
                return self.aliases.get(name)
            case ast.NamedExpr(value=value):
                return self.resolve(value)
            case ast.Attribute(value=value, attr=attribute):
                base = self.resolve(value)
                return f"{base}.{attribute}" if base else None
            case ast.Call(func=ast.Name(id="getattr"), args=[value, ast.Constant(value=str(name)), *_]):
                base = self.resolve(value)
                return f"{base}.{name}" if base else None
            case ast.Subscript(value=inner, slice=ast.Constant(value=str(name))):
                match inner:  # torch.__dict__["nn"], vars(torch)["nn"], sys.modules["torch.nn"]
                    case (
                        ast.Attribute(value=value, attr="__dict__")
                        | ast.Call(func=ast.Name(id="vars"), args=[value])
                    ):
                        base = self.resolve(value)
                        return f"{base}.{name}" if base else None
                return name if self.resolve(inner) == "sys.modules" else None
            case ast.Call(func=function, args=[ast.Constant(value=str(name)), *_]) if self._imports(function):
                return name
            case ast.Call(func=ast.Call(func=getter, args=[ast.Constant(value=str(name))]), args=[value]) if (
                self.resolve(getter) == "operator.attrgetter"
            ):
                base = self.resolve(value)
                return f"{base}.{name}" if base else None
        return None

    def _imports(self, function: ast.AST) -> bool:
        return (isinstance(function, ast.Name) and function.id == "__import__") or self.resolve(function) in (
            "importlib.import_module",
            "importlib.__import__",
        )

    def _bind(self, name: str, dotted: str) -> None:
        self.aliases[name] = "torch" if dotted == "n2nspec._lazy.torch" else dotted

    # -- imports --------------------------------------------------------------------------------------

    def _imported(self, node: ast.AST, dotted: str) -> None:
        """An import of `dotted`, a module or a name in one."""
        floor = _floor(dotted)
        if floor is not None and self.floor is not None and floor > self.floor:
            self.report(node, f"floor {self.floor} imports {dotted} of floor {floor}")
        root = dotted.split(".")[0]
        if root in ("click", "rich") and not self.in_cli:
            self.report(node, f"{root} outside cli")
        if root == "torch" and not self.typing_only and not self.in_oracle and self.module != "n2nspec._lazy":
            self.report(node, f"imports {dotted}; use n2nspec._lazy")
        if not self.typing_only and dotted != "torch":
            self.torch_rule(node, dotted)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._imported(node, alias.name)
            self._bind(
                alias.asname or alias.name.split(".")[0],
                alias.name if alias.asname else alias.name.split(".")[0],
            )

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.level:
            self.report(node, "relative import")
        for alias in node.names:
            dotted = f"{node.module}.{alias.name}"
            # `from n2nspec import layers` imports a floor's folder, `from n2nspec import load` the top
            self._imported(node, dotted)
            if alias.name == "*" and (node.module or "").startswith("torch"):
                self.report(node, f"star import from {node.module}")
            self._bind(alias.asname or alias.name, dotted)

    def visit_If(self, node: ast.If) -> None:
        if ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            before, self.typing_only = self.typing_only, True
            for child in node.body:
                self.visit(child)
            self.typing_only = before
            for child in node.orelse:
                self.visit(child)
        else:
            self.generic_visit(node)

    # -- expressions ------------------------------------------------------------------------------------

    def torch_rule(self, node: ast.AST, dotted: str) -> None:
        if self.in_oracle or dotted in ALLOWED_NN:
            return
        under = any(dotted == prefix or dotted.startswith(prefix + ".") for prefix in FORBIDDEN_PREFIXES)
        head = ".".join(dotted.split(".")[:2])
        if under or (FORBIDDEN_NAMES.fullmatch(head) and head not in HARMLESS_NAMES):
            self.report(node, f"uses {dotted}")

    def visit_Assign(self, node: ast.Assign) -> None:
        dotted = self.resolve(node.value)
        for target in node.targets:
            if isinstance(target, ast.Attribute) and target.attr == "requires_grad" and not self.in_oracle:
                self.report(node, "sets requires_grad")
            if isinstance(target, ast.Name) and dotted:
                self._bind(target.id, dotted)
        names_only = all(isinstance(target, ast.Name) for target in node.targets)
        if not (dotted in ("torch", "torch.nn", "torch.nn.functional") and names_only):
            self.generic_visit(node)  # a plain alias is followed instead: what is made of it counts

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(ast.copy_location(ast.Assign(targets=[node.target], value=node.value), node))

    def visit_arg(self, node: ast.arg) -> None:
        """Annotations are never evaluated (`from __future__ import annotations`)."""

    def _visit_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for child in (*node.decorator_list, node.args, *node.body):
            self.visit(child)

    visit_FunctionDef = _visit_function  # noqa: N815
    visit_AsyncFunctionDef = _visit_function  # noqa: N815

    def _visit_name(self, node: ast.Name | ast.Attribute | ast.Subscript) -> None:
        dotted = self.resolve(node)
        if isinstance(node, ast.Attribute) and node.attr in ANYWHERE and not self.in_oracle:
            self.report(node, f"uses .{node.attr}")
        if dotted is None:
            self.generic_visit(node)
            return
        self.torch_rule(node, dotted)
        if not self.in_cli and re.match(r"(sys\.(exit|stdout|stderr)|os\._exit|builtins\.print)\b", dotted):
            self.report(node, f"{dotted} outside cli")

    visit_Name = _visit_name  # noqa: N815
    visit_Attribute = _visit_name  # noqa: N815
    visit_Subscript = _visit_name  # noqa: N815

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Name) and node.func.id not in self.aliases:
            if node.func.id in ("print", "exit", "quit", "SystemExit", "input") and not self.in_cli:
                self.report(node, f"{node.func.id}() outside cli")
            if node.func.id in ("eval", "exec"):
                self.report(node, f"{node.func.id}()")
        for keyword in node.keywords:
            if keyword.arg == "requires_grad" and not self.in_oracle:
                self.report(node, "passes requires_grad")
        self._computed(node)
        dotted = self.resolve(node)
        if dotted is not None:
            self.torch_rule(node, dotted)
        self.generic_visit(node)

    def _computed(self, node: ast.Call) -> None:
        """Names put together at run time can't be checked, so they are not allowed."""
        if self.in_oracle or self.module in COMPUTED_IMPORTS or not node.args:
            return
        constant = [isinstance(arg, ast.Constant) for arg in node.args]
        if self._imports(node.func) and not constant[0]:
            folder = self._folder(node.args[0])
            if folder is None:
                self.report(node, "imports a computed name")
            else:
                self._imported(node, folder)
        is_getattr = isinstance(node.func, ast.Name) and node.func.id == "getattr" and len(node.args) > 1
        if is_getattr and not constant[1] and (self.resolve(node.args[0]) or "").split(".")[0] == "torch":
            self.report(node, "reads a computed name of torch")

    def _folder(self, name: ast.AST) -> str | None:
        """The part of the package that f"n2nspec.cli.{command}" or f"{__name__}.{file}" stays in."""
        match name:
            case ast.JoinedStr(values=[ast.Constant(value=str(text)), *_]) if text.startswith("n2nspec."):
                return text.rstrip(".")
            case ast.JoinedStr(
                values=[ast.FormattedValue(value=ast.Name(id="__name__")), ast.Constant(value=str(dot)), *_]
            ) if dot.startswith("."):
                return self.module
        return None

    def visit_Raise(self, node: ast.Raise) -> None:
        if isinstance(node.exc, ast.Name) and node.exc.id == "SystemExit" and not self.in_cli:
            self.report(node, "raises SystemExit outside cli")
        self.generic_visit(node)


def violations(source: str, module: str) -> list[str]:
    """Every broken rule in the source of the dotted `module`."""
    reader = _Reader(module)
    reader.visit(ast.parse(source))
    return list(dict.fromkeys(reader.found))
