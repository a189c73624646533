"""Links: the query of every page, as a session reads it before anything is drawn, and some of them in the real app."""

from __future__ import annotations

import importlib
import json
import os
import random
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st
from streamlit.testing.v1 import AppTest

from eapgp.errors import EapgpError
from eapgp.places import PUBLIC_VARIABLE
from eapgp.runs.compute import resolve_options
from eapgp.ui.base.draw import plain
from eapgp.ui.base.fields import ON_EVERY_PAGE, Field, read_url, write_url
from eapgp.ui.base.routes import PAGES, page_file
from eapgp.ui.jobs import server
from eapgp.ui.parts.snippets import run_python, run_shell
from eapgp.ui.sidebar.settings import NAMES as OF_A_RUN
from eapgp.ui.sidebar.settings import question, spec_of
from tools import ROOT
from tools.torture.judge import REFUSED, SECONDS, Box, Case, Entrance, fault_of_line
from tools.torture.strange import IMAGE, NAMES, SCRIPT, TEXTS

APPS = 50
"""One in so many links is opened in the app itself; the hand-written ones below all are."""
APP_SECONDS = 30.0
"""Of processor time for a page, twice, with what it computes of the sound part of a link."""
HUB_IDS = (
    "owner/",
    "/name",
    "owner//name",
    "owner/name/more",
    "owner/..",
    "../owner",
    "./name",
    "owner/name@",
    "owner/name@../x",
    "owner/name@" + "x" * 200,
    "owner/-name-",
    "owner/a..b",
    "owner/a--b",
    "owner/name.git",
    "-owner/name",
    "owner.git/x",
    "x" * 96 + "/" + "y" * 96,
    "öwner/näme",
    "owner/name?x=1#y",
    "https://127.0.0.1:9/owner/name",
    "gpt2@no such",
    "demo@x",
    "OWNER/NAME",
)
VALUES = (
    *TEXTS,
    *NAMES,
    *HUB_IDS,
    "0",
    "1",
    "2",
    "64",
    "ioi",
    "eap",
    "demo",
    "a0.h0",
    "a0.h0<q>",
    "m0",
    "a,b",
    "1e300",
)
WRONG = ("a page", "query", "eapgp", "k ", "K", "model[]", "__proto__", "run.id", "embed", "lang", "\ud800", SCRIPT, "")


def fields_of(page: str) -> tuple[Field, ...]:
    """The fields of a page."""
    return (*importlib.import_module(f"eapgp.ui.{page}.fields").FIELDS, *ON_EVERY_PAGE)


