"""The quick part of `make torture`, what it found and what was mended, and its table."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from eapgp.errors import FormatError, ModelError, legible, readable
from eapgp.formats import read_scores
from eapgp.models.catalogue import in_hub_cache
from eapgp.models.gguf import inspect
from eapgp.places import expanded, is_file, is_folder
from eapgp.prompts.files import read_prompts
from eapgp.runs.kept_files import file_name
from eapgp.study.plan import make_study, read_study
from eapgp.ui.base.fields import read_url
from eapgp.ui.prompts.own import read_upload
from eapgp.ui.sidebar.settings import FIELDS, model_problem
from tools.audit import CLEAN, WEAK, report
from tools.torture import inputs
from tools.torture.entrances import ENTRANCES, links
from tools.torture.entrances.links import HUB_IDS
from tools.torture.judge import ACCEPTED, REFUSED, Box, Case, Entrance, judge
from tools.torture.strange import NAMES, TEXTS
from tools.torture.table import Outcome, Row, Setting, table, write_report

PAIR = {"clean": "a", "corrupted": "b", "correct": "c", "incorrect": "d"}
STUDY: dict[str, Any] = {"name": "a", "models": ["demo"], "tasks": ["ioi"], "methods": ["eap"]}


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The working folder and the environment, which inputs change."""
    place, environment = Path.cwd(), dict(os.environ)
    yield
    os.chdir(place)
    os.environ.clear()
    os.environ.update(environment)


def test_the_quick_part_finds_nothing(tmp_path: Path) -> None:
    rows = inputs.run(Setting(tmp_path, quick=True))
    assert [one for row in rows for one in row.violations] == []
    assert rows[-1].figures["inputs"] == sum(kind.quick for kind in ENTRANCES.values()) >= 300


def test_a_whole_run_has_fifteen_thousand_inputs_over_every_entrance() -> None:
    assert sum(kind.count for kind in ENTRANCES.values()) >= 15_000
    expected = {
        "prompts",
        "uploads",
        "scores",
        "folders",
        "tokenizers",
        "gguf",
        "archives",
        "studies",
        "links",
        "commands",
    }
    assert set(ENTRANCES) == expected


# ---- the judge ----------------------------------------------------------------------------------


class Scripted(Entrance):
    """An entrance whose inputs do what a test says."""

    def __init__(self, box: Box, case: Case) -> None:
        super().__init__(box)
        self.one = case

    def case(self, index: int, rng: random.Random) -> Case:
        return self.one


def refuse(text: str) -> None:
    raise FormatError(text)


def outcome_of(tmp_path: Path, work: Any, must: str = "") -> str:
    """What the judge finds wrong with an input that does this."""
    box = Box(tmp_path / "root")
    box.root.mkdir(exist_ok=True)
    return judge(Scripted(box, Case("it", lambda: work(box), must)), 0, 0).violation


@pytest.mark.parametrize(
    ("work", "must", "text"),
    [
        (lambda box: refuse("x.csv: expected a table, got none."), "", ""),
        (lambda box: None, ACCEPTED, ""),
        (lambda box: None, REFUSED, "accepted, and must be refused"),
        (lambda box: refuse("x.csv: expected a table, got none."), ACCEPTED, "must be accepted"),
        (lambda box: refuse("no"), "", "says nothing"),
        (lambda box: {}["x"], "", "KeyError"),
        (lambda box: box.canary.touch(), "", "code ran"),
        (lambda box: (box.root / "stray").touch(), "", "outside its place"),
        (lambda box: (box.canary.parent / "kept").write_text("x") and None, "", "guarded file"),
        (lambda box: (box.work / "eapgp-canary").touch(), "", "command ran"),
    ],
)
def test_the_judge_sees_it(work: Any, must: str, text: str, tmp_path: Path) -> None:
    said = outcome_of(tmp_path, work, must)
    assert text in said and bool(said) == bool(text)


