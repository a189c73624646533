"""What nothing calls: names that neither the product nor its pages, tools or documents use. A test is no caller.

    python -m tools.dead_code        lists them and exits with 1; part of `make check`

1. A name of a module (function, class, constant) is used where code reads it, in its own module or through an import.
   A package's `__init__` that only passes it on is no use; the stub of `eapgp` is one: users rely on its names.
2. A method, property or field is used where any code reads an attribute of that name, or names it in a string.
3. `KEPT` lists what is left on purpose, each entry with its reason; an entry that is used or gone is an error too.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "eapgp"
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "docs/*.md", "docs/notebooks/*.ipynb")
CALLERS = ("app.py", "pages/*.py", "tools/**/*.py", f"{PACKAGE}/__init__.pyi")
KEPT: dict[str, str] = {
    "eapgp.runs.record._*._agree": "pydantic calls the checks of a part",
    "eapgp.runs.record._*._bounded": "as _agree",
    "eapgp.cli.*.register": "cli/__init__.py calls it on every module of its list, by name",
    "eapgp.circuits.ops.union": "set operations and editing for people who work in a notebook",
    "eapgp.circuits.ops.intersection": "as union",
    "eapgp.circuits.ops.difference": "as union",
    "eapgp.circuits.ops.symmetric_difference": "as union",
    "eapgp.circuits.ops.equal": "as union",
    "eapgp.circuits.ops.add_node": "as union; the dashboard adds edges only",
    "eapgp.circuits.ops.trace": "as union; the dashboard traces in the browser, and a test holds the two together",
    "eapgp.circuits.ops.is_pruned": "as union",
    "eapgp.formats.registry.read_circuit": "reads what write_circuit writes",
    "eapgp.formats.tables.edge_table": "scores as a pandas table, for notebooks",
    "eapgp.prompts.align.align": "aligned tokens of one pair, for notebooks",
    "eapgp.evaluation.agreement.Comparison.kendall_n": "written by to_dict, which takes every field",
    "eapgp.evaluation.agreement.Comparison.sign_overlap": "written by to_dict, which takes every field",
}

Tree = ast.Module
Name = tuple[str, str]


def dead(root: Path = ROOT, kept: Mapping[str, str] = KEPT) -> list[str]:
    """One line per name that nothing uses, and per entry of `kept` that is not needed."""
    modules = _modules(root)
    callers = {**modules, **_callers(root)}
    unused = [*_unused_names(modules, callers), *_unused_members(modules, callers)]
    lines = [f"{name}: used by nothing but tests" for name in unused if not any(fnmatch(name, entry) for entry in kept)]
    needless = [entry for entry in kept if not any(fnmatch(name, entry) for name in unused)]
    return lines + [f"{entry}: listed in KEPT, but used or gone" for entry in needless]


def _modules(root: Path) -> dict[str, Tree]:
    """The package's modules by dotted name."""
    found = {}
    for path in sorted((root / PACKAGE).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = ast.parse(path.read_text("utf-8"))
    return found


def _callers(root: Path) -> dict[str, Tree]:
    """Code outside the package that counts as a caller, by path: pages, tools, and code in documents."""
    trees: dict[str, Tree] = {}
    for pattern in CALLERS:
        trees |= {str(path): ast.parse(path.read_text("utf-8")) for path in root.glob(pattern)}
    for pattern in DOCUMENTS:
        for path in root.glob(pattern):
            for number, code in enumerate(_code(path)):
                trees[f"{path}, piece {number}"] = ast.parse(code)
    return trees


def _code(path: Path) -> Iterator[str]:
    """Pieces of Python in a document that can be parsed."""
    text = path.read_text("utf-8")
    if path.suffix == ".ipynb":
        pieces = ["".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    else:
        pieces = re.findall(r"^```py(?:thon)?\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    for piece in pieces:
        try:
            ast.parse(piece)
        except SyntaxError:
            continue
        yield piece


def _defined(tree: Tree) -> dict[str, ast.stmt]:
    """The names that a module makes, with the statement that makes them."""
    names: dict[str, ast.stmt] = {}
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names[statement.name] = statement
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        for target in targets:
            if isinstance(target, ast.Name | ast.Tuple):
                names |= {part.id: statement for part in ast.walk(target) if isinstance(part, ast.Name)}
    return {name: statement for name, statement in names.items() if not name.startswith("__")}


def _unused_names(modules: Mapping[str, Tree], callers: Mapping[str, Tree]) -> Iterator[str]:
    defined = {module: _defined(tree) for module, tree in modules.items()}
    passed_on = {m for m in modules if m != PACKAGE and any(other.startswith(f"{m}.") for other in modules)}
    used: set[Name] = set()
    for caller, tree in callers.items():
        used |= _own_uses(caller, tree, defined.get(caller, {}))
        used |= {_origin(use, modules, defined) for use in _foreign_uses(tree, modules, caller in passed_on)}
    for module, names in defined.items():
        yield from (f"{module}.{name}" for name in names if (module, name) not in used)


def _own_uses(module: str, tree: Tree, defined: Mapping[str, ast.stmt]) -> set[Name]:
    """Names that the module itself reads, outside the statement that makes them."""
    reads: dict[str, list[ast.Name]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in defined:
            reads.setdefault(node.id, []).append(node)
    return {
        (module, name)
        for name, nodes in reads.items()
        if not {id(node) for node in nodes} <= {id(part) for part in ast.walk(defined[name])}
    }


def _foreign_uses(tree: Tree, modules: Mapping[str, Tree], passing_on: bool) -> Iterator[Name]:
    """Names of other modules that a file imports, or reads as an attribute of an imported module.

    passing_on: the file is a package's `__init__`, whose imports count only where it reads the name itself.
    """
    aliases: dict[str, str] = {}
    read = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            aliases |= {(alias.asname or alias.name): alias.name for alias in node.names if alias.name in modules}
        elif isinstance(node, ast.ImportFrom) and (module := _full(node)) in modules:
            for alias in node.names:
                submodule = f"{module}.{alias.name}"
                if submodule in modules:
                    aliases[alias.asname or alias.name] = submodule
                if submodule in modules and alias.name not in _passed_on(modules[module]):
                    continue
                if not passing_on or (alias.asname or alias.name) in read:
                    yield module, alias.name
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and (holder := aliases.get(ast.unparse(node.value))):
            yield holder, node.attr


def _full(node: ast.ImportFrom) -> str:
    """The module that is imported from; only the stub of the public names writes it relative to the package."""
    return f"{PACKAGE}.{node.module}" if node.level else str(node.module)


def _passed_on(package: Tree) -> set[str]:
    """Names that a module imports from elsewhere; one may have a submodule's name too."""
    imports = [node for node in package.body if isinstance(node, ast.ImportFrom)]
    return {alias.asname or alias.name for node in imports for alias in node.names}


def _origin(use: Name, modules: Mapping[str, Tree], defined: Mapping[str, Mapping[str, ast.stmt]]) -> Name:
    """Where a name comes from that a package passes on."""
    module, name = use
    for node in ast.walk(modules[module]) if name not in defined[module] else ():
        if isinstance(node, ast.ImportFrom) and node.module and node.module in modules:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return _origin((node.module, alias.name), modules, defined)
    return use


def _unused_members(modules: Mapping[str, Tree], callers: Mapping[str, Tree]) -> Iterator[str]:
    """Methods, properties and fields whose name no code reads."""
    read: set[str] = set()
    for tree in callers.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                read.add(node.attr)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                read.add(node.value)
    for module, tree in modules.items():
        for holder in ast.walk(tree):
            if isinstance(holder, ast.ClassDef):
                for name in _members(holder):
                    if name not in read and not name.startswith("__"):
                        yield f"{module}.{holder.name}.{name}"


def _members(holder: ast.ClassDef) -> Iterator[str]:
    for statement in holder.body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            yield statement.name
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            yield statement.target.id


def main() -> int:
    """Print what is dead; 1 where anything is."""
    lines = dead()
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
