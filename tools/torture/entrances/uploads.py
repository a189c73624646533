"""Uploads to the dashboard: files of any name, as the pages take them.

Names come from the visitor's browser and can be anything. What reads them in a child process on the server is called
here without one, but for a sample: `tools.torture.worker` is such a process itself.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any
from unittest.mock import patch

from eapgp.errors import EapgpError
from eapgp.formats.registry import write_scores
from eapgp.prompts.files import write_prompts
from eapgp.runs.library import RunLibrary
from eapgp.tasks import make_prompts
from eapgp.ui.base.draw import plain
from eapgp.ui.ground_truth.candidates import of_file
from eapgp.ui.jobs import untrusted
from eapgp.ui.jobs.child import Limits
from eapgp.ui.library.score_files import ScoreFiles
from eapgp.ui.prompts import own
from eapgp.ui.runs import details
from tests.runs_made import made_attribution, made_prompts, made_request
from tools.torture.judge import REFUSED, Box, Case, Entrance, fault_of_line
from tools.torture.strange import IMAGE, NAMES, SCRIPT, TEXTS, garble

SUFFIXES = (
    ".csv",
    ".json",
    ".jsonl",
    ".pt",
    ".parquet",
    ".graphml",
    ".gexf",
    ".dot",
    ".zip",
    ".CSV",
    ".Zip",
    "",
    ".exe",
)
CHILDREN = 60
"""One in so many goes through a child process."""


def _directly(what: str, function: Callable[..., Any], values: Mapping[str, Any], limits: Limits, **how: Any) -> Any:
    """In place of `in_child`: the same work in this process."""
    return function(**values, progress=how.get("progress") or (lambda phase, fraction: None))


class Uploads(Entrance):
    """Pairs, edge scores and archives of runs, under hostile names."""

    name, title, count, quick = "uploads", "uploads with hostile names", 1500, 60

    def __init__(self, box: Box) -> None:
        super().__init__(box)
        prompts = made_prompts()
        run = RunLibrary(box.home).save(made_attribution(), made_request(prompts), prompts)
        archive, pairs = box.work / "a.zip", box.work / "p.csv"
        RunLibrary(box.home).export(run.id, archive)
        write_prompts(make_prompts("ioi", 4), pairs)
        self.contents = {".zip": archive.read_bytes(), ".csv": pairs.read_bytes()}
        for suffix in (".json", ".pt", ".parquet", ".graphml"):
            self.contents[suffix] = write_scores(run.scores(), box.work / f"s{suffix}").read_bytes()

    def case(self, index: int, rng: random.Random) -> Case:
        """Every name with its contents' own suffix at every page's upload first; then names put together at random."""
        ways = (self._pairs, self._scores, self._runs)
        if index < len(NAMES) * len(ways):
            stem, way = NAMES[index // len(ways)], ways[index % len(ways)]
            suffix = {0: ".csv", 1: ".json", 2: ".zip"}[index % len(ways)]
            name, data = f"{stem}{suffix}", self.contents[suffix]
        else:
            way, suffix = rng.choice(ways), rng.choice(SUFFIXES)
            stem = rng.choice((*NAMES, *TEXTS)) + rng.choice(("", "", rng.choice(TEXTS), rng.choice(NAMES)))
            name, data = f"{stem}{suffix}", self.contents.get(suffix, b"x")
            if rng.random() < 0.4:
                data, _ = garble(data, rng)
        child = index % CHILDREN == CHILDREN - 1
        return Case(f"{way.__name__[1:]} {name!a:.60}", lambda: self._through(way, name, data, child))

    def _through(self, way: Callable[[str, bytes], str], name: str, data: bytes, child: bool) -> str:
        with patch.object(untrusted, "in_child", untrusted.in_child if child else _directly):
            line = way(name, data)
        if not line:
            return ""
        if problem := fault_of_line(line):
            raise AssertionError(problem)
        shown = plain(line)
        assert SCRIPT not in shown and IMAGE not in shown, f"markup as it stands: {shown[:200]}"
        return REFUSED

    def _pairs(self, name: str, data: bytes) -> str:
        """The Prompts page; why it is refused, or ""."""
        upload = own._tried([(name, data)], None)
        if upload.read is not None:
            assert len(upload.read.prompts) > 0
            upload.read.prompts.task.encode()
        return upload.problem if upload.read is None else ""

    def _scores(self, name: str, data: bytes) -> str:
        """Ground truth; why it is refused, or ""."""
        files = ScoreFiles(self.box.home)
        try:
            kept = files.add(name, data)
        except EapgpError as error:
            return str(error)
        assert kept.path.parent == files.folder and kept.path.is_file(), f"kept at {kept.path}"
        assert files.get(kept.id) == kept, "not found again by its id"
        of_file(kept)
        return ""

    def _runs(self, name: str, data: bytes) -> str:
        """The Runs page; why it is refused, or ""."""
        fine, line = details._imported(name, data)
        problem = fault_of_line(line)
        assert not problem, problem
        assert not RunLibrary(self.box.home).problems(), "a run in the library that cannot be read"
        return "" if fine else line