def test_an_input_is_the_same_whenever_it_is_tried(tmp_path: Path) -> None:
    box = Box(tmp_path)
    box.clean()
    entrance = ENTRANCES["studies"](box)
    kinds = [[entrance.case(900 + n, random.Random(f"0:studies:{900 + n}")).kind for n in range(20)] for _ in range(2)]
    assert kinds[0] == kinds[1] and len(set(kinds[0])) > 15


# ---- the table ----------------------------------------------------------------------------------


def test_a_later_run_replaces_its_own_section_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    rows = (Row("one", {"inputs": 12_000}, ("3: a | b\nc",)), Row("two", {"seconds": 1.25}, skipped="no slurm"))
    write_report(page, [Outcome("inputs", rows, "today"), Outcome("load", (Row("x", {"p95": "1 s"}),), "today")])
    write_report(page, [Outcome("load", (Row("x", {"p95": "2 s"}),), "tomorrow")])
    text = page.read_text()
    assert "| one | 12,000 | 1 |" in text and "| two | 1.2 | not run: no slurm |" in text
    assert "- one: 3: a | b" in text and "| x | 2 s | 0 |" in text and "1 s" not in text
    assert text.index("## Inputs of strangers") < text.index("## Load") and text.count("## ") == 2


def test_a_table_of_nothing() -> None:
    assert table([]).startswith("|")


def test_an_audit_says_what_is_weak_and_what_was_not_looked_up(capsys: pytest.CaptureFixture[str]) -> None:
    sound = {"name": "b", "version": "1", "vulns": []}
    weak = {"name": "a", "version": "1.0", "vulns": [{"id": "X-1", "fix_versions": ["1.1"]}, {"id": "X-2"}]}
    assert report([sound, {"name": "c", "skip_reason": "not there"}], "osv") == CLEAN
    assert capsys.readouterr().out == "1 packages by osv: no known weakness; not looked up: c\n"
    assert report([sound, weak], "osv") == WEAK
    told = capsys.readouterr().out
    assert "a 1.0: X-1, mended in 1.1\na 1.0: X-2, mended in no version yet\n" in told


# ---- what it found ------------------------------------------------------------------------------


def test_marks_that_turn_a_line_round_are_escapes_in_messages_and_on_pages() -> None:
    for text in TEXTS:
        assert legible(text).replace("\t", "").isprintable(), ascii(text)
    assert "\u202e" not in readable("\u202eexe.txt") and readable("می\u200cروم") == "می\u200cروم"


@pytest.mark.parametrize("name", [f"{stem}.csv" for stem in NAMES if stem != "sva_verbs"])
def test_an_upload_of_any_name_is_read(name: str) -> None:
    safe = file_name(name, "pairs")
    assert safe and len(safe.encode()) < 200 and safe.isprintable() and Path(safe).name == safe
    data = b"clean,corrupted,correct,incorrect\na,b,c,d\n"
    assert len(read_upload([(name, data)]).prompts) == 1


def test_the_suffix_and_readable_names_stay() -> None:
    assert file_name("My pairs (2).csv", "x") == "My pairs (2).csv"
    assert file_name("../../名 前.tar.gz", "x") == "名 前.tar.gz" and file_name("...", "x") == "x"
    assert file_name("y" * 4_000 + ".parquet", "x") == "y" * 120 + ".parquet"


@pytest.mark.parametrize(
    ("cells", "text"),
    [
        ({"correct_idx": 10**12, "incorrect_idx": 1}, "at most 2,147,483,647"),
        ({"correct_idx": 10**400, "incorrect_idx": 1}, "a whole number of 401 digits"),
        ({"correct_idx": "9" * 5_000, "incorrect_idx": "1"}, "at most 2,147,483,647"),
    ],
)
def test_ids_that_no_vocabulary_has_are_refused(cells: dict[str, Any], text: str, tmp_path: Path) -> None:
    file = tmp_path / "p.json"
    file.write_text(json.dumps([{"clean": "a", "corrupted": "b", **cells}]))
    with pytest.raises(FormatError, match=text):
        read_prompts(file)


