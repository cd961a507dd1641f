"""What a Python cell uses and does not make itself: free names, and modules that it imports. Pure: text in, names out."""

from __future__ import annotations

import ast
import builtins
import symtable
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any

from .errors import OptionError

ONLY_HERE = {"get_ipython", "display", "In", "Out", "_ih", "_oh", "_dh"}  # IPython puts the first two among the builtins
OF_SITE = {"exit", "quit", "copyright", "credits", "license", "help"}  # every Python has them; a notebook has others of these names
KNOWN = (frozenset(dir(builtins)) | OF_SITE | {"__file__", "__name__", "__doc__", "__builtins__"}) - ONLY_HERE


def free_names(code: str) -> list[str]:
    """Global names that the cell reads and never binds, in no particular order; none where `import *` may bring any."""
    tree = ast.parse(code)
    if any(isinstance(node, ast.ImportFrom) and any(item.name == "*" for item in node.names) for node in ast.walk(tree)):
        return []
    try:
        code = ast.unparse(_Plain().visit(tree))
    except (ValueError, RecursionError):
        pass  # Python 3.11 cannot write some f-strings, nor any a sum of hundreds of terms: the cell as it is, then
    try:
        top = symtable.symtable(code, "<cell>", "exec")
    except SyntaxError:  # await outside a function: fine in a cell, unknown to symtable
        return []
    read: set[str] = set()
    bound: set[str] = set()
    _collect(top, read, bound, top=True)
    return sorted(read - bound - KNOWN)


class _Plain(ast.NodeTransformer):
    """The cell's top level without what symtable does not know there (await), and with `x += 1` and `del x` as what they need: an x."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> Any:
        return node

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> Any:
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> Any:
        return node

    def visit_AugAssign(self, node: ast.AugAssign) -> Any:
        if not isinstance(node.target, ast.Name):
            return self.generic_visit(node)
        return ast.copy_location(ast.Expr(ast.BinOp(ast.Name(node.target.id, ast.Load()), node.op, self.visit(node.value))), node)

    def visit_Delete(self, node: ast.Delete) -> Any:
        values = [ast.Name(item.id, ast.Load()) if isinstance(item, ast.Name) else item for item in node.targets]
        return ast.copy_location(ast.Expr(ast.Tuple(values, ast.Load())), node)

    def visit_Await(self, node: ast.Await) -> Any:
        return self.visit(node.value)

    def visit_AsyncFor(self, node: ast.AsyncFor) -> Any:
        return self.generic_visit(ast.copy_location(ast.For(node.target, node.iter, node.body, node.orelse), node))

    def visit_AsyncWith(self, node: ast.AsyncWith) -> Any:
        return self.generic_visit(ast.copy_location(ast.With(node.items, node.body), node))

    def visit_comprehension(self, node: ast.comprehension) -> Any:
        node.is_async = 0
        return self.generic_visit(node)


def _collect(table: symtable.SymbolTable, read: set[str], bound: set[str], *, top: bool) -> None:
    for symbol in table.get_symbols():
        name = symbol.get_name()
        if top or symbol.is_global():
            if symbol.is_referenced():
                read.add(name)
            if symbol.is_assigned() or symbol.is_imported() or (top and symbol.is_namespace()):
                bound.add(name)
    for child in table.get_children():
        _collect(child, read, bound, top=False)


def imports(code: str) -> list[str]:
    """Top-level names of the modules that the cell imports anywhere."""
    found: dict[str, None] = {}
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found.update(dict.fromkeys(item.name.partition(".")[0] for item in node.names))
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            found[node.module.partition(".")[0]] = None
    return list(found)


def check_names(code: str, shipped: Iterable[str], notebook: Mapping[str, Any]) -> None:
    """Raises OptionError for a name that exists in the notebook alone, with the option or the import that brings it along."""
    missing = [name for name in free_names(code) if name not in set(shipped)]
    here = [name for name in missing if name in ONLY_HERE]
    if here:
        raise OptionError(
            "%%aci",
            None,
            f"{here[0]} belongs to this notebook's IPython; the container has none",
            "the value of the last expression is shown; print the others" if here[0] == "display" else "leave it out of the cell",
        )
    found = [name for name in missing if name in notebook]
    modules = {name: notebook[name] for name in found if isinstance(notebook[name], ModuleType)}
    values = [name for name in found if name not in modules]
    if not found:
        return
    remedies = [f"add -i {','.join(values)}"] if values else []
    remedies += [_import_line(name, module) for name, module in modules.items()]
    verb = "exists" if len(found) == 1 else "exist"
    raise OptionError("%%aci", None, f"{', '.join(found)} {verb} only in this notebook, not in the container", "; ".join(remedies))


def _import_line(name: str, module: ModuleType) -> str:
    full = module.__name__
    return f"write {f'import {full}' if full == name else f'import {full} as {name}'} in the cell"
