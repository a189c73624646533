"""A row is enough: flag, field of the link, control, name of the variant and snippet of an option follow from it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from toy_rows import METHOD, TASK

from eapgp.attribution.registry import METHODS
from eapgp.cli.attribute import attribute
from eapgp.errors import InputError
from eapgp.options import EdgeNames, OneOf, OneOfOrNumber, Option, WholeNumber
from eapgp.tasks import TASKS
from eapgp.ui.sidebar import settings

ROWS = [row for owner in (*METHODS.values(), *TASKS.values(), METHOD, TASK) for row in owner.options]
VALUES: dict[type[Option], tuple[Any, ...]] = {
    WholeNumber: (1, 7),
    OneOfOrNumber: ("unit", 0.1, 1.0, 1 / 3, 1e-7),
    EdgeNames: (None, ["m0->logits"], ["a0.h1->m1<q>", "m0->logits"]),
}


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a process in which the toys are registered says of them."""
    home = tmp_path_factory.mktemp("home")
    root = Path(__file__).resolve().parent.parent
    environ = {**os.environ, "EAPGP_HOME": str(home), "PYTHONPATH": str(root), "COLUMNS": "200", "EAPGP_WARM_UP": "0"}
    command = [sys.executable, str(Path(__file__).with_name("toy_rows.py"))]
    done = subprocess.run(command, env=environ, cwd=root, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def test_flags_come_from_the_rows(toy: dict[str, Any]) -> None:
    for row in (*METHOD.options, *TASK.options):
        assert f"--{row.name}" in toy["help"] and row.summary in " ".join(toy["help"].replace("│", " ").split())
    assert toy["options"] == {"repeats": 3, "polarity": "turned", "strength": 0.5, "only": ["a0.h1->m1", "m0->logits"]}
    assert toy["task_options"] == {"size": "large", "shift": 4}
    assert [row["name"] for row in toy["rows"]] == [row.name for row in METHOD.options]


def test_names_and_snippets_come_from_the_rows(toy: dict[str, Any]) -> None:
    assert toy["usual"] == "Toy"
    assert toy["variant"] == "Toy · r = 3 · turned · 0.5 · 2 edges only"
    assert toy["slug"].startswith("toy r3 turned 0.5 ")
    assert toy["again"] == [True, True, True]


def test_links_and_controls_come_from_the_rows(toy: dict[str, Any]) -> None:
    labels = {row.name: row.label for row in (*METHOD.options, *TASK.options)}
    values = {"repeats": 3, "polarity": "turned", "strength": "0.5", "only": "m0->logits", "size": "large", "shift": 4}
    usual = {"repeats": 2, "polarity": "usual", "strength": "soft", "only": "", "size": "small", "shift": 0}
    for drawn, expected in ((toy["opened"], values), (toy["before"], usual)):
        assert {name: value for name, (_, value) in drawn.items()} == expected
        assert {name: label for name, (label, _) in drawn.items() if label} == {
            name: label for name, label in labels.items() if drawn[name][0]
        }
    said = {name: value[0] if isinstance(value, list) else value for name, value in toy["opened_link"].items()}
    assert said == {"task": "toy-task", "method": "toy", **{name: str(value) for name, value in values.items()}}
    assert set(toy["changed_link"]) == {"task", "method", "repeats", "only"}
    assert toy["errors"] == []


def test_a_wrong_link_is_told_what_the_row_expects(toy: dict[str, Any]) -> None:
    said = "\n".join(toy["wrong"]).replace("\\", "")
    assert "repeats = '10': expected a whole number of at least 1 and at most 9" in said
    assert "polarity = 'wild': expected one of usual, turned" in said
    assert "size = 'huge': expected one of small, large" in said


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_text_and_value_are_inverse(row: Option) -> None:
    for value in (row.default, *VALUES.get(type(row), row.values)):
        try:
            checked = row.check(value)
        except InputError:
            continue
        assert row.parse(row.show(checked)) == checked
    for wrong in ("\0", "nonsense here", "-1"):
        with pytest.raises(InputError, match=row.name):
            row.parse(wrong)
    assert row.check(row.default) == row.default and row.summary.endswith(".")


def test_rows_of_one_field_are_of_one_kind_and_clash_with_nothing() -> None:
    kinds: dict[str, set[Any]] = defaultdict(set)
    for method in METHODS.values():
        for row in method.own_options:
            kinds[row.field].add((type(row), row.values, row.label))
    assert all(len(same) == 1 for same in kinds.values())
    of_tasks = [row.name for task in TASKS.values() for row in task.options]
    assert not set(of_tasks) & set(kinds)
    own = {"model", "task", "pairs", "seed", "split", "method", "metric", "intervention", "dtype", "weights"}
    own |= {"tokenizer", "bos", "chat", "answers", "only_correct", "skip_unusable"}
    assert set(settings.NAMES) == own | set(kinds) | set(of_tasks)
    parameters = set(attribute.__annotations__)
    assert not parameters & {row.name for row in ROWS if row.flag}


def test_a_choice_has_one_label_and_its_default_is_among_them() -> None:
    for row in ROWS:
        if isinstance(row, OneOf) and row.choices:
            assert len({choice.label for choice in row.choices}) == len(row.choices) == len(set(row.values))
            assert row.default in row.values
