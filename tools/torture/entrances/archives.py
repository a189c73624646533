"""Archives of runs, as `eapgp runs import` and the Runs page take them."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import random
import stat
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from eapgp.runs.library import RunLibrary
from eapgp.runs.spec import RunSpec, request_key
from tests.runs_made import made_attribution, made_prompts, made_request
from tools.torture.judge import ACCEPTED, REFUSED, Box, Case, Entrance
from tools.torture.strange import NAMES, VALUES, bend, garble, json_of, pickled

Members = dict[str, bytes]
SECRETS = ("/etc/passwd", "../../guard/kept")


def packed(members: list[tuple[str | zipfile.ZipInfo, bytes]], packing: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip file of these members, whatever they are called."""
    out = io.BytesIO()
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(out, "w", packing) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return out.getvalue()


def _special(name: str, data: bytes, kind: int) -> bytes:
    """A member that is a link, a device or a folder by its attributes."""
    info = zipfile.ZipInfo(name)
    info.external_attr, info.create_system = (kind | 0o777) << 16, 3
    return packed([(info, data)])


def _overlapping(data: bytes, name: str, copies: int) -> bytes:
    """A directory whose entries all point at one packed member."""
    single = packed([(f"{name}/run.json", data)])
    start = single.index(b"PK\1\2")
    entry, end = single[start : single.index(b"PK\5\6")], bytearray(single[single.index(b"PK\5\6") :])
    entries = b"".join(entry.replace(name.encode(), f"{n:0{len(name)}x}".encode()) for n in range(copies))
    struct.pack_into("<HHI", end, 8, copies % 65536, copies % 65536, len(entries))
    return single[:start] + entries + bytes(end)


