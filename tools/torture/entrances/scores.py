"""Files of edge scores in all seven formats, as `eapgp import` and the pages read them."""

from __future__ import annotations

import io
import json
import pickle
import random
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import torch

from eapgp.attribution.result import EdgeScores
from eapgp.circuits.select import select
from eapgp.formats.registry import FORMATS, read_file, write_scores
from eapgp.graph import Graph
from tools.torture.judge import ACCEPTED, REFUSED, Box, Case, Entrance
from tools.torture.strange import TEXTS, VALUES, Touch, bend, garble, json_of, nested, pickled

GRAPHS = (Graph(2, 2), Graph(1, 3, True, 8), Graph(2, 1, d_model=4))
Strange = tuple[str, str, bytes | Callable[[], bytes], str]
"""What it is, the file's suffix, its bytes (made when it is its turn, where they are many), what must become of it."""


def _torch(document: Any, *, zipped: bool = True) -> bytes:
    out = io.BytesIO()
    torch.save(document, out, _use_new_zipfile_serialization=zipped)
    return out.getvalue()


def _parquet(columns: dict[str, Any], **how: Any) -> bytes:
    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), out, **how)
    return out.getvalue()


def _zip(members: dict[str, bytes], packing: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", packing) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def _document(graph: Graph) -> dict[str, Any]:
    """A MIB PT file's content."""
    shape = (graph.n_sources, graph.n_destinations)
    return {
        "cfg": graph.to_dict(),
        "src_nodes": list(graph.sources),
        "dst_nodes": list(graph.destinations),
        "edges_scores": torch.rand(shape, generator=torch.Generator().manual_seed(0)),
        "edges_in_graph": torch.ones(shape, dtype=torch.bool),
        "nodes_in_graph": torch.ones(graph.n_sources, dtype=torch.bool),
        "nodes_scores": torch.rand(graph.n_sources, generator=torch.Generator().manual_seed(1)),
    }


def _bombs() -> Iterator[Strange]:
    """Small files that unpack to much, and ones that name a graph of any size."""
    cfg = {"n_layers": 2, "n_heads": 2, "parallel_attn_mlp": False, "d_model": 4}
    yield "Parquet of 20 million equal rows", "parquet", partial(_equal_rows, 20_000_000, "input"), REFUSED
    yield "Parquet of long names", "parquet", partial(_equal_rows, 100_000, "x" * 100_000), REFUSED
    yield "Parquet of 20,000 columns", "parquet", lambda: _parquet({f"c{n}": [1.0] for n in range(20_000)}), REFUSED
    for packing in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        yield f"PT of 100 MB of zeros, packing {packing}", "pt", partial(_packed_zeros, packing), REFUSED
    yield "PT of a pickle of 50 MB", "pt", lambda: _zip({"archive/data.pkl": bytes(50_000_000)}), REFUSED
    yield "PT of a million lists", "pt", lambda: b"\x80\x02" + b"]" * 5_000_000, REFUSED
    for layers, heads in ((10**9, 1), (1, 10**9), (40_000, 40_000), (10**30, 2)):
        sizes = cfg | {"n_layers": layers, "n_heads": heads}
        content = json.dumps({"cfg": sizes, "nodes": {}, "edges": {}}).encode()
        yield f"JSON of {layers} × {heads}", "json", content, REFUSED
        yield f"PT of {layers} × {heads}", "pt", _torch(_document(GRAPHS[0]) | {"cfg": sizes}), REFUSED
        xml = "".join(f'<key id="{k}" for="node" attr.name="{k}" attr.type="long"/>' for k in sizes)
        data = "".join(f'<data key="{k}">{v}</data>' for k, v in sizes.items())
        graphml = f'<graphml>{xml}<graph edgedefault="directed"><node id="input">{data}</node></graph></graphml>'
        yield f"GraphML of {layers} × {heads}", "graphml", graphml.encode(), REFUSED
        dot = f'digraph circuit {{\n  graph [n_layers="{layers}", n_heads="{heads}"];\n}}\n'
        yield f"DOT of {layers} × {heads}", "dot", dot.encode(), REFUSED
    head = b"source,destination,score"
    yield "CSV of 2 million columns", "csv", lambda: head + b",c" * 2_000_000, REFUSED
    yield "CSV of a million rows", "csv", lambda: head + b"\n" + b"input,m0,1\n" * 1_000_000, REFUSED
    yield "CSV of a cell of 60 MB", "csv", lambda: head + b'\n"' + b"x" * 60_000_000 + b'",m0,1\n', REFUSED
    yield "JSON of 10 million lists", "json", lambda: b'{"cfg":{},"edges":[' + b"[]," * 10_000_000 + b"[]]}", REFUSED


def _equal_rows(rows: int, name: str) -> bytes:
    names = pyarrow.DictionaryArray.from_arrays(np.zeros(rows, "int32"), [name])
    return _parquet({"source": names, "destination": names, "score": np.zeros(rows)})


def _packed_zeros(packing: int) -> bytes:
    pickle_of_pt = zipfile.ZipFile(io.BytesIO(_torch(_document(GRAPHS[0])))).read("archive/data.pkl")
    return _zip(
        {"archive/data.pkl": pickle_of_pt, "archive/data/0": bytes(100_000_000), "archive/version": b"3"}, packing
    )


def _unsafe(canary: Path) -> Iterator[Strange]:
    """Files that would run code or read others."""
    for protocol in range(6):
        yield f"a pickle, protocol {protocol}, as PT", "pt", pickled(canary, protocol), REFUSED
        within = pickled(canary, protocol, within={"cfg": {"n_layers": 1, "n_heads": 1}})
        yield f"a pickle within a PT archive, protocol {protocol}", "pt", _zip({"archive/data.pkl": within}), REFUSED
    yield "code in a PT file", "pt", _torch({"x": Touch(canary)}), REFUSED
    yield "code in a PT file of the old form", "pt", _torch({"x": Touch(canary)}, zipped=False), REFUSED
    yield "code beside sound tensors", "pt", _torch(_document(GRAPHS[0]) | {"x": Touch(canary)}), REFUSED
    script = torch.jit.script(torch.nn.Linear(2, 2))
    out = io.BytesIO()
    torch.jit.save(script, out)
    yield "TorchScript", "pt", out.getvalue(), REFUSED
    objects = np.array([Touch(canary)], dtype=object)
    out = io.BytesIO()
    np.save(out, objects, allow_pickle=True)
    yield "a NumPy file of objects as PT", "pt", out.getvalue(), REFUSED
    for suffix in ("npy", "npz", "pkl", "bin", "ckpt", "pth", "joblib", "exe", "", "json.pkl"):
        yield f"suffix {suffix!r}", suffix, pickle.dumps(Touch(canary)), REFUSED
    laugh = (
        '<!DOCTYPE g [<!ENTITY a "x">' + "".join(f'<!ENTITY a{n} "{"&a;" * 10}">' for n in range(9)) + "]><g>&a8;</g>"
    )
    outside = '<!DOCTYPE g [<!ENTITY a SYSTEM "file:///etc/passwd">]><graphml>&a;</graphml>'
    for suffix in ("graphml", "gexf"):
        for text in (laugh, outside):
            for encoding in ("utf-8", "utf-16", "utf-16-be", "utf-8-sig"):
                yield f"entities in {encoding} {suffix}", suffix, text.encode(encoding), REFUSED
        yield f"{suffix} of 100,000 tags within each other", suffix, b"<a>" * 100_000 + b"</a>" * 100_000, REFUSED
        include = '<graphml xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include href="/etc/passwd"/></graphml>'
        yield f"XInclude in {suffix}", suffix, include.encode(), REFUSED
    quotes = '"' + "\\\\" * 100_000 + '" -> "'
    yield (
        "DOT of open quotes",
        "dot",
        f'digraph circuit {{\n graph [n_layers="1", n_heads="1"];\n{quotes}\n}}'.encode(),
        "",
    )
    spaces = " " * 200_000
    yield "DOT of a long line", "dot", f'digraph {{\n{spaces}graph [{spaces}n_layers="1"{spaces}\n}}'.encode(), REFUSED


def _texts() -> Iterator[Strange]:
    """Every text and value in every place of a JSON or CSV file that takes one."""
    for number, text in enumerate(TEXTS):
        edge = {"cfg": {"n_layers": 1, "n_heads": 1}, "nodes": {}, "edges": {text: {"score": 1.0, "in_graph": True}}}
        yield f"text {number} as an edge", "json", json.dumps(edge).encode(), REFUSED
        line = f"source,destination,score\n{json.dumps(text, ensure_ascii=False)},m0,1\n"
        yield f"text {number} as a source", "csv", line.encode("utf-8", "surrogatepass"), REFUSED
        yield (
            f"text {number} as a score",
            "csv",
            f"source,destination,score\ninput,m0,{text}\n".encode("utf-8", "replace"),
            "",
        )
        for suffix in ("json", "csv", "dot", "graphml", "gexf", "pt", "parquet"):
            yield f"text {number} as {suffix}", suffix, text.encode("utf-8", "surrogatepass"), REFUSED
    for number, value in enumerate(VALUES):
        yield f"value {number} as JSON", "json", json.dumps(value).encode(), REFUSED
    yield "PT of nested lists", "pt", _torch({"cfg": nested(20)}), REFUSED


def _tensors() -> Iterator[Strange]:
    """PT files of sound names and wrong tensors."""
    sound = _document(GRAPHS[0])
    shape = sound["edges_scores"].shape
    wrong: dict[str, Any] = {
        "transposed": sound["edges_scores"].T,
        "of another size": torch.zeros(shape[0] + 1, shape[1]),
        "without a dimension": torch.tensor(1.0),
        "empty": torch.zeros(0),
        "complex": torch.zeros(shape, dtype=torch.complex64),
        "sparse": torch.zeros(shape).to_sparse(),
        "infinite": torch.full(shape, float("inf")),
        "a list": sound["edges_scores"].tolist(),
        "a text": "x",
        "on the meta device": torch.zeros(shape, device="meta"),
        "of a stride of zero": torch.zeros(1).expand(10**6, 10**6),
    }
    for kind, tensor in wrong.items():
        yield f"scores {kind}", "pt", _torch(sound | {"edges_scores": tensor}), REFUSED
    for dtype in (
        torch.float16,
        torch.bfloat16,
        torch.float64,
        torch.int64,
        torch.uint8,
        torch.bool,
        torch.float8_e5m2,
    ):
        yield f"scores in {dtype}", "pt", _torch(sound | {"edges_scores": sound["edges_scores"].to(dtype)}), ""
    quantised = torch.quantize_per_tensor(sound["edges_scores"], 0.1, 0, torch.qint8)
    yield "quantised scores", "pt", _torch(sound | {"edges_scores": quantised}), ""
    yield (
        "all NaN",
        "pt",
        _torch(sound | {"edges_scores": torch.full(shape, float("nan")), "nodes_scores": None}),
        REFUSED,
    )
    yield (
        "names as an index",
        "pt",
        _torch(sound | {"src_nodes": {n: i for i, n in enumerate(sound["src_nodes"])}}),
        ACCEPTED,
    )
    yield "names twice", "pt", _torch(sound | {"src_nodes": [*sound["src_nodes"][:-1], "input"]}), REFUSED
    yield "an ordered dict", "pt", _torch(OrderedDict(sound)), ACCEPTED


class Scores(Entrance):
    """Edge scores in every format."""

    name, title, count, quick = "scores", "score files", 4200, 90

    def __init__(self, box: Box) -> None:
        super().__init__(box)
        self.sound: list[tuple[str, bytes]] = []
        rng = np.random.default_rng(0)
        for graph in GRAPHS:
            values = np.where(graph.mask, rng.normal(size=graph.mask.shape), 0.0)
            scores, circuit = EdgeScores(graph, values), select(EdgeScores(graph, values), n=4)
            for row in FORMATS.values():
                nodes = rng.normal(size=graph.n_sources) if row.node_scores else None
                path = write_scores(
                    scores,
                    box.work / f"s{row.suffixes[0]}",
                    circuit=circuit,
                    node_scores=nodes,
                    only_circuit=False if not row.every_edge else None,
                )
                self.sound.append((row.suffixes[0].lstrip("."), path.read_bytes()))
        self.strange = [*_unsafe(box.canary), *_tensors(), *_texts(), *_bombs()]

    def case(self, index: int, rng: random.Random) -> Case:
        """Those by hand first; then mutations of sound files of three graphs."""
        if index < len(self.sound):
            suffix, data = self.sound[index]
            return Case("sound", lambda: self.read(data, f"s.{suffix}", None), ACCEPTED)
        index -= len(self.sound)
        if index < len(self.strange):
            kind, suffix, made, must = self.strange[index]
            content = made if isinstance(made, bytes) else made()
            return Case(kind, lambda: self.read(content, f"s.{suffix}" if suffix else "s", None), must)
        suffix, data, kind = self._mutation(rng)
        graph = rng.choice((None, None, None, *GRAPHS))
        return Case(f"{suffix}: {kind}", lambda: self.read(data, f"s.{suffix}", graph))

    def _mutation(self, rng: random.Random) -> tuple[str, bytes, str]:
        suffix, data = rng.choice(self.sound)
        if suffix == "json" and rng.random() < 0.7:
            bent, kind = bend(json.loads(data), rng)
            return suffix, json_of(bent, rng), kind
        if suffix == "pt" and rng.random() < 0.7:
            bent, kind = bend(_document(rng.choice(GRAPHS)), rng)
            try:
                return suffix, _torch(bent, zipped=rng.random() < 0.8), kind
            except (UnicodeEncodeError, RecursionError, OverflowError, RuntimeError):
                return suffix, pickle.dumps(repr(bent)), f"{kind}, as text"
        if suffix == "parquet" and rng.random() < 0.6:
            return suffix, *self._bent_table(data, rng)
        garbled, kind = garble(data, rng, rng.choice(self.sound)[1])
        other = rng.choice([row.suffixes[0].lstrip(".") for row in FORMATS.values()])
        return (suffix if rng.random() < 0.85 else other), garbled, kind

    def _bent_table(self, data: bytes, rng: random.Random) -> tuple[bytes, str]:
        table = pyarrow.parquet.read_table(io.BytesIO(data))
        columns = {name: table.column(name).to_pylist() for name in table.column_names}
        name, how = rng.choice(list(columns)), rng.randrange(6)
        replaced: dict[int, Callable[[], Any]] = {
            0: lambda: [rng.choice(TEXTS) for _ in columns[name]],
            1: lambda: [None] * len(columns[name]),
            2: lambda: [[1.0]] * len(columns[name]),
            3: lambda: [2**62] * len(columns[name]),
            4: lambda: [float(rng.choice(("nan", "inf", "1e308"))) for _ in columns[name]],
            5: lambda: [rng.randbytes(3) for _ in columns[name]],
        }
        columns[name] = replaced[how]()
        note = (table.schema.metadata or {}).get(b"eapgp", b"{}")
        if rng.random() < 0.5:
            bent, _ = bend(json.loads(note), rng)
            note = json_of(bent, rng)
        try:
            changed = pyarrow.table(columns).replace_schema_metadata({b"eapgp": note})
        except (pyarrow.ArrowException, UnicodeEncodeError):
            return data[:-1], "cut by a byte"
        out = io.BytesIO()
        pyarrow.parquet.write_table(changed, out, compression=rng.choice(("snappy", "gzip", "none", "zstd")))
        return out.getvalue(), f"{name} changed, way {how}"

    def read(self, data: bytes, name: str, graph: Graph | None) -> None:
        """Read a file as the command line and the pages do, and check what is taken."""
        path = self.box.work / name
        path.write_bytes(data)
        imported = read_file(path, graph=graph)
        imported.check_scored()
        scores = imported.scores
        assert scores.values.shape == scores.graph.mask.shape, f"shape {scores.values.shape}"
        assert not np.isinf(scores.values).any(), "infinite scores"
        assert not scores.values[~scores.graph.mask].any(), "scores where no edge is"
        assert graph is None or scores.graph == graph, "another graph than was asked for"
        again = read_file(write_scores(scores, self.box.work / "again.json", circuit=imported.circuit)).scores
        assert np.array_equal(again.values, scores.values.astype(np.float64), equal_nan=True), "other scores come back"
        assert imported.circuit is None or not (imported.circuit.edges & ~scores.graph.mask).any(), (
            "edges that are none"
        )
