"""docs/architecture.md tells how to add an architecture and a page: its blocks of code are run as they stand there."""

from __future__ import annotations

import ast
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import test_architectures
import test_attribution_oracle
import tiny
from engine_made import tiny_model
from streamlit.testing.v1 import AppTest
from test_house import allowed, row_of, target_of

import eapgp.ui
from eapgp.models.model import layer_of
from eapgp.ui.base.routes import PAGES
from eapgp.ui.shell import frame

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "docs" / "architecture.md").read_text("utf-8")
HEADED = re.compile(r"^( *)```python\n *# (?P<place>[^\n]+)\n(?P<code>.*?)^ *```$", re.MULTILINE | re.DOTALL)
BLOCKS = {block["place"]: block["code"] for block in HEADED.finditer(TEXT)}

# -- an architecture ------------------------------------------------------------------------------


@pytest.fixture
def architecture(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of the configuration in the document, which is one of the tiny models now."""
    space: dict[str, Any] = dict(vars(tiny))
    exec(f"rows = {{{BLOCKS['tests/tiny.py, in CONFIGURATIONS'].strip()}}}", space)
    ((name, row),) = space["rows"].items()
    assert name not in tiny.CONFIGURATIONS, "it has a row by now: take one that has none into the document"
    monkeypatch.setitem(tiny.CONFIGURATIONS, name, row)
    return name


def test_an_architecture_is_a_row(architecture: str) -> None:
    test_architectures.test_logits_are_hugging_face_s(architecture)
    test_architectures.test_every_norm_is_the_formula(architecture)
    test_architectures.test_sources_and_biases_add_up(architecture)
    for method in ("eap", "eap-gp", "relp"):
        test_attribution_oracle.test_every_architecture(architecture, method)
    test_attribution_oracle.test_exact_on_every_architecture(architecture)


def test_the_hooks_that_the_document_names_are_those_that_the_engine_asks_for() -> None:
    """Of a model with a norm before each branch, of one with a norm after it, and of both together all of them."""
    asked: set[str] = set()

    class Asked(dict[str, Any]):
        def __getitem__(self, name: str) -> Any:
            asked.add(name.removeprefix("blocks.0."))
            return super().__getitem__(name)

    class Bridge:
        def __init__(self, bridge: Any) -> None:
            self.blocks, self.cfg, self.hook_dict = bridge.blocks, bridge.cfg, Asked(bridge.hook_dict)

    for name in ("gpt2", "olmo2"):
        layer_of(Bridge(tiny_model(name).bridge), 0)
    section = TEXT.partition("### An architecture\n")[2].partition("\n1. ")[0]
    named = set(re.findall(r"`((?:\w+\.)?hook_\w+)`", section))
    assert named == asked | {"ln_final.hook_in"}
    assert all("ln_final.hook_in" in tiny_model(name).bridge.hook_dict for name in ("gpt2", "olmo2"))


# -- a page ---------------------------------------------------------------------------------------

PAGE, SCRIPT, PARTS = "eapgp/ui/base/routes.py, in PAGES", "pages/strongest.py", "eapgp/ui/strongest/views.py"


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AppTest]:
    """A copy of the dashboard to which the page of the document was added."""
    import streamlit as st

    monkeypatch.setenv("EAPGP_HOME", str(tmp_path / "home"))
    shutil.copy(ROOT / "app.py", tmp_path)
    shutil.copytree(ROOT / "pages", tmp_path / "pages")
    for place in (SCRIPT, PARTS):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text(BLOCKS[place], encoding="utf-8")
    monkeypatch.setattr(eapgp.ui, "__path__", [*eapgp.ui.__path__, str(tmp_path / "eapgp" / "ui")])
    monkeypatch.setattr(frame, "PAGES", (*PAGES, ast.literal_eval(BLOCKS[PAGE].strip())))
    st.cache_resource.clear()
    yield AppTest.from_file(str(tmp_path / "app.py"), default_timeout=90)
    for name in [name for name in sys.modules if name.startswith("eapgp.ui.strongest")]:
        del sys.modules[name]
    st.cache_resource.clear()


def test_a_page_is_a_row_a_script_and_a_folder(app: AppTest) -> None:
    app.query_params["top"] = "3"
    app.switch_page(SCRIPT).run()
    assert not app.exception and not app.error and not app.warning
    assert [title.value for title in app.title] == ["Strongest"]
    assert len(app.table[0].value) == 3 and app.number_input(key="field-top").value == 3
    app.number_input(key="field-top").set_value(7).run()
    assert len(app.table[0].value) == 7 and "7" in app.query_params["top"]
    assert app.sidebar.selectbox(key="field-task").value == "ioi"


def test_its_link_is_read_like_that_of_every_page(app: AppTest) -> None:
    app.query_params["top"] = "many"
    app.switch_page(SCRIPT).run()
    assert any("top = 'many'" in warning.value and "Used 5 instead" in warning.value for warning in app.warning)
    assert len(app.table[0].value) == 5


def test_the_other_pages_stand_beside_it(app: AppTest) -> None:
    assert [title.value for title in app.switch_page("pages/explore.py").run().title] == [
        "Indirect object identification"
    ]


def test_its_folder_imports_what_every_page_folder_may() -> None:
    targets = [
        target_of(f"{node.module}.{alias.name}")
        for node in ast.walk(ast.parse(BLOCKS[PARTS]))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if node.module and node.module.startswith("eapgp")
    ]
    every = allowed(row_of("eapgp/ui/explore/views.py")) & allowed(row_of("eapgp/ui/path/views.py"))
    assert targets and all(row_of(target) in every for target in targets)