class Links(Entrance):
    """Queries of every page."""

    name, title, count, quick = "links", "links of every page", 4500, 120

    def __init__(self, box: Box) -> None:
        super().__init__(box)
        self.pages = {name: fields_of(name) for name, _, _ in PAGES}
        self.strange = [("model", one) for one in HUB_IDS] + [("tokenizer", one) for one in HUB_IDS[:6]]

    def case(self, index: int, rng: random.Random) -> Case:
        """Bad ids of models first; then every field of every page with every kind of value, several at once."""
        if index < len(self.strange):
            name, value = self.strange[index]
            return Case(f"{name}={value!a:.40}", lambda: self.read("explore", {name: value}, index % 7 == 0))
        page = rng.choice(list(self.pages))
        names = [field.name for field in self.pages[page]]
        query = {}
        for _ in range(rng.choice((1, 1, 2, 4, 12))):
            name = rng.choice(names) if rng.random() < 0.9 else rng.choice(WRONG)
            query[name] = self._value(page, name, rng)
        label = " ".join(f"{name!a:.20}={value!a:.30}" for name, value in query.items())
        app = index % APPS == 0
        kind = f"/{page} {label:.120}{' in the app' if app else ''}"
        return Case(kind, lambda: self.read(page, query, app), seconds=APP_SECONDS if app else SECONDS)

    def _value(self, page: str, name: str, rng: random.Random) -> str:
        field = next((one for one in self.pages[page] if one.name == name), None)
        if field is not None and rng.random() < 0.3:
            how = field.how()
            if how.get("options"):
                return str(rng.choice(list(how["options"])))
            if "min_value" in how:
                return str(rng.choice((how["min_value"], how["max_value"], how["max_value"] + 1, -1)))
        value = rng.choice(VALUES)
        return value if rng.random() < 0.8 else f"{value},{rng.choice(VALUES)}"

    def read(self, page: str, query: Mapping[str, str], app: bool) -> str:
        """Read a link as a page does, and what would be said, asked and written of it."""
        fields = self.pages[page]
        values, problems = read_url(query, fields)
        for problem in problems:
            check_shown(plain(problem))
        by_name = {field.name: field for field in fields}
        for name, value in values.items():
            shown = by_name[name].show(value)
            assert by_name[name].parse(shown) == value, f"{name}: {value!r} does not come back from {shown!r}"
            json.dumps(shown).encode("ascii")
            shown.encode()
        assert read_url(write_url(values, fields), fields)[1] == [], "what is written back is refused"
        if set(OF_A_RUN) <= set(by_name):
            _ask({field.name: field.default for field in fields} | values)
        if app and all(name.isprintable() and value.isprintable() for name, value in query.items()):
            self._open(page, query)
        return REFUSED if problems else ""

    def _open(self, page: str, query: Mapping[str, str]) -> None:
        """The page itself, on a server of strangers and on one's own."""
        for public in ("0", "1"):
            os.environ[PUBLIC_VARIABLE] = public
            try:
                opened = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120).switch_page(page_file(page))
                for name, value in query.items():
                    opened.query_params[name] = value
                opened.session_state["eapgp-visitor-key"] = "v" * 32
                opened.run()
                for job in server._manager().live():
                    server._manager().wait(job.id, 60)
                assert not opened.exception, f"the page shows {opened.exception[0].value}"
                assert not any("failed unexpectedly" in one.value for one in opened.error), opened.error[0].value
                check_page(texts_of(opened))
            finally:
                os.environ.pop(PUBLIC_VARIABLE, None)
                st.cache_resource.clear()


def _ask(values: Mapping[str, Any]) -> None:
    """The run that a link asks for, and the lines that make it again, which people paste into a shell."""
    spec = spec_of(values)
    try:
        question(values)
        resolve_options(spec)
    except EapgpError as error:
        assert not (problem := fault_of_line(str(error))), problem
        return
    line = run_shell(spec)
    line.encode()
    words = shlex.split(line.replace("\\\n", " "))
    named = [str(spec.model), str(spec.tokenizer), str(spec.bos)]
    assert words[0] == "eapgp", f"a line of another program: {line[:200]}"
    assert not any(";" in word and word not in named for word in words), f"more than one command: {line[:200]}"
    compile(run_python(spec), "snippet", "exec")


def texts_of(app: AppTest) -> list[tuple[str, str]]:
    """All that was sent to the browser as HTML or markdown: (kind, text)."""
    texts = []

    def walk(block: Any) -> None:
        for child in block.children.values():
            message = getattr(child, "proto", None)
            if message is not None:
                texts.append((type(message).__name__, str(getattr(message, "body", ""))))
            if hasattr(child, "children"):
                walk(child)

    walk(app._tree)
    return texts


def check_page(texts: Sequence[tuple[str, str]]) -> None:
    """No markup of a link stands in what a page shows."""
    for kind, text in texts:
        assert SCRIPT not in text and IMAGE not in text, f"markup as it stands in {kind}: {text[:200]}"


def check_shown(text: str) -> None:
    """What a page says of a link: short, one line, nothing of it markup."""
    assert len(text) < 5_000, f"{len(text):,} characters"
    assert "\n" not in text, f"more than a line: {text[:200]!r}"
    assert SCRIPT not in text and IMAGE not in text and "](javascript" not in text, f"markup as it stands: {text[:200]}"
    text.encode()
