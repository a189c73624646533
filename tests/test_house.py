"""The rules of the house: who may import whom, how long and how wide functions are, and that nothing is dead.

The import rules are those of the table in docs/architecture.md. Exceptions may only become fewer: an entry that is
no longer needed fails too.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tools.dead_code import dead

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "docs" / "architecture.md"
MOST_PARAMETERS, MOST_LINES = 8, 60
TYPING, VERSION = "TYPE_CHECKING", "eapgp.__version__"

HEAVY = frozenset({"torch", "transformer_lens", "transformers", "tokenizers", "accelerate", "submitit", "psutil"})
HEAVY |= {
    "plotly",
    "matplotlib",
    "pandas",
    "pyarrow",
    "streamlit",
    "scipy",
    "networkx",
    "pyvis",
    "safetensors",
    "rich",
    "jsonschema",
    "yaml",
}
"""Libraries that a late import may spare."""

NEEDLESS = 5
"""Late imports that spare none of them: may only become fewer."""

WIDE = {
    "eapgp/attribution/api.py:attribute": "public; its options are what users type",
    "eapgp/models/load.py:load_model": "public; its options are what users type",
}
"""Functions of more parameters, with the reason. Commands, which list their flags, are not counted."""

LONG = {
    "tools/training/card.py:model_card": "the text of a card",
}
"""Functions of more lines, with the reason."""

REACHING = {}
"""Imports (file, file) that the table forbids, with the reason."""


@cache
def files() -> dict[str, ast.Module]:
    """Every file of the project but its tests, by path."""
    paths = [
        ROOT / "app.py",
        *(p for place in ("eapgp", "pages", "tools") for p in sorted((ROOT / place).rglob("*.py"))),
    ]
    return {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text("utf-8")) for path in paths}


# ---- functions ---------------------------------------------------------------------------------


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for path, tree in files().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{path}:{node.name}", node


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.arg]:
    """What a caller may pass, without `self`."""
    given = function.args
    named = [*given.posonlyargs, *given.args, *given.kwonlyargs]
    extra = [argument for argument in (given.vararg, given.kwarg) if argument is not None]
    return [argument for argument in (*named, *extra) if argument.arg not in ("self", "cls")]


def lists_flags(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether a function is a command: its parameters are typer's options."""
    hints = [ast.unparse(argument.annotation) for argument in parameters(function) if argument.annotation]
    return any("typer." in hint or hint.endswith("Option") for hint in hints)


def test_no_function_has_many_parameters() -> None:
    wide = {name for name, node in functions() if len(parameters(node)) > MOST_PARAMETERS and not lists_flags(node)}
    assert wide - set(WIDE) == set(), f"more than {MOST_PARAMETERS} parameters: group the options"
    assert set(WIDE) - wide == set(), "no longer wide: take it out of WIDE"


def test_no_function_is_long() -> None:
    long = {name for name, node in functions() if (node.end_lineno or 0) - node.lineno + 1 > MOST_LINES}
    assert long - set(LONG) == set(), f"more than {MOST_LINES} lines: split by phase"
    assert set(LONG) - long == set(), "no longer long: take it out of LONG"


# ---- imports -----------------------------------------------------------------------------------


Row = tuple[str, ...]
"""The places that stand in one row of the table."""


@cache
def rows() -> dict[Row, str]:
    """The table of docs/architecture.md, in its order: places → what they may import."""
    table: dict[Row, str] = {}
    for line in TABLE.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) == 3 and line.startswith("| `"):
            table[tuple(re.findall(r"`([^`]+)`", cells[0]))] = cells[2]
    named = {place for row in table for place in row}
    folders = sorted(path.parent for path in (ROOT / "eapgp" / "ui").glob("*/__init__.py"))
    pages = [place for folder in folders if (place := f"eapgp/ui/{folder.name}/") not in named]
    filled: dict[Row, str] = {}
    for row, names in table.items():  # `<page>` stands for every folder that has no row of its own
        filled |= {(page,): names for page in pages} if row == ("eapgp/ui/<page>/",) else {row: names}
    return filled


def row_of(path: str) -> Row:
    """The row that a file stands in: the one of the most exact place that holds it."""
    fitting = {
        place: row
        for row in rows()
        for place in row
        if path == place or (place.endswith("/") and path.startswith(place))
    }
    assert fitting, f"{path} stands in no row of the table in docs/architecture.md"
    return fitting[max(fitting, key=len)]


@cache
def allowed(row: Row) -> frozenset[Row]:
    """The rows that a row may import: itself, what it names, and what those may import."""
    table = list(rows())
    if rows()[row] == "all above":
        return frozenset(table[: table.index(row) + 1])
    reach = {row, *(other for other in table if rows()[other] == "nothing")}
    for name in re.findall(r"`([^`]+)`", rows()[row]):
        reach |= allowed(row_of(name))
    return frozenset(reach)


