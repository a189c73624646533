"""What stands beside the code: the citation, and the links and commands of the documents that lead in."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tomllib
from typing import Any

import pytest
import typer
import yaml
from typer.core import TyperGroup

import eapgp
from eapgp.cli import build
from tests.conftest import ROOT

REQUIRED = {"cff-version", "message", "title", "authors"}  # by the Citation File Format 1.2.0
OF_A_REFERENCE = {"type", "title", "authors"}


@pytest.fixture(scope="module")
def citation() -> dict[str, Any]:
    content = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    return content


def test_the_citation_is_of_this_version(citation: dict[str, Any]) -> None:
    assert citation.keys() >= REQUIRED
    assert (citation["cff-version"], citation["type"], citation["version"]) == ("1.2.0", "software", eapgp.__version__)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == eapgp.__version__
    assert citation["license"] == project["license"]
    assert [author["name"] for author in citation["authors"]] == [author["name"] for author in project["authors"]]


def test_the_citation_names_the_paper(citation: dict[str, Any]) -> None:
    (paper,) = citation["references"]
    assert paper.keys() >= OF_A_REFERENCE
    assert paper["title"].startswith("EAP-GP: ")
    assert paper["doi"] == "10.48550/arXiv.2502.06852" and paper["url"].endswith("/2502.06852")
    assert all(author.keys() == {"given-names", "family-names"} for author in paper["authors"])


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_what_a_document_names_is_there(name: str) -> None:
    """Links and paths lead to files, and `make` knows its targets."""
    text = (ROOT / name).read_text(encoding="utf-8")
    paths = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    paths += re.findall(r"\b(?:docs|eapgp|tests|tools)/[\w./-]*\w", re.sub(r"\]\([^)]*\)", "", text))
    assert paths and not [path for path in paths if not (ROOT / path).exists()]
    rules = re.findall(r"^([a-z0-9]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    targets = re.findall(r"(?:^|`)make ([a-z0-9]+)", text, flags=re.MULTILINE)
    assert targets and set(targets) <= set(rules)


def parsed(words: list[str], *, whole: bool) -> str:
    """The name of the command that a command line runs. whole: its arguments must be right too."""
    command: Any = typer.main.get_command(build())
    name = words.pop(0)
    while isinstance(command, TyperGroup) and words:
        context = command.make_context(name, words)
        name, command, words = command.resolve_command(context, [*context._protected_args, *context.args])
        assert command is not None
    if whole:
        command.make_context(name, words)
    return name


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "docs/scaling.md"])
def test_commands_of_a_document_are_understood(name: str) -> None:
    """Lines of shell blocks with their flags, commands within sentences by their names."""
    text = (ROOT / name).read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    lines = [line for line in "".join(blocks).replace("\\\n", " ").splitlines() if line.startswith("eapgp ")]
    spans = re.findall(r"`(eapgp (?!--)[^`]+)`", text)
    assert lines or spans
    for line in lines:
        parsed(shlex.split(line, comments=True), whole=True)
    for span in spans:
        parsed(shlex.split(span), whole=False)


def test_the_architectures_that_the_document_lists_are_those_that_the_tests_run() -> None:
    from tests.test_models_load import REFUSED
    from tests.tiny import CONFIGURATIONS

    run, refused = (ROOT / "docs" / "architectures.md").read_text(encoding="utf-8").split("## Refused")
    named = [re.findall(r"^\| ([a-z][\w-]*) \|", part, re.M) for part in (run, refused)]
    assert named == [list(CONFIGURATIONS), list(REFUSED)], "all, in the tests' order"


def test_what_make_runs_keeps_compiled_modules() -> None:
    """Else every process compiles transformers and torch anew, where a machine's setting asks for that."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    asked = ["make", "--silent", "--eval", 'shown:; @echo "[$$PYTHONDONTWRITEBYTECODE]"', "shown"]
    outer = {name: value for name, value in os.environ.items() if "MAKE" not in name}  # this may run below a make
    env = outer | {"PYTHONDONTWRITEBYTECODE": "1"}
    told = subprocess.run(asked, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
