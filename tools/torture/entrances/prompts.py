"""Files of prompt pairs, as `eapgp prompts check` and the Prompts page read them."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

from eapgp.errors import EapgpError
from eapgp.prompts.files import preview_prompts, read_prompts, write_prompts
from eapgp.prompts.pairs import PromptSet
from eapgp.prompts.rows import MAX_PAIRS
from eapgp.runs.files import canonical
from eapgp.tasks import TASKS, make_prompts
from eapgp.ui.library.own_prompts import PromptStore
from tools.torture.judge import ACCEPTED, REFUSED, Box, Case, Entrance
from tools.torture.strange import ENCODINGS, NAMES, TEXTS, VALUES, bend, garble, json_of, nested

HEAD = "clean,corrupted,correct,incorrect"
PAIR = {"clean": "a", "corrupted": "b", "correct": "c", "incorrect": "d"}
Strange = tuple[str, str, bytes | Callable[[], bytes], str]
"""What it is, the file's suffix, its bytes (made when it is its turn, where they are many), what must become of it."""


def _row(**cells: Any) -> bytes:
    return json.dumps([PAIR | cells]).encode()


def _csv(rows: list[list[str]]) -> bytes:
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue().encode("utf-8", "surrogatepass")


def strange() -> Iterator[Strange]:
    """Files that were trouble elsewhere."""
    line = f"{HEAD}\na,b,c,d\n".encode()
    for encoding in ENCODINGS:
        text = f"{HEAD}\nZoë saw,Max saw,é,ü\n"
        yield f"CSV in {encoding}", "csv", text.encode(encoding, "replace"), ""
    yield "empty", "csv", b"", REFUSED
    yield "a header alone", "csv", HEAD.encode(), REFUSED
    yield "gzip", "csv", b"\x1f\x8b\x08\0\0\0\0\0\0\3" + bytes(99), REFUSED
    yield "xlsx", "csv", b"PK\3\4" + bytes(range(256)) * 9, REFUSED
    yield "an image", "json", b"\x89PNG\r\n\x1a\n" + bytes(99), REFUSED
    yield "2 million columns", "csv", lambda: (HEAD + "," * 2_000_000).encode(), REFUSED
    yield (
        "2 million named columns",
        "csv",
        lambda: (HEAD + "".join(f",c{n}" for n in range(2_000_000))).encode(),
        REFUSED,
    )
    yield "a cell of 30 MB", "csv", lambda: line + b'"' + b"y" * 30_000_000 + b'",b,c,d\n', REFUSED
    yield "an open quote", "csv", line + b'"a,b,c,d\n' * 1000, REFUSED
    yield "400,000 rows", "csv", lambda: line + b"a,b,c,d\n" * 400_000, REFUSED
    yield "a column twice", "csv", b"clean,clean,corrupted,correct,incorrect\na,a,b,c,d\n", REFUSED
    yield "aliases of one column", "csv", b"clean,prompt,corrupted,correct,incorrect\na,a,b,c,d\n", ""
    yield "a million empty lines", "csv", lambda: line + b"\n" * 1_000_000, ACCEPTED
    yield "NUL", "csv", line + b"\0,b,c,d\n", REFUSED
    yield "lists in lists", "json", b'[{"clean":' + b"[" * 100_000 + b"]" * 100_000 + b"}]", REFUSED
    yield "objects in objects", "json", b'{"a":' * 50_000 + b"1" + b"}" * 50_000, REFUSED
    yield "10 million lists", "json", lambda: b"[" + b"[]," * 10_000_000 + b"[]]", REFUSED
    yield "a key twice", "json", b'[{"clean":"a","clean":"z","corrupted":"b","correct":"c","incorrect":"d"}]', ""
    yield "JSON of a number", "json", b"1", REFUSED
    yield "JSON cut off", "json", b'[{"clean":"a","corr', REFUSED
    yield "JSONL with a wrong line", "jsonl", json.dumps(PAIR).encode() + b"\n{\n", REFUSED
    yield "half a character", "json", _row(clean="\ud800"), REFUSED
    yield "half a key", "json", json.dumps([PAIR | {"\ud800": 1}]).encode(), REFUSED
    for name, value in (("10^400", 10**400), ("2^70", 2**70), ("-1", -1), ("1.5", 1.5), ("true", True), ("9e9", 9e9)):
        ids = {"clean": "a", "corrupted": "b", "correct_idx": value, "incorrect_idx": 3}
        yield f"token id {name}", "json", json.dumps([ids]).encode(), ""
    yield "1e999", "json", b'[{"clean":1e999,"corrupted":"b","correct":"c","incorrect":"d"}]', REFUSED
    yield "NaN", "json", b'[{"clean":NaN,"corrupted":"b","correct":"c","incorrect":"d"}]', REFUSED
    minus = "{'a': " + "-" * 100_000 + "1}"
    yield "a Python literal of 100,000 signs", "csv", _csv([HEAD.split(","), [minus, "b", "c", "d"]]), ""
    arrays = "{'a': '" + "array([" * 18_000 + "'}"
    yield "18,000 arrays in a cell", "csv", _csv([HEAD.split(","), [arrays, "b", "c", "d"]]), ""
    deep = "{'a': " + "[" * 190 + "]" * 190 + "}"
    yield "a Python literal of lists in lists", "csv", _csv([HEAD.split(","), ["a", "b", deep, "d"]]), ""
    call = "{'a': __import__('os').system('touch eapgp-canary')}"
    yield "a Python literal with a call", "csv", _csv([HEAD.split(","), ["a", "b", call, "d"]]), ""
    yield "10,000 answers", "csv", _csv([HEAD.split(","), ["a", "b", "|".join("c" * 10_000), "d"]]), ""
    yield "columns of lists of different lengths", "json", b'{"clean":["a"],"corrupted":[],"correct":["c"]}', REFUSED
    yield "ten thousand keys", "json", json.dumps([PAIR | {f"k{n}": n for n in range(10_000)}]).encode(), REFUSED
    for number, text in enumerate(TEXTS):
        yield f"text {number} as a prompt", "json", _row(clean=text), ""
        yield f"text {number} as an answer", "json", _row(correct=text), ""
        yield f"text {number} in a cell", "csv", _csv([HEAD.split(","), ["a", text, "c", "d"]]), ""
        yield f"text {number} in the header", "csv", _csv([[*HEAD.split(","), text], ["a", "b", "c", "d", "e"]]), ""
        yield f"text {number} as the file", "txt", text.encode("utf-8", "surrogatepass"), ""
    for number, value in enumerate(VALUES):
        yield f"value {number} as the document", "json", json.dumps(value).encode(), ""
        yield f"value {number} as a list of pairs", "json", json.dumps({"prompts": value}).encode(), ""
    yield "lists of lists", "json", json.dumps([nested(20)]).encode(), REFUSED