class Archives(Entrance):
    """Zip files of runs."""

    name, title, count, quick = "archives", "archives of runs", 2000, 50

    def __init__(self, box: Box) -> None:
        super().__init__(box)
        prompts = made_prompts()
        spec = RunSpec(task="ioi", n_pairs=4, seed=3, options={"steps": 3})
        run = RunLibrary(box.home).save(made_attribution(), made_request(prompts), prompts, spec=spec, device="cpu")
        self.id, self.record = run.id, json.loads((run.path / "run.json").read_text())
        self.members = {path.name: path.read_bytes() for path in run.path.iterdir() if not path.name.startswith(".")}
        self.members["meta.json"] = json.dumps({"name": "a run", "note": "of mine"}).encode()
        self.sound = self.archive(self.members)
        self.strange = list(self._strange())

    def archive(self, members: Members, run: str = "") -> bytes:
        """The run as `eapgp runs export` packs it."""
        return packed([(f"{run or self.id}/{name}", data) for name, data in members.items()])

    def _strange(self) -> Iterator[tuple[str, bytes | Callable[[], bytes], str]]:
        rest = [(f"{self.id}/{name}", data) for name, data in self.members.items()]
        for number, name in enumerate(NAMES):
            for place in (name, f"{self.id}/{name}", f"{name}/run.json"):
                if not place.partition("\0")[0] or "\ud800" <= max(place) <= "\udfff":
                    continue  # the library writes no such name
                yield f"name {number} in {place!a:.40}", packed([*rest, (place, b"x")]), ""
        for target in SECRETS:
            for kind, title in ((stat.S_IFLNK, "link"), (stat.S_IFCHR, "device"), (stat.S_IFIFO, "pipe")):
                yield f"a {title} to {target}", _special(f"{self.id}/run.json", target.encode(), kind), REFUSED
        yield "a member twice", packed([*rest, rest[0]]), REFUSED
        yield "a member more", packed([*rest, (f"{self.id}/evil.py", b"x")]), REFUSED
        yield "a pickle as scores", self._with("scores.safetensors", pickled(self.box.canary, 2)), REFUSED
        for packing in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
            yield f"packing {packing}", packed(list(rest), packing), REFUSED
        yield "a bomb", partial(packed, [(f"{self.id}/run.json", bytes(400_000_000))]), REFUSED
        yield "spaces before JSON", partial(packed, [(f"{self.id}/run.json", b" " * 50_000_000 + b"{}")]), REFUSED
        yield "10,001 runs", partial(packed, [(f"{n:020x}/run.json", b"{}") for n in range(10_001)]), REFUSED
        yield "9,000 entries of one member", partial(_overlapping, b" " * 1_000_000 + b"{}", self.id, 9_000), REFUSED
        yield "a comment of 64 KB", self.sound[:-2] + struct.pack("<H", 65_535) + b"x" * 65_535, ""
        yield "a program before it", b"#!/bin/sh\n" + b"x" * 999 + self.sound, ""
        yield "a zip in a zip", packed([(f"{self.id}/run.json", self.sound)]), REFUSED
        yield "nothing", packed([]), REFUSED
        yield "no zip", b"x" * 99, REFUSED
        yield "a folder of nothing", packed([(f"{self.id}/", b"")]), REFUSED
        encrypted = bytearray(self.sound)
        for mark, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
            start = encrypted.find(mark)
            while start >= 0:
                encrypted[start + at] |= 1
                start = encrypted.find(mark, start + 4)
        yield "encrypted", bytes(encrypted), REFUSED
        for number, value in enumerate(VALUES):
            for name in ("run.json", "meta.json", "prompts.json", "evaluation.json"):
                data = json.dumps(value).encode()
                yield (
                    f"value {number} as {name}",
                    partial(self._with, name, data),
                    "" if name in ("meta.json", "evaluation.json") else REFUSED,
                )
        yield "the record's hash of another file", self._with("prompts.json", b"{}", hashes=False), REFUSED

    def _with(self, name: str, data: bytes, hashes: bool = True) -> bytes:
        """The archive with another file in it, under a record that has its hash."""
        members = {**self.members, name: data}
        if hashes and name in self.record["files"]:
            record = copy.deepcopy(self.record)
            record["files"][name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            members["run.json"] = json.dumps(record).encode()
        return self.archive(members)

    def case(self, index: int, rng: random.Random) -> Case:
        """Those by hand first; then records, prompts, scores and whole archives, bent."""
        if index == 0:
            return Case("sound", lambda: self.take(self.sound), ACCEPTED)
        if index <= len(self.strange):
            kind, made, must = self.strange[index - 1]
            data = made if isinstance(made, bytes) else made()
            return Case(kind, lambda: self.take(data), must)
        how = rng.random()
        if how < 0.2:
            data, kind = garble(self.sound, rng)
            return Case(kind, lambda: self.take(data))
        if how < 0.7:
            record, kind = bend(self.record, rng)
            data = self._of_record(record, rng)
            return Case(f"run.json: {kind}", lambda: self.take(data))
        name = rng.choice([name for name in self.members if name != "run.json"])
        if name.endswith(".json"):
            bent, kind = bend(json.loads(self.members[name]), rng)
            data = self._with(name, json_of(bent, rng))
        else:
            garbled, kind = garble(self.members[name], rng)
            data = self._with(name, garbled)
        return Case(f"{name}: {kind}", lambda: self.take(data))

    def _of_record(self, record: Any, rng: random.Random) -> bytes:
        """An archive with this record, under the id that belongs to it, as one who knows the format would write it."""
        name = self.id
        if isinstance(record, dict) and isinstance(record.get("request"), dict) and rng.random() < 0.7:
            try:
                name = record["id"] = request_key(record["request"])
            except Exception:  # a request that has no id
                name = self.id
        return self.archive({**self.members, "run.json": json_of(record, rng)}, name)

    def take(self, data: bytes) -> None:
        """Bring an archive in, and look at all that pages and commands would show of it."""
        path = self.box.work / "a.zip"
        path.write_bytes(data)
        library = RunLibrary(self.box.home)
        try:
            runs = library.import_(path)
        finally:
            outside = [one.name for one in self.box.work.iterdir() if one != path]
            assert not outside, f"left in the working folder: {outside}"
        assert library.problems() == [], f"imported, and cannot be read: {library.problems()[0][1]}"
        assert {run.id for run in runs} <= {run.id for run in library.list()}, "imported, and not listed"
        for run in runs:
            assert run.path.parent == library.runs, f"imported to {run.path}"
            run.attribution(), run.scores(), run.prompts(), run.evaluation(), run.meta, run.spec