class Import(NamedTuple):
    """One name that a file imports. target: a file of the project, or the name of a library."""

    target: str
    late: bool
    line: int


@cache
def imports(path: str) -> tuple[Import, ...]:
    """What a file imports, within functions too (then late), but not what is for the type checker alone."""
    tree = files()[path]
    typing = inner(node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == TYPING)
    late = inner(node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    found = []
    for node in ast.walk(tree):
        if id(node) in typing:
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        found += [Import(target_of(name), id(node) in late, node.lineno) for name in names if name != VERSION]
    return tuple(found)


def inner(holders: Iterable[ast.If | ast.FunctionDef | ast.AsyncFunctionDef]) -> set[int]:
    """The ids of all nodes in the bodies of others."""
    return {id(part) for holder in holders for statement in holder.body for part in ast.walk(statement)}


def target_of(name: str) -> str:
    """The project's file that a dotted name lies in, else the library's name."""
    for module in (name, name.rpartition(".")[0]):
        place = module.replace(".", "/")
        for path in (f"{place}.py", f"{place}/__init__.py"):
            if path in files():
                return path
    return name.partition(".")[0]


def project_imports(path: str) -> set[str]:
    return {target for target, _, _ in imports(path) if target in files()}


@cache
def loaded(path: str) -> frozenset[str]:
    """The project's files and the libraries that importing a file loads, the `__init__` of its packages included."""
    seen: set[str] = set()
    waiting = [path]
    while waiting:
        target = waiting.pop()
        if target in seen:
            continue
        seen.add(target)
        if target in files():
            parts = Path(target).parents
            waiting += [init for folder in parts if (init := f"{folder.as_posix()}/__init__.py") in files()]
            waiting += [one.target for one in imports(target) if not one.late]
    return frozenset(seen)


def needless(path: str) -> list[str]:
    """Late imports of a file that spare none of the heavy libraries."""
    here = loaded(path)
    spared: dict[int, set[str]] = {}
    for target, late, line in imports(path):
        if late:
            spared.setdefault(line, set()).update((loaded(target) if target in files() else {target}) & HEAVY - here)
    return [f"{path}:{line}" for line, libraries in spared.items() if not libraries]


def test_imports_go_the_way_of_the_table() -> None:
    reaching = {
        (path, other)
        for path in files()
        for other in project_imports(path)
        if row_of(other) not in allowed(row_of(path))
    }
    assert reaching - set(REACHING) == set(), "docs/architecture.md does not allow these imports"
    assert set(REACHING) - reaching == set(), "no longer there: take it out of REACHING"


def test_no_files_import_each_other_in_a_circle() -> None:
    reach = {path: project_imports(path) for path in files()}
    grown = True
    while grown:
        further = {path: near.union(*(reach[other] for other in near)) for path, near in reach.items()}
        grown = any(len(further[path]) > len(reach[path]) for path in reach)
        reach = further
    circles = {
        tuple(sorted({path, *(other for other in reach[path] if path in reach[other])}))
        for path in reach
        if path in reach[path]
    }
    assert circles == set()


def test_late_imports_spare_a_heavy_library() -> None:
    late = [place for path in files() for place in needless(path)]
    assert len(late) <= NEEDLESS, "move these to the top:\n" + "\n".join(late)


# ---- dead code ---------------------------------------------------------------------------------


def test_nothing_is_dead() -> None:
    assert dead() == []


def test_dead_code_is_seen(tmp_path: Path) -> None:
    package = tmp_path / "eapgp"
    (package / "sub").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "__init__.pyi").write_text("from .sub import public as public\n")
    (package / "sub" / "__init__.py").write_text("from eapgp.sub.one import public, passed_on, called\n")
    (package / "sub" / "one.py").write_text(
        "LIMIT = 3\n"
        "def public(): return helper() + LIMIT\n"
        "def helper(): return 1\n"
        "def passed_on(): return passed_on()\n"
        "def called(): return 2\n"
        "def shown(): return 3\n"
        "class Row:\n"
        "    width: int\n"
        "    def area(self): return self.width\n"
        "    def idle(self): return Row\n"
    )
    (package / "two.py").write_text(
        "from eapgp.sub import called\nfrom eapgp.sub import one\nprint(called(), one.Row().area())\n"
    )
    (tmp_path / "README.md").write_text("```python\nfrom eapgp.sub.one import shown\n```\n")
    assert dead(tmp_path, kept={}) == [
        "eapgp.sub.one.passed_on: used by nothing but tests",
        "eapgp.sub.one.Row.idle: used by nothing but tests",
    ]
    left = dead(tmp_path, kept={"eapgp.sub.one.*": "a reason", "eapgp.sub.gone": "another"})
    assert left == ["eapgp.sub.gone: listed in KEPT, but used or gone"]
