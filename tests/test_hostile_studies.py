"""Study files that would take all memory or time are refused before anything is expanded."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from eapgp.errors import FormatError
from eapgp.study.plan import MAX_CELLS, make_study, read_study

HEAD = "name: b\nmodels: [demo]\ntasks: [ioi]\n"
LEVELS = "".join(f" b{n}: &b{n} [{', '.join([f'*b{n - 1}'] * 9)}]\n" for n in range(1, 12))
NUMBERS = ", ".join(map(str, range(1, 3000)))
HOSTILE = {
    "aliases of aliases": (
        HEAD + "methods: [eap]\ndescription:\n b0: &b0 [1, 2]\n" + LEVELS,
        "more than 20,000 values",
    ),
    "an alias within itself": (HEAD + "methods: [eap]\ndescription: &a [*a]\n", r"\*a within itself"),
    "brackets": (HEAD + f"methods: [eap]\ndescription: {'[' * 9000}{']' * 9000}\n", "deeper than 20"),
    "many values": (
        HEAD + f"methods: [eap]\nseeds: [{', '.join(map(str, range(60_000)))}]\n",
        "more than 20,000 values",
    ),
    "many cells": (
        HEAD + f"methods: [{{name: eap-gp, vary: {{steps: [{NUMBERS}], step: [{NUMBERS}]}}}}]\nseeds: [1, 2, 3]\n",
        f"are 26,982,003 cells, expected at most {MAX_CELLS:,}; vary less",
    ),
    "more cells than digits": (
        HEAD + "methods: [{name: eap, vary: {" + ", ".join(f"o{n}: [1, 2, 3]" for n in range(3500)) + "}}]\n",
        r"more than 10\^15 cells",
    ),
    "many mistakes": (HEAD + f"methods: [{', '.join(['{x: 1}'] * 6000)}]\n", "expected the key 'name'"),
    "a long text": (HEAD + f"methods: [eap]\nseeds: {'x' * 900_000}\n", "expected a list, got"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_it_is_refused_at_once_in_one_short_line(kind: str, tmp_path: Path) -> None:
    text, expected = HOSTILE[kind]
    file = tmp_path / "s.yaml"
    file.write_text(text)
    before = time.process_time()
    with pytest.raises(FormatError, match=expected) as told:
        read_study(file)
    assert time.process_time() - before < 3 and len(str(told.value)) < len(str(file)) + 250


def test_aliases_of_a_real_study_are_read(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(HEAD + "methods: [{name: eap-ig, options: &o {steps: 3}}, {name: eap-gp, options: *o}]\n")
    assert [cell.spec.options["steps"] for cell in read_study(file).cells] == [3, 3]


def test_the_number_that_is_told_is_that_of_the_cells() -> None:
    study = {
        "name": "b",
        "models": [{"name": "demo", "vary": {"bos": ["a", "b"]}}, "gpt2"],
        "tasks": ["ioi", "sva"],
        "methods": ["eap", {"name": "eap-gp", "vary": {"steps": [3, 4, 5], "answers": ["one-token", "first-token"]}}],
        "seeds": [0, 1],
    }
    n_cells = len(make_study(study).cells)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("eapgp.study.plan.MAX_CELLS", n_cells - 1)
        with pytest.raises(FormatError, match=f"are {n_cells} cells"):
            make_study(study)
