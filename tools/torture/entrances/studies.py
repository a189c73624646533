"""Study files, as `eapgp sweep --dry-run` reads them: nothing is computed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import yaml

from eapgp.runs.library import RunLibrary
from eapgp.study.estimate import estimate
from eapgp.study.plan import MAX_CELLS, read_study
from eapgp.study.sweep import study_folder
from tools.torture.judge import ACCEPTED, REFUSED, Box, Case, Entrance
from tools.torture.strange import ENCODINGS, NAMES, TEXTS, VALUES, bend, garble

HEAD = "name: b\nmodels: [demo]\ntasks: [ioi]\nmethods: [eap]\n"
STUDIES: tuple[dict[str, Any], ...] = (
    {"name": "a", "models": ["demo"], "tasks": ["ioi"], "methods": ["eap"]},
    {
        "name": "steps",
        "description": "of steps",
        "models": ["demo", {"name": "gpt2", "dtype": "float16", "random_weights": True, "vary": {"bos": ["a", "b"]}}],
        "tasks": ["ioi", {"name": "sva", "pairs": 32, "metric": "kl"}],
        "methods": ["eap", {"name": "eap-gp", "options": {"step": "unit"}, "vary": {"steps": [3, 5]}, "label": "gp"}],
        "seeds": [0, 1, 2],
        "pairs": 64,
        "evaluations": [
            {"grid": "mib"},
            {"name": "o", "sizes": [10, 20], "split": "test", "level": 0.9, "manual": True},
        ],
        "execution": {"workers": 2, "executor": "slurm", "slurm": {"partition": "x", "mem_gb": 4, "setup": ["a"]}},
    },
    {
        "name": "own",
        "models": ["demo"],
        "tasks": [{"name": "mine", "prompts": "pairs.csv", "columns": {"clean": "A"}}],
        "methods": [{"name": "eap-ig", "vary": {"steps": [2, 3], "answers": ["one-token", "first-token"]}}],
        "split": "all",
    },
)


def _strange() -> Iterator[tuple[str, bytes, str]]:
    levels = "".join(f" b{n}: &b{n} [{', '.join([f'*b{n - 1}'] * 9)}]\n" for n in range(1, 12))
    yield "aliases of aliases", f"{HEAD}description:\n b0: &b0 [1, 2]\n{levels}".encode(), REFUSED
    yield "an alias within itself", f"{HEAD}description: &a [*a]\n".encode(), REFUSED
    yield "a key that is an alias", f"{HEAD}? &a [*a]\n: 1\n".encode(), REFUSED
    for mark in "[{":
        yield f"9,000 × {mark}", f"{HEAD}description: {mark * 9000}\n".encode(), REFUSED
        yield f"400,000 × {mark}", f"{HEAD}description: {mark * 400_000}\n".encode(), REFUSED
    yield "9,000 dashes", f"{HEAD}description:\n{' - - - - - -' * 1500} x\n".encode(), REFUSED
    yield "many seeds", f"{HEAD}seeds: [{', '.join(map(str, range(60_000)))}]\n".encode(), REFUSED
    numbers = ", ".join(map(str, range(1, 3000)))
    vary = f"methods: [{{name: eap-gp, vary: {{steps: [{numbers}], step: [{numbers}]}}}}]\n"
    yield "27 million cells", f"name: b\nmodels: [demo]\ntasks: [ioi]\n{vary}seeds: [1, 2, 3]\n".encode(), REFUSED
    for tag in (
        "!!python/object/apply:os.system ['touch eapgp-canary']",
        "!!python/object/new:os.system ['touch eapgp-canary']",
        "!!python/name:os.system",
        "!!python/module:os",
        "!!python/object:eapgp.runs.spec.RunSpec {}",
        "!!binary aGk=",
        "!!set {a, b}",
        "!!omap [a: 1]",
        "!!timestamp 2001-01-01",
        "!evil x",
        "!!float nan",
    ):
        yield f"tag {tag[:30]}", f"{HEAD}description: {tag}\n".encode(), REFUSED
        yield f"tag {tag[:30]} as a seed", f"{HEAD}seeds: [{tag}]\n".encode(), REFUSED
    for text in ("0o777", "0x10", "1:30:00", "2001-01-01", ".nan", ".inf", "1e999", "9" * 30, "-1", "yes", "~", "'1'"):
        yield f"seed {text[:20]}", f"{HEAD}seeds: [{text}]\n".encode(), ""
        yield f"pairs {text[:20]}", f"{HEAD}pairs: {text}\n".encode(), ""
        yield f"name {text[:20]}", HEAD.replace("name: b", f"name: {text}").encode(), ""
    yield "a key twice", f"{HEAD}name: c\n".encode(), ""
    yield "two documents", f"{HEAD}---\n{HEAD}".encode(), REFUSED
    yield "a merge", f"{HEAD}<<: {{name: c}}\n".encode(), ""
    yield "tabs", HEAD.replace(": ", ":\t\t").encode(), ""
    yield "NUL", f"{HEAD}description: a\0b\n".encode(), REFUSED
    yield "2 MB", f"{HEAD}description: {'x' * 2_000_000}\n".encode(), REFUSED
    yield "empty", b"", REFUSED
    yield "noise", bytes(range(256)), REFUSED
    for encoding in ENCODINGS:
        yield f"in {encoding}", f"{HEAD}description: é\n".encode(encoding, "replace"), ""
    for place in ("/etc/passwd", "/dev/zero", "/proc/self/mem", "../../guard/kept", "/dev/stdin", "~root/.bashrc", "."):
        task = f"name: b\nmodels: [demo]\ntasks: [{{name: x, prompts: {place}}}]\nmethods: [eap]\n"
        yield f"prompts of {place}", task.encode(), ""
    for number, text in enumerate((*TEXTS, *NAMES)):
        for field in ("name", "models", "tasks", "methods"):
            document = {**STUDIES[0], field: text if field == "name" else [text]}
            yield f"text {number} as {field}", yaml.safe_dump(document).encode("utf-8", "surrogatepass"), ""
    for number, value in enumerate(VALUES):
        yield f"value {number} as the study", _dump(value), REFUSED


def _dump(document: Any) -> bytes:
    try:
        return yaml.safe_dump(document, allow_unicode=True).encode("utf-8", "surrogatepass")
    except (yaml.YAMLError, RecursionError):
        return repr(document).encode("utf-8", "surrogatepass")


class Studies(Entrance):
    """Study files."""

    name, title, count, quick = "studies", "study files", 1800, 60

    def __init__(self, box: Box) -> None:
        super().__init__(box)
        self.strange = list(_strange())
        self.texts = [yaml.safe_dump(study).encode() for study in STUDIES]

    def case(self, index: int, rng: random.Random) -> Case:
        """Those by hand first; then three studies, bent as documents and as texts."""
        if index < len(self.texts):
            return Case("sound", lambda: self.read(self.texts[index]), ACCEPTED)
        index -= len(self.texts)
        if index < len(self.strange):
            kind, data, must = self.strange[index]
            return Case(kind, lambda: self.read(data), must)
        if rng.random() < 0.3:
            data, kind = garble(rng.choice(self.texts), rng, rng.choice(self.texts))
        else:
            document, kind = bend(rng.choice(STUDIES), rng)
            data = _dump(document)
        return Case(kind, lambda: self.read(data))

    def read(self, data: bytes) -> None:
        """Read a study and ask of each cell what it costs; its folder must lie in the library."""
        path = self.box.work / "study.yaml"
        path.write_bytes(data)
        (self.box.work / "pairs.csv").write_text("A,corrupted,correct,incorrect\na,b,c,d\n")
        study = read_study(path)
        assert 1 <= len(study.cells) <= MAX_CELLS, f"{len(study.cells)} cells"
        library = RunLibrary(self.box.home)
        assert study_folder(study, library).resolve().parent == (library.home / "studies").resolve(), study.name
        for cell in study.cells[:50]:
            cell.key.encode(), cell.title.encode()
            cell.from_dict(cell.to_dict())
            estimate(cell)