class Prompts(Entrance):
    """Pairs from CSV, JSON and JSONL."""

    name, title, count, quick = "prompts", "prompt files", 4000, 90

    def __init__(self, box: Box) -> None:
        super().__init__(box)
        self.strange = list(strange())
        self.rows: list[list[dict[str, Any]]] = []
        self.texts: list[tuple[str, bytes]] = []
        for task in TASKS:
            prompts = make_prompts(task, 4)
            path = box.work / f"{task}.csv"
            write_prompts(prompts, path)
            with path.open(newline="") as file:
                rows = list(csv.DictReader(file))
            self.rows.append(rows)
            lines = "\n".join(json.dumps(row) for row in rows)
            semicolons = path.read_bytes().replace(b",", b";")
            self.texts += [("csv", path.read_bytes()), ("csv", semicolons), ("jsonl", lines.encode())]

    def case(self, index: int, rng: random.Random) -> Case:
        """Those by hand first; then mutations of the six tasks' pairs."""
        if index < len(self.texts):
            suffix, data = self.texts[index]
            must = ACCEPTED if index % 3 != 1 else ""
            return Case("sound", lambda: self.read(data, f"p.{suffix}", None), must)
        index -= len(self.texts)
        if index < len(self.strange):
            kind, suffix, made, must = self.strange[index]
            content = made if isinstance(made, bytes) else made()
            return Case(kind, lambda: self.read(content, f"p.{suffix}", None), must)
        suffix, data, kind = self._mutation(rng)
        limit = rng.choice((None, None, 1, 3))
        columns = rng.choice((None,) * 5 + ({"clean": rng.choice(TEXTS)}, {rng.choice(TEXTS): "clean"}))
        return Case(kind, lambda: self.read(data, f"p.{suffix}", limit, columns))

    def _mutation(self, rng: random.Random) -> tuple[str, bytes, str]:
        how = rng.random()
        if how < 0.35:
            suffix, text = rng.choice(self.texts)
            data, kind = garble(text, rng, rng.choice(self.texts)[1])
            return rng.choice((suffix, suffix, "csv", "json", "txt")), data, kind
        rows = rng.choice(self.rows)
        document: Any = rows
        if how > 0.8:
            key = rng.choice(("prompts", "data", "pairs"))
            document = {key: rows} if rng.random() < 0.5 else {name: [row[name] for row in rows] for name in rows[0]}
        bent, kind = bend(document, rng)
        if how < 0.6 and isinstance(bent, list) and all(isinstance(row, dict) for row in bent):
            names = list(dict.fromkeys(name for row in bent for name in row))
            cells = [[str(row.get(name, "")) for name in names] for row in bent]
            return "csv", _csv([names, *cells]), f"CSV: {kind}"
        if how < 0.7 and isinstance(bent, list):
            return "jsonl", b"\n".join(json_of(row, rng) for row in bent), f"JSONL: {kind}"
        return "json", json_of(bent, rng), f"JSON: {kind}"

    def read(self, data: bytes, name: str, limit: int | None, columns: dict[str, str] | None = None) -> None:
        """Read a file as the command line and the page do, and check what is taken."""
        path = self.box.work / name
        path.write_bytes(data)
        with contextlib.suppress(EapgpError):
            preview_prompts(path)
        prompts = read_prompts(path, limit=limit, columns=columns)
        check_pairs(prompts)
        self._keep(prompts)

    def _keep(self, prompts: PromptSet) -> None:
        """Keep them as the page does: what is read back is what was kept."""
        try:
            kept = PromptStore(self.box.home).add(prompts, name=NAMES[len(prompts.pairs[0].clean) % len(NAMES)])
        except EapgpError:
            return
        assert kept.path.parent == self.box.home / "prompts", f"kept at {kept.path}"
        assert kept.read().pairs == prompts.pairs, "other pairs are read back than were kept"


def check_pairs(prompts: PromptSet) -> None:
    """What holds of every set of pairs that is taken."""
    assert 1 <= len(prompts) <= MAX_PAIRS, f"{len(prompts)} pairs"
    for pair in prompts:
        for text in (pair.clean, pair.corrupted, *map(str, (*pair.correct, *pair.incorrect)), pair.note):
            text.encode()  # half a character is no text
        assert pair.clean and pair.corrupted, "an empty prompt"
        assert pair.correct or pair.incorrect, "no answer on either side"
        ids = [answer for answer in (*pair.correct, *pair.incorrect) if isinstance(answer, int)]
        assert all(0 <= one < 2**31 for one in ids), f"token ids {ids[:3]}"
    canonical(dataclasses.asdict(prompts)["pairs"])
