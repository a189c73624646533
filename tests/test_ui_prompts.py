"""Own prompt pairs in the dashboard: kept, named in settings and links, scored and found again; without a browser."""

from __future__ import annotations

from pathlib import Path

import pytest

from eapgp.errors import FormatError
from eapgp.prompts.files import parse_prompts
from eapgp.prompts.pairs import PromptPair, PromptSet
from eapgp.ui import settings
from eapgp.ui.prompts_store import PromptStore, safe_name

PAIRS = (
    PromptPair('When "Mary" and John, left', "When “Paul” and John | left\nlate", (" Mary", " May|June"), (" John",)),
    PromptPair("<b>bold</b> **stars** \x07 $x$", "=cmd() [link](http://x)", (" 52",), (" \\", " 07")),
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EAPGP_HOME", str(tmp_path))
    return tmp_path


def test_a_set_is_kept_once_as_it_is_and_found_again(home: Path) -> None:
    store, mine = PromptStore(), PromptSet("custom", PAIRS, "prob-diff", {})
    assert store.all() == []
    kept = store.add(mine, name="My pairs / first!")
    assert kept.name == "My-pairs-first" and kept.n_pairs == 2 and kept.path.parent == home / "prompts"
    assert store.add(mine, name="My pairs / first!") == kept and len(store.all()) == 1
    assert store.add(mine, name="second").id != kept.id, "the name is what runs have as their task"
    again = PromptStore().get(kept.id)
    assert again == kept
    read = kept.read()
    assert read.pairs == PAIRS and read.metric == "prob-diff" and read.task == kept.name
    assert read.hash == mine.hash, "a run on the kept pairs is the run on the pairs as they came"
    store.remove(kept.id)
    assert store.get(kept.id) is None
    store.restore(kept.id)
    assert store.get(kept.id) == kept
    assert store.get("ioi") is None and store.get("own-" + "0" * 12) is None


def test_token_ids_stay_ids_and_what_a_file_cannot_hold_is_refused(home: Path) -> None:
    store = PromptStore()
    ids = PromptSet("ioi", (PromptPair("a", "b", (123, 4), (5,)),), "logit-diff", {})
    assert store.add(ids).read().pairs == ids.pairs
    with pytest.raises(FormatError, match="NUL"):
        store.add(PromptSet("x", (PromptPair("a\0", "b", (" c",), (" d",)),), "logit-diff", {}))
    assert len(store.all()) == 1


@pytest.mark.parametrize(("text", "name"), [("", "own-pairs"), ("../../etc/passwd", "etc-passwd"), ("é ü", "é-ü")])
def test_names_are_safe_for_a_file(text: str, name: str) -> None:
    assert safe_name(text) == name


def test_settings_name_own_pairs_like_a_task_and_give_them_back(home: Path) -> None:
    kept = PromptStore().add(PromptSet("custom", PAIRS, "prob-diff", {}), name="mine")
    values = {field.name: field.default for field in settings.FIELDS} | {"task": kept.id, "pairs": 7}
    spec = settings.spec_of(values)
    assert (spec.task, spec.prompts_file, spec.n_pairs, spec.split) == ("mine", str(kept.path), None, "all")
    assert settings.metric_of(values) == "prob-diff"
    back = settings.settings_of(spec, metric="prob-diff", options=dict(spec.options))
    assert back["task"] == kept.id and back["metric"] == "task"
    field = next(field for field in settings.FIELDS if field.name == "task")
    assert field.parse(kept.id) == kept.id and "mine" in settings.prompts_title(kept.id)
    PromptStore().remove(kept.id)
    with pytest.raises(ValueError, match="expected one of ioi"):
        field.parse(kept.id)


def test_a_split_is_asked_for_and_comes_back() -> None:
    values = {field.name: field.default for field in settings.FIELDS} | {"split": "test"}
    spec = settings.spec_of(values)
    assert spec.split == "test"
    assert settings.settings_of(spec, metric="logit-diff", options=dict(spec.options))["split"] == "test"


def test_a_run_on_own_pairs_is_found_by_the_settings_and_asked_again_from_its_link(home: Path) -> None:
    from eapgp.runs import RunLibrary, compute_run
    from eapgp.runs.compute import resolve_options
    from eapgp.ui.panel import spec_to_ask_again
    from eapgp.ui.shelf import Shelf, asked_key

    rows = [
        {
            "clean": "When Mary and John went to the store, John gave a drink to",
            "corrupted": "When Mary and John went to the store, Paul gave a drink to",
            "correct": " Mary",
            "incorrect": " John",
        }
    ]
    kept = PromptStore().add(parse_prompts(rows), name="mine")
    values = {field.name: field.default for field in settings.FIELDS} | {"task": kept.id, "method": "eap"}
    spec = settings.spec_of(values)
    run = compute_run(spec, library=RunLibrary())
    shelf = Shelf(RunLibrary(), None)
    card = shelf.find(asked_key(spec, metric=settings.metric_of(values), options=resolve_options(spec)))
    assert card is not None and card.id == run.id and card.task == "mine"
    again = spec_to_ask_again(card)
    assert again is not None and again.prompts_file == str(kept.path)
    kept.path.unlink()
    asked = spec_to_ask_again(card)
    assert asked is not None and asked.prompts_file == str(kept.path), "kept anew from the run's own copy"
    assert compute_run(asked, library=RunLibrary()).cached