def test_numbers_that_are_none_are_refused_and_missing_ones_are_empty(tmp_path: Path) -> None:
    file = tmp_path / "p.json"
    file.write_text(json.dumps([PAIR | {"clean": 1}]).replace('"clean": 1', '"clean": 1e999'))
    with pytest.raises(FormatError, match="no finite number"):
        read_prompts(file)
    file.write_text(json.dumps([PAIR | {"note": float("nan")}]))
    assert len(read_prompts(file)) == 1


@pytest.mark.parametrize("kind", ["meta", "quantised"])
def test_tensors_without_numbers_are_refused(kind: str, tmp_path: Path) -> None:
    sources, destinations = ["input", "a0.h0", "m0"], ["a0.h0<q>", "a0.h0<k>", "a0.h0<v>", "m0", "logits"]
    scores = torch.zeros(3, 5)
    wrong = scores.to("meta") if kind == "meta" else torch.quantize_per_tensor(scores, 0.1, 0, torch.qint8)
    document = {
        "cfg": {"n_layers": 1, "n_heads": 1, "parallel_attn_mlp": False, "d_model": 4},
        "src_nodes": sources,
        "dst_nodes": destinations,
        "edges_scores": wrong,
        "edges_in_graph": torch.ones(3, 5, dtype=torch.bool),
        "nodes_in_graph": torch.ones(3, dtype=torch.bool),
    }
    torch.save(document, tmp_path / "s.pt")
    with pytest.raises(FormatError, match="dense tensor of numbers"):
        read_scores(tmp_path / "s.pt")


@pytest.mark.parametrize("name", ["é" * 5000, "a\udfff", "a\0b"])
def test_names_that_no_file_system_takes_are_no_places(name: str) -> None:
    assert not is_folder(name) and not is_file(name) and model_problem(name)


def test_half_a_character_in_a_link_is_said_and_left_out() -> None:
    values, (problem,) = read_url({"find": "a\udfff", "show": "examples"}, links.fields_of("runs"))
    assert "find" not in values and values["show"] == "examples" and "half a character" in problem
    problem.encode()


def test_the_home_of_nobody_is_a_name_like_others() -> None:
    assert expanded("~nobody-of-that-name/x") == Path("~nobody-of-that-name/x") and expanded("~") == Path.home()
    assert "expected" in model_problem("~nobody-of-that-name/x")


@pytest.mark.parametrize("name", [*HUB_IDS, "owner/name@\ud800"])
def test_a_bad_hub_id_in_a_link_is_said_and_replaced_or_harmless(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    values, problems = read_url({"model": name}, FIELDS)
    assert len(problems) == 1 - len(values) and all(legible(problem) == problem for problem in problems)
    assert not in_hub_cache(name)


def test_arrays_within_arrays_of_a_gguf_file_are_refused(tmp_path: Path) -> None:
    import struct

    head = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1) + b"k" + struct.pack("<I", 9)
    (tmp_path / "m.gguf").write_bytes(head + struct.pack("<IQ", 9, 1) * 50_000)
    with pytest.raises(ModelError, match="expected a GGUF file"):
        inspect(tmp_path / "m.gguf")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"models": ["\ud800"]}, "half a character"),
        ({"methods": [{"name": "eap", "vary": {"answers": [["x"]]}}]}, "answers"),
        ({"methods": [{"name": "eap", "vary": {"chat": ["x"]}}]}, "chat"),
        ({"tasks": [{"name": "x", "prompts": "p" * 5_000}]}, "expected a file, found none"),
    ],
)
def test_odd_values_of_a_study_are_refused_by_their_place(change: dict[str, Any], text: str, tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_bytes(yaml.safe_dump({**STUDY, **change}).encode("utf-8", "surrogatepass"))
    with pytest.raises(FormatError, match=text):
        read_study(file)


def test_what_varies_of_prompts_is_varied_as_before() -> None:
    method = {"name": "eap", "vary": {"answers": ["one-token", "first-token"], "chat": [False]}}
    assert len(make_study({**STUDY, "methods": [method]}).cells) == 2
