"""File formats: round trips bit for bit, published files byte for byte, and files that mean harm."""

from __future__ import annotations

import json
import math
import pickle
import re
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eapgp.attribution.result import EdgeScores
from eapgp.circuits import Circuit, equal, select
from eapgp.errors import FormatError, GraphNeededError, InputError, OptionError, UnknownNameError
from eapgp.formats import (
    FORMATS,
    edge_table,
    format_of,
    read_circuit,
    read_file,
    read_scores,
    read_with,
    write_circuit,
    write_scores,
)
from eapgp.formats.dot import quote
from eapgp.graph import Graph

SUFFIXES = [f.suffixes[0] for f in FORMATS.values()]


def some_scores(graph: Graph, seed: int = 0, unscored: float = 0.1) -> EdgeScores:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=graph.mask.shape) * 10.0 ** rng.integers(-12, 4, graph.mask.shape)
    values[rng.random(values.shape) < unscored] = np.nan
    return EdgeScores(graph, np.where(graph.mask, values, 0.0))


def same(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(np.array_equal(a, b, equal_nan=True))


@settings(max_examples=25, deadline=None)
@given(
    st.builds(Graph, st.integers(1, 3), st.integers(1, 3), st.booleans(), st.sampled_from([0, 64])),
    st.integers(0, 99),
    st.sampled_from([s for s in SUFFIXES if s != ".pt"]),
)
def test_scores_and_circuits_round_trip(
    tmp_path_factory: pytest.TempPathFactory, graph: Graph, seed: int, suffix: str
) -> None:
    scores = some_scores(graph, seed)
    circuit = select(scores, n=graph.n_edges // 3, prune=False)
    path = tmp_path_factory.getbasetemp() / f"round{suffix}"
    write_scores(scores, path, circuit=circuit, only_circuit=None if suffix == ".json" else False)
    back = read_file(path)
    assert back.scores.graph == graph
    assert back.scores.graph.parallel == graph.parallel
    assert suffix == ".csv" or back.scores.graph.d_model == graph.d_model
    assert same(back.scores.values, scores.values), "a score changed"
    assert back.circuit is not None and equal(back.circuit, circuit)
    assert back.scores.provenance["file"] == path.name and len(back.scores.provenance["sha256"]) == 64


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_pt_round_trips_in_its_own_precision(tmp_path: Path, dtype: type) -> None:
    graph = Graph(2, 2, parallel=True, d_model=8)
    scores = EdgeScores(graph, some_scores(graph).values.astype(dtype))
    circuit, nodes = select(scores, n=7), np.array([np.nan, *range(6)], dtype=float)
    write_scores(scores, tmp_path / "s.pt", circuit=circuit, node_scores=nodes)
    back = read_file(tmp_path / "s.pt")
    assert back.scores.values.dtype == dtype
    assert same(back.scores.values, scores.values)
    assert back.circuit is not None and equal(back.circuit, circuit)
    assert back.node_scores is not None and same(back.node_scores, nodes)
    assert back.scores.graph.d_model == 8


@pytest.mark.parametrize("suffix", [s for s in SUFFIXES if s != ".csv"])
def test_node_scores_are_kept(tmp_path: Path, suffix: str) -> None:
    graph = Graph(2, 2)
    nodes = np.array([0.1, -1e-9, 3.0, np.nan, 1 / 3, 2.0, -7.5])
    write_scores(some_scores(graph), tmp_path / f"s{suffix}", node_scores=nodes)
    back = read_file(tmp_path / f"s{suffix}")
    assert back.node_scores is not None and same(back.node_scores, nodes)
    write_scores(some_scores(graph), tmp_path / f"t{suffix}")
    assert read_file(tmp_path / f"t{suffix}").node_scores is None


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_float32_scores_keep_their_value(tmp_path: Path, suffix: str) -> None:
    graph = Graph(1, 2)
    scores = EdgeScores(graph, some_scores(graph, unscored=0).values.astype(np.float32))
    write_scores(scores, tmp_path / f"s{suffix}")
    assert same(read_scores(tmp_path / f"s{suffix}").values.astype(np.float64), scores.values.astype(np.float64))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_without_a_circuit_every_edge_is_in_it(tmp_path: Path, suffix: str) -> None:
    scores = some_scores(Graph(2, 1), unscored=0)
    write_scores(scores, tmp_path / f"s{suffix}")
    assert equal(read_circuit(tmp_path / f"s{suffix}"), Circuit.full(scores.graph))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_circuits_without_scores(tmp_path: Path, suffix: str) -> None:
    graph = Graph(2, 2)
    circuit = Circuit.of_names(graph, ["input->a1.h1<q>", "a1.h1->logits"])
    write_circuit(circuit, tmp_path / f"c{suffix}")
    back = read_circuit(tmp_path / f"c{suffix}", graph=graph)
    assert equal(back, circuit) and back.name == "c"


@pytest.mark.parametrize("suffix", [".graphml", ".gexf"])
def test_drawing_formats_hold_the_circuit_only(tmp_path: Path, suffix: str) -> None:
    import networkx

    graph = Graph(2, 2)
    scores = some_scores(graph, unscored=0)
    circuit = Circuit.of_names(graph, ["input->a1.h1<q>", "input->a1.h1<k>", "a1.h1->logits"])
    path = write_scores(scores, tmp_path / f"s{suffix}", circuit=circuit)
    read = networkx.read_graphml(path) if suffix == ".graphml" else networkx.read_gexf(path)
    assert set(read.nodes) == {"input", "a1.h1", "logits"}
    kinds = sorted((s, t, a["edge_type"]) for s, t, a in read.edges(data=True))
    assert kinds == [("a1.h1", "logits", "logits"), ("input", "a1.h1", "k"), ("input", "a1.h1", "q")]
    back = read_file(path)
    assert (~np.isnan(back.scores.values[graph.mask])).sum() == 3
    assert back.circuit is not None and equal(back.circuit, circuit)


def test_published_files_come_back_byte_for_byte(shared: Path, tmp_path: Path) -> None:
    source = shared / "data/edge-scores/ioi-eap-ig.gpt2.HEAD.json"
    start = time.perf_counter()
    file = read_file(source)
    print(f"32,491 edges read in {time.perf_counter() - start:.2f} s")
    assert file.circuit is not None and file.circuit.n_kept == 756
    assert file.scores.graph.n_edges == 32_491
    write_scores(file.scores, tmp_path / "again.json", circuit=file.circuit)
    assert (tmp_path / "again.json").read_bytes() == source.read_bytes()


@pytest.mark.parametrize("name", ["real", "vanilla"])
def test_old_published_files_keep_every_score(shared: Path, tmp_path: Path, name: str) -> None:
    source = shared / f"data/edge-scores/greater-than_prob_diff_{name}.gpt2.json"
    scores = read_scores(source)
    raw = json.loads(source.read_text())
    assert isinstance(raw["nodes"]["input"], bool), "the old node form"
    for edge in list(raw["edges"])[::97]:
        assert scores.values[scores.graph.edge_index(edge)] == raw["edges"][edge]["score"]
    write_scores(scores, tmp_path / "again.json")
    assert json.loads((tmp_path / "again.json").read_text())["edges"] == raw["edges"]


@pytest.mark.parametrize("parallel", [False, True])
def test_edges_are_listed_in_the_reference_order(tmp_path: Path, parallel: bool) -> None:
    """The order in which the reference library builds its graph, as a literal loop."""
    expected, stream = [], ["input"]
    for layer in range(2):
        heads = [f"a{layer}.h{head}" for head in range(2)]
        for source in stream:
            expected += [f"{source}->{head}<{letter}>" for head in heads for letter in "qkv"]
            expected += [f"{source}->m{layer}"] if parallel else []
        stream += heads
        if not parallel:
            expected += [f"{source}->m{layer}" for source in stream]
        stream.append(f"m{layer}")
    expected += [f"{source}->logits" for source in stream]
    write_scores(some_scores(Graph(2, 2, parallel=parallel)), tmp_path / "s.json")
    assert list(json.loads((tmp_path / "s.json").read_text())["edges"]) == expected


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_awkward_numbers_come_back_bit_for_bit(tmp_path: Path, suffix: str) -> None:
    graph = Graph(3, 6)
    bits = np.random.default_rng(0).integers(0, 2**64, graph.mask.shape, dtype=np.uint64)
    values = bits.view(np.float64)
    values = np.where(graph.mask, np.where(np.isfinite(values), values, 5e-324), 0.0)
    values[graph.edge_index("input->m0")] = -0.0
    write_scores(EdgeScores(graph, values), tmp_path / f"s{suffix}")
    back = read_scores(tmp_path / f"s{suffix}").values
    assert (back.astype(np.float64).view(np.uint64) == values.view(np.uint64)).all()


def test_edges_that_a_file_leaves_out_are_unscored(tmp_path: Path) -> None:
    document = {
        "cfg": {"n_layers": 1, "n_heads": 1},
        "nodes": {"input": True, "m0": {"in_graph": True, "score": 0.5}},
        "edges": {"input->m0": {"score": None, "in_graph": True}, "m0->logits": {"score": 3, "in_graph": False}},
    }
    (tmp_path / "s.json").write_text(json.dumps(document))
    file = read_file(tmp_path / "s.json")
    graph = file.scores.graph
    assert file.scores.values[graph.edge_index("m0->logits")] == 3.0
    assert np.isnan(file.scores.values[graph.mask]).sum() == graph.n_edges - 1
    assert (file.scores.values[~graph.mask] == 0).all()
    assert file.circuit is not None and file.circuit.edge_names() == ["input->m0"]
    assert file.node_scores is not None and same(file.node_scores, np.array([np.nan, np.nan, 0.5]))


GOOD: dict[str, Any] = {
    "cfg": {"n_layers": 1, "n_heads": 1, "parallel_attn_mlp": False, "d_model": 4},
    "nodes": {"input": {"in_graph": True}},
    "edges": {"input->m0": {"score": 0.5, "in_graph": True}},
}


def changed(**parts: Any) -> str:
    return json.dumps({**GOOD, **parts})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json", r"not a readable JSON file"),
        ('{"cfg": {"n_layers": 1', r"not a readable JSON file"),
        ("[" * 100_000, r"not a readable JSON file"),
        ("[1, 2]", r"expected a JSON object with cfg, nodes and edges; got 'list'"),
        ("{}", r"'cfg' is missing; expected cfg, nodes and edges, got 'nothing'"),
        (json.dumps({"cfg": GOOD["cfg"]}), r"'edges' is missing"),
        (changed(cfg=[1]), r"cfg must be an object"),
        (changed(cfg={"n_heads": 1}), r"cfg has no n_layers"),
        (changed(cfg={"n_layers": 10**9, "n_heads": 10**9}), r"more than the 40,000,000 .* check n_layers"),
        (changed(cfg={"n_layers": 10**300, "n_heads": 1}), r"more than the 40,000,000"),
        (changed(cfg={"n_layers": 0, "n_heads": 1}), r"cfg.n_layers must be a whole number of at least 1; got 0"),
        (changed(cfg={"n_layers": True, "n_heads": 1}), r"got True"),
        (changed(cfg={"n_layers": "12", "n_heads": 1}), r"got '12'"),
        (changed(cfg={"n_layers": 1.5, "n_heads": 1}), r"got 1\.5"),
        (changed(cfg={"n_layers": 1, "n_heads": 1, "parallel_attn_mlp": "no"}), r"parallel_attn_mlp must be true or"),
        (changed(edges=[]), r"edges must be an object"),
        (changed(edges={"a5.h1->logits": {"score": 1, "in_graph": True}}), r"unknown edge 'a5\.h1->logits' for a gr"),
        (changed(edges={"input": {"score": 1, "in_graph": True}}), r"unknown edge 'input->'"),
        (changed(edges={"m0->a0.h0<q>": {"score": 1, "in_graph": True}}), r"does not exist: its destination is read"),
        (changed(edges={"input->m0": 3}), r"edge 'input->m0' must hold .* got 3"),
        (changed(edges={"input->m0": {"in_graph": True}}), r"edge 'input->m0' must hold"),
        (changed(edges={"input->m0": {"score": "3", "in_graph": True}}), r"score of edge 'input->m0' must be a number"),
        (changed(edges={"input->m0": {"score": True, "in_graph": True}}), r"must be a number; got True"),
        (changed(edges={"input->m0": {"score": math.inf, "in_graph": True}}), r"must be finite"),
        (changed(edges={"input->m0": {"score": 10**400, "in_graph": True}}), r"too large"),
        (changed(edges={"input->m0": {"score": 1, "in_graph": "false"}}), r"in_graph of 'input->m0' must be true or"),
        (changed(nodes=[]), r"nodes must be an object"),
        (changed(nodes={"a7.h7": True}), r"unknown node 'a7\.h7' for a graph of 1 layers × 1 heads"),
        (changed(nodes={"m0": 5}), r"node 'm0' must be true, false or"),
        (changed(nodes={"m0": {"in_graph": True, "score": "x"}}), r"score of node 'm0' must be a number; got 'x'"),
    ],
)
def test_malformed_json_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(FormatError, match=message) as caught:
        read_file(path)
    assert str(caught.value).startswith("bad.json: ")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_the_good_document_reads(tmp_path: Path) -> None:
    (tmp_path / "good.json").write_text(json.dumps(GOOD))
    assert read_circuit(tmp_path / "good.json").edge_names() == ["input->m0"]


def test_not_utf8_and_not_there(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_bytes(b"\xff\xfe\x00\x00{}")
    with pytest.raises(FormatError, match="not a readable JSON"):
        read_file(tmp_path / "s.json")
    with pytest.raises(FormatError, match=r"none\.json: cannot be read: No such file"):
        read_file(tmp_path / "none.json")
    with pytest.raises(FormatError, match=r"cannot be written: No such file"):
        write_scores(some_scores(Graph(1, 1)), tmp_path / "no" / "s.json")
    with pytest.raises(FormatError, match=r"cannot be read: Is a directory"):
        read_file(tmp_path, format="mib-json")


class Harm:
    """Writes a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return open, (str(self.target), "w")


@pytest.mark.parametrize("way", ["torch", "pickle"])
def test_pickled_code_is_refused_and_not_run(tmp_path: Path, way: str) -> None:
    import torch

    path, mark = tmp_path / "evil.pt", tmp_path / "ran"
    if way == "torch":
        torch.save({"cfg": Harm(mark)}, path)
    else:
        path.write_bytes(pickle.dumps(Harm(mark)))
    with pytest.raises(FormatError, match=r"evil\.pt: refused: .* could run code .* save it as MIB JSON") as caught:
        read_file(path)
    assert not mark.exists()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".pkl", ".npy", ".pth"])
def test_pickled_suffixes_are_refused_by_name(suffix: str) -> None:
    with pytest.raises(FormatError, match=r"Pickled files could run code"):
        read_file(f"scores{suffix}")


def test_malformed_pt_files(tmp_path: Path) -> None:
    import torch

    graph = Graph(1, 2)
    path = write_scores(some_scores(graph), tmp_path / "s.pt")
    good = torch.load(path, weights_only=True)

    def refused(message: str, **parts: Any) -> None:
        torch.save({**good, **parts}, path)
        with pytest.raises(FormatError, match=message):
            read_file(path)

    refused(
        r"edges_scores must have the shape \(4, 8\) that cfg asks for; got \(2, 2\)", edges_scores=torch.zeros(2, 2)
    )
    refused(r"edges_scores must be a dense tensor", edges_scores=[1.0])
    refused(r"must be finite", edges_scores=torch.full((4, 8), torch.inf))
    refused(r"src_nodes must name the 4 nodes of cfg's graph; got 1 \('a0\.h0' is missing\)", src_nodes=["input"])
    refused(r"src_nodes must be a list", src_nodes=3)
    refused(r"dst_nodes must map node names to whole numbers", dst_nodes={"m0": "x"})
    refused(r"more than the 40,000,000", cfg={"n_layers": 10**8, "n_heads": 1})
    torch.save({"cfg": good["cfg"]}, path)
    with pytest.raises(FormatError, match=r"src_nodes, dst_nodes, .* missing"):
        read_file(path)
    torch.save([1], path)
    with pytest.raises(FormatError, match=r"expected a dict with cfg"):
        read_file(path)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(FormatError, match=r"refused"):
        read_file(path)


def test_pt_files_in_another_node_order(tmp_path: Path) -> None:
    import torch

    scores = some_scores(Graph(2, 2))
    path = write_scores(scores, tmp_path / "s.pt")
    document = torch.load(path, weights_only=True)
    turned = torch.tensor([3, 0, 1, 2, 6, 5, 4])
    document["src_nodes"] = [document["src_nodes"][i] for i in turned]
    for key in ("edges_scores", "edges_in_graph", "nodes_in_graph"):
        document[key] = document[key][turned]
    document["dst_nodes"] = {name: i for i, name in enumerate(document["dst_nodes"][:-1])} | {"logits": -1}
    document["edges_scores"] = document["edges_scores"].to(torch.bfloat16)
    torch.save(document, path)
    back = read_scores(path)
    assert same(back.values, torch.tensor(scores.values).bfloat16().double().numpy())


XML = "<?xml version='1.0' encoding='utf-8'?>"


@pytest.mark.parametrize("suffix", [".graphml", ".gexf"])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (XML + "<!DOCTYPE x [<!ENTITY a 'aaaa'>]><graphml>&a;</graphml>", "entities in a graph file are unsafe"),
        ("nonsense", "not a readable"),
        ("", "not a readable"),
        ("a\0b", "unsafe"),
    ],
)
def test_hostile_xml(tmp_path: Path, suffix: str, text: str, message: str) -> None:
    (tmp_path / f"bad{suffix}").write_text(text)
    with pytest.raises(FormatError, match=message):
        read_file(tmp_path / f"bad{suffix}")


@pytest.mark.parametrize("suffix", [".graphml", ".gexf"])
def test_graphs_of_another_kind(tmp_path: Path, suffix: str) -> None:
    import networkx

    path = tmp_path / f"g{suffix}"
    write = networkx.write_graphml_xml if suffix == ".graphml" else networkx.write_gexf

    def refused(graph: networkx.MultiDiGraph, message: str) -> None:
        write(graph, path)
        with pytest.raises(FormatError, match=message):
            read_file(path)

    graph = networkx.MultiDiGraph([("x", "y")])
    refused(graph, "the node 'input', which carries n_layers and n_heads, is missing")
    graph.add_node("input")
    refused(graph, "cfg has no n_layers")
    graph.add_node("input", n_layers=1, n_heads=1)
    refused(graph, r"edge 'x->y' needs an edge_type among q, k, v, mlp, logits; got None")
    graph.add_edge("x", "y", 0, edge_type="q", score=1.0)
    refused(graph, r"unknown edge 'x->y<q>'")
    graph.remove_edge("x", "y")
    graph.add_edge("input", "logits", edge_type="logits", score="high")
    refused(graph, r"score of edge 'input->logits' must be a number; got 'high'")


FULL = "source,destination,type,layer,score,in_graph\n"
ROWS = [
    *(f"input,a0.h0<{letter}>,{letter},0,1e-3,True" for letter in "qkv"),
    "input,m0,mlp,0,0.5,False",
    "a0.h0,m0,mlp,0,,True",
    *(f"{source},logits,logits,1,-2.5,False" for source in ("input", "a0.h0", "m0")),
]


def csv(path: Path, rows: list[str], head: str = FULL) -> Path:
    path.write_text(head + "\n".join(rows) + "\n")
    return path


def test_csv_tables_tell_their_graph(tmp_path: Path) -> None:
    file = read_file(csv(tmp_path / "t.csv", ROWS))
    assert file.scores.graph == Graph(1, 1)
    assert np.isnan(file.scores.values[file.scores.graph.edge_index("a0.h0->m0")])
    assert file.circuit is not None and file.circuit.n_kept == 4
    parallel = read_file(csv(tmp_path / "t.csv", [r for r in ROWS if r != "a0.h0,m0,mlp,0,,True"]))
    assert parallel.scores.graph == Graph(1, 1, parallel=True)


def test_csv_tables_of_some_edges_need_the_graph(tmp_path: Path) -> None:
    path = csv(tmp_path / "t.csv", ["input,a1.h0,q,-3.25", "m0,logits,,4"], "source,destination,type,score\n")
    with pytest.raises(FormatError, match=r"2 rows, but a graph with its nodes \(2 layers × 1 heads\) has 23 edges"):
        read_file(path)
    graph = Graph(3, 2)
    file = read_file(path, graph=graph)
    assert file.circuit is None
    assert file.scores.values[graph.edge_index("input->a1.h0<q>")] == -3.25
    with pytest.raises(FormatError, match="expected a column in_graph"):
        read_circuit(path, graph=graph)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([*ROWS[:-1], "m0,logits,logits,1,many,False"], r"row 8, column score: expected a number, got 'many'"),
        ([*ROWS[:-1], "m0,logits,logits,1,inf,False"], r"row 8, column score must be finite"),
        ([*ROWS[:-1], "m0,logits,logits,1,2,maybe"], r"row 8, column in_graph: expected true or false, got 'maybe'"),
        ([*ROWS[:-1], ROWS[0]], r"edge 'input->a0\.h0<q>' is listed more than once"),
        ([*ROWS[:-1], "m9,logits,logits,1,2,True"], r"8 rows, but a graph with its nodes \(10 layers"),
        ([*ROWS[:-1], "a999999.h999999,logits,logits,1,2,True"], r"more than the 40,000,000"),
        ([*ROWS[:-1], "x,logits,logits,1,2,True"], r"unknown edge 'x->logits'"),
        ([], r"0 rows"),
    ],
)
def test_malformed_tables(tmp_path: Path, rows: list[str], message: str) -> None:
    with pytest.raises(FormatError, match=message) as caught:
        read_file(csv(tmp_path / "bad.csv", rows))
    assert "\n" not in str(caught.value)


def test_tables_without_their_columns(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"column 'destination' is missing; expected source, destination, score"):
        read_file(csv(tmp_path / "bad.csv", ["input,1"], "source,score\n"))
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(FormatError, match=r"not a readable CSV"):
        read_file(tmp_path / "empty.csv")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 nonsense PAR1")
    with pytest.raises(FormatError, match=r"not a readable Parquet"):
        read_file(tmp_path / "bad.parquet")


def test_parquet_from_elsewhere_and_damaged_metadata(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    path = tmp_path / "t.parquet"
    frame = pandas.DataFrame({"source": ["m0"], "destination": ["logits"], "score": [0.25], "note": ["x"]})
    frame.to_parquet(path)
    assert read_scores(path, graph=Graph(1, 1)).values[-1, -1] == 0.25
    for note, message in [
        (b"{", "metadata is damaged"),
        (b"[]", "metadata is damaged"),
        (b'{"cfg": {"n_layers": 1000000, "n_heads": 1}}', "more than the 40,000,000"),
        (b'{"cfg": {"n_layers": 1, "n_heads": 1}, "node_scores": [1]}', "node_scores must be a list of 3 numbers"),
    ]:
        table = pyarrow.Table.from_pandas(frame).replace_schema_metadata({b"eapgp": note})
        pyarrow.parquet.write_table(table, path)
        with pytest.raises(FormatError, match=message):
            read_file(path)


def test_the_wrong_graph_is_named(tmp_path: Path) -> None:
    write_scores(some_scores(Graph(1, 2)), tmp_path / "s.json")
    with pytest.raises(
        FormatError, match=r"belongs to a graph of 1 layers × 2 heads \(13 edges\); expected a graph of 2"
    ):
        read_file(tmp_path / "s.json", graph=Graph(2, 2))


def test_dot_is_quoted_and_holds_the_circuit(tmp_path: Path) -> None:
    graph = Graph(2, 2)
    circuit = Circuit.of_names(graph, ["input->a0.h0<q>", "a0.h0->m1", "input->a0.h1<v>", "m1->logits"])
    values = np.where(graph.mask, 0.5, 0.0)
    values[graph.edge_index("m1->logits")] = -2.0
    scores = EdgeScores(graph, values)
    path = write_scores(scores, tmp_path / "c.dot", circuit=circuit, title='a "title"\nof \\two lines')
    text = path.read_text()
    assert r'label="a \"title\"\nof \\two lines"' in text
    edges = re.findall(r'^  "([\w.]+)" -> "([\w.]+)" \[type="(\w+)", color="(#\w+)", penwidth="([\d.]+)"', text, re.M)
    assert sorted(edges) == [
        ("a0.h0", "m1", "mlp", "#2563eb", "1.700"),
        ("input", "a0.h0", "q", "#2563eb", "1.700"),
        ("input", "a0.h1", "v", "#2563eb", "1.700"),
        ("m1", "logits", "logits", "#ea580c", "5.000"),
    ]
    assert '{ rank=same; "a0.h0"; "a0.h1"; }' in text
    assert text.count("{") == text.count("}") and "dashed" not in text
    assert quote('x"; evil [label="') == '"x\\"; evil [label=\\""'
    everything = write_scores(scores, tmp_path / "c.gv", circuit=circuit, only_circuit=False).read_text()
    assert everything.count("->") == graph.n_edges and everything.count("dashed") == graph.n_edges - 4
    unscored = EdgeScores(graph, np.where(graph.mask, np.nan, 0.0))
    assert 'color="#9ca3af"' in write_scores(unscored, tmp_path / "u.dot", circuit=circuit).read_text()
    for drawn in (circuit, None):
        back = read_file(
            write_scores(scores, path, circuit=drawn, title='graph [n_layers="9"];\n"a" -> "b" [score="x"];')
        )
        kept = circuit.edges if drawn is not None else graph.mask
        assert back.circuit is not None and np.array_equal(back.circuit.edges, kept)
        assert np.array_equal(back.scores.values[kept], scores.values[kept])
    whole = path.read_text()
    for content, expected in (
        ("digraph {}", "its graph line carries no n_layers"),
        (
            whole.replace('score="0.5"', 'score="half"'),
            "the score of 'input->a0.h0' must be a number; got 'half'",
        ),
        (whole.replace('"m1" -> "logits"', '"m1" -> "m0"'), "edge 'm1->m0' does not exist"),
        (whole.replace('n_heads="2"', 'n_heads="many"'), "cfg.n_heads must be a whole number"),
    ):
        path.write_text(content)
        with pytest.raises(FormatError, match=expected):
            read_file(path)


def test_formats_are_told_by_suffix_or_name(tmp_path: Path) -> None:
    assert format_of("x.JSON").name == "mib-json"
    assert format_of("x.json", "csv").name == "csv"
    path = write_scores(some_scores(Graph(1, 1)), tmp_path / "scores.txt", format="mib-json")
    assert read_scores(path, format="mib-json").graph == Graph(1, 1)
    with pytest.raises(FormatError, match=r"scores\.txt: unknown suffix '\.txt': expected one of \.json, \.pt"):
        read_scores(path)
    with pytest.raises(UnknownNameError, match="unknown format 'jsn'"):
        read_scores(path, format="jsn")


def test_what_a_format_cannot_hold_is_refused(tmp_path: Path) -> None:
    scores, graph = some_scores(Graph(1, 1)), Graph(1, 1)
    for options, message in [
        ({"path": "s.csv", "node_scores": np.zeros(3)}, "format csv holds no node scores"),
        ({"path": "s.json", "node_scores": np.zeros(4)}, r"must have shape \(3,\), one per source; got \(4,\)"),
        ({"path": "s.json", "circuit": Circuit.full(graph), "only_circuit": True}, "mib-json lists every edge"),
        ({"path": "s.csv", "only_circuit": True}, "no circuit is given"),
        ({"path": "s.csv", "circuit": Circuit.full(Graph(1, 2))}, "scores and circuit must share a graph"),
    ]:
        with pytest.raises(OptionError, match=message):
            write_scores(scores, **{**options, "path": tmp_path / options["path"]})
    assert not list(tmp_path.iterdir()), "a refused file was written"


def test_the_edge_table_is_the_ranking() -> None:
    graph = Graph(3, 2)
    scores = some_scores(graph, 3)
    circuit = select(scores, n=9)
    table = edge_table(scores, circuit)
    ranked = scores.top(graph.n_edges)
    assert list(zip(table["edge"], table["score"], strict=True)) == ranked
    assert table["rank"].tolist() == list(range(1, len(ranked) + 1))
    assert set(table["edge"][table["in_graph"]]) == set(circuit.edge_names())
    for row in table.head(20).itertuples():
        assert row.edge == f"{row.source}->{row.destination}"
        assert row.source_layer == graph.node_layer(row.source)
        assert row.layer == graph.node_layer(row.destination.split("<")[0])
        kind = row.destination.partition("<")[2].rstrip(">") or ("logits" if row.destination == "logits" else "mlp")
        assert row.type == kind
    assert edge_table(scores, n=5)["edge"].tolist() == [name for name, _ in ranked[:5]]
    assert "in_graph" not in edge_table(scores, n=0).columns


def test_the_edge_table_of_gpt2_small_is_quick() -> None:
    scores = some_scores(Graph(12, 12))
    edge_table(scores)
    start = time.perf_counter()
    table = edge_table(scores, Circuit.full(scores.graph))
    print(f"table of {len(table):,} rows in {time.perf_counter() - start:.3f} s")
    assert len(table) == int((~np.isnan(scores.values) & scores.graph.mask).sum())


def test_reading_json_imports_no_torch(tmp_path: Path) -> None:
    import subprocess

    path = write_scores(some_scores(Graph(1, 1)), tmp_path / "s.json")
    code = (
        "import sys, eapgp.formats as f, eapgp.circuits, eapgp.evaluation.agreement, eapgp.evaluation.statistics, "
        f"eapgp.ground_truth; f.read_file({str(path)!r}); "
        "print([m for m in ('torch', 'networkx', 'pandas', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_error_is_an_input_error() -> None:
    assert issubclass(FormatError, InputError)


# -- tables of spreadsheets and of some edges --------------------------------------------------


@pytest.mark.parametrize(("mark", "decimal"), [(";", ","), (";", "."), ("\t", ","), (",", ".")])
def test_tables_of_spreadsheets_are_read(tmp_path: Path, mark: str, decimal: str) -> None:
    """Byte-order mark, semicolons with decimal commas, columns and rows that were left empty."""
    scores = some_scores(Graph(2, 3))
    table = pandas.read_csv(write_scores(scores, tmp_path / "plain.csv"), float_precision="round_trip")
    table.assign(**{"": ""}).to_csv(tmp_path / "t.csv", sep=mark, decimal=decimal, index=False, encoding="utf-8-sig")
    with (tmp_path / "t.csv").open("a") as file:
        file.write(mark * table.shape[1] + "\n")
    back = read_file(tmp_path / "t.csv")
    assert back.scores.graph == scores.graph
    assert same(back.scores.values, scores.values)


def test_a_decimal_comma_between_commas_is_no_other_number(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("source,destination,score\ninput,m0,1,5\n")
    with pytest.raises(FormatError, match=r"more cells than its header"):
        read_file(tmp_path / "t.csv", graph=Graph(1, 1))


@pytest.mark.parametrize("suffix", [f.suffixes[0] for f in FORMATS.values() if not f.every_edge])
@pytest.mark.parametrize("parallel", [False, True])
def test_what_is_written_of_a_circuit_alone_is_read_without_saying_its_graph(
    tmp_path: Path, suffix: str, parallel: bool
) -> None:
    graph = Graph(4, 3, parallel)
    scores = some_scores(graph, unscored=0)
    circuit = Circuit.of_names(graph, ["input->a1.h1<q>", "a1.h1->m2", "m2->logits"])
    back = read_file(write_scores(scores, tmp_path / f"c{suffix}", circuit=circuit, only_circuit=True))
    assert back.scores.graph == graph
    assert back.circuit is not None and equal(back.circuit, circuit)
    assert same(back.scores.values[circuit.edges], scores.values[circuit.edges])
    assert np.isnan(back.scores.values[graph.mask & ~circuit.edges]).all()
    assert equal(select(back.scores, n=10, prune=False), circuit)


def test_a_table_of_every_edge_has_no_columns_of_sizes(tmp_path: Path) -> None:
    path = write_scores(some_scores(Graph(1, 1)), tmp_path / "t.csv", circuit=Circuit.empty(Graph(1, 1)))
    assert path.read_text().splitlines()[0] == "source,destination,type,layer,score,in_graph"


def test_a_table_of_some_edges_asks_for_its_graph_only_where_it_needs_one(tmp_path: Path) -> None:
    graph, path = Graph(2, 2), tmp_path / "t.csv"
    path.write_text("source,destination,score\nm0,logits,4\n")
    with pytest.raises(GraphNeededError, match=r"t\.csv: the table has 1 rows, .* name the model"):
        read_file(path)
    with pytest.raises(GraphNeededError):
        read_with(path, lambda: None)
    assert read_with(path, lambda: graph).scores.values[graph.edge_index("m0->logits")] == 4
    write_scores(some_scores(graph), tmp_path / "whole.csv")
    assert read_with(tmp_path / "whole.csv", lambda: pytest.fail("asked for")).scores.graph == graph


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        (["2,2,False,0", "2,3,False,0"], r"column n_heads: expected one value in every row"),
        (["2,two,False,0"] * 2, r"cfg\.n_heads must be a whole number of at least 1; got 'two'"),
        (["2,9999999999999999,False,0"] * 2, r"cfg\.n_heads must be a whole number"),
        (["99999999,2,False,0"] * 2, r"more than the 40,000,000"),
    ],
)
def test_wrong_columns_of_sizes(tmp_path: Path, sizes: list[str], message: str) -> None:
    edges = ("m0,logits,4", "input,m0,1")
    rows = [f"{edge},{size}" for edge, size in zip(edges, sizes, strict=True)]
    (tmp_path / "t.csv").write_text(
        "source,destination,score,n_layers,n_heads,parallel_attn_mlp,d_model\n" + "\n".join(rows)
    )
    with pytest.raises(FormatError, match=message):
        read_file(tmp_path / "t.csv")


def test_a_file_without_any_score_is_told_from_one_of_nodes(tmp_path: Path) -> None:
    graph = Graph(1, 1)
    nothing = EdgeScores(graph, np.where(graph.mask, np.nan, 0.0))
    bare = read_file(write_scores(nothing, tmp_path / "bare.json"))
    with pytest.raises(FormatError, match=r"bare\.json: it holds no score of an edge or a node"):
        bare.check_scored()
    nodes = read_file(write_scores(nothing, tmp_path / "nodes.json", node_scores=np.ones(3)))
    nodes.check_scored()
    with pytest.raises(FormatError, match=r"nodes\.json: it scores nodes but no edge"):
        nodes.check_scored(edges=True)
    read_file(write_scores(some_scores(graph), tmp_path / "edges.json")).check_scored(edges=True)


# -- small files that unpack to large ones -----------------------------------------------------


def deflated(path: Path) -> Path:
    """The archive with its members compressed, as torch reads it too."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_tensors_beyond_the_graph_s_are_refused_before_they_are_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    graph = Graph(4, 4, d_model=64)
    path = write_scores(some_scores(graph), tmp_path / "s.pt")
    good = torch.load(path, weights_only=True)
    assert same(read_scores(deflated(path)).values, read_scores(path).values)
    torch.save({**good, "neurons_scores": torch.zeros(graph.n_sources, 64)}, path)
    read_file(path)
    torch.save({**good, "big": torch.zeros(10_000_000)}, path)
    assert deflated(path).stat().st_size < 100_000
    monkeypatch.setattr("torch.load", lambda *_, **__: pytest.fail("unpacked"))
    with pytest.raises(FormatError, match=r"s\.pt: refused before unpacking: 40,0\d\d,\d\d\d bytes, .* at most 1,\d"):
        read_file(path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(FormatError, match=r"refused: not a readable PyTorch archive"):
        read_file(path)


@pytest.mark.parametrize(
    "graph", [Graph(12, 12, d_model=768), Graph(48, 25, d_model=1600), Graph(32, 32, d_model=4096)]
)
def test_tensors_of_true_graphs_are_within_the_limit(tmp_path: Path, graph: Graph) -> None:
    """GPT-2 small and XL, Llama 3 8B, in the widest precision and with fields of neurons."""
    import torch

    scores = EdgeScores(graph, np.where(graph.mask, 0.5, 0.0))
    path = write_scores(scores, tmp_path / "s.pt", node_scores=np.ones(graph.n_sources))
    document = torch.load(path, weights_only=True)
    torch.save({**document, "neurons_scores": torch.zeros(graph.n_sources, graph.d_model)}, path)
    assert read_file(path).scores.graph == graph


def refused_table(path: Path, columns: dict[str, Any], message: str) -> None:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    assert path.stat().st_size < 500_000
    start = time.perf_counter()
    with pytest.raises(FormatError, match=message):
        read_file(path)
    assert time.perf_counter() - start < 2


def test_tables_that_unpack_to_more_than_edges_are_refused(tmp_path: Path) -> None:
    import pyarrow

    path, n = tmp_path / "t.parquet", 2000
    scores = np.zeros(n)
    long_name = pyarrow.DictionaryArray.from_arrays(np.zeros(n, dtype=np.int32), ["x" * 2_000_000])
    refused_table(path, {"source": long_name, "destination": ["m0"] * n, "score": scores}, r"refused before unpacking")
    wide = pyarrow.DictionaryArray.from_arrays(np.zeros(n, dtype=np.int32), ["x" * 2000])
    refused_table(path, {"source": wide, "destination": ["m0"] * n, "score": scores}, r"a name of 2,000 characters")
    refused_table(path, {"source": ["input"] * n, "destination": ["m0"] * n, "score": scores}, r"2,000 rows name fewer")
    lists = pyarrow.array([["input"] * 1000] * n)
    refused_table(path, {"source": lists, "destination": ["m0"] * n, "score": scores}, r"'source' holds lists")
    many = {"source": ["input"], "destination": ["m0"], "score": [1.0], **{f"c{i}": [0] for i in range(300)}}
    refused_table(path, many, r"303 columns are more than the 256")


def test_more_rows_than_edges_are_refused_by_the_footer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow
    import pyarrow.parquet

    path = write_scores(some_scores(Graph(2, 2)), tmp_path / "s.parquet")
    note = pyarrow.parquet.read_schema(path).metadata
    n = 3_000_000
    table = pyarrow.table({"source": ["input"] * n, "destination": ["m0"] * n, "score": np.zeros(n)})
    pyarrow.parquet.write_table(table.replace_schema_metadata(note), path)
    monkeypatch.setattr("pyarrow.parquet.ParquetFile.read", lambda *_, **__: pytest.fail("unpacked"))
    with pytest.raises(FormatError, match=r"3,000,000 rows are more than the 46 edges"):
        read_file(path)


@pytest.mark.parametrize("where", ["header", "row"])
def test_a_csv_of_millions_of_columns_is_refused_at_once(tmp_path: Path, where: str) -> None:
    many = "," * 3_000_000
    head, row = ("source,destination,score", "input,m0,1")
    (tmp_path / "t.csv").write_text(f"{head + many}\n{row}\n" if where == "header" else f"{head}\n{row + many}\n")
    start = time.perf_counter()
    with pytest.raises(FormatError, match=r"3,000,003 columns are more than the 256"):
        read_file(tmp_path / "t.csv")
    assert time.perf_counter() - start < 1


def test_the_published_cases_of_scores(shared: Path) -> None:
    folder = shared / "cases" / "scores"
    if not folder.is_dir():
        pytest.skip("the reference material holds no cases")
    spreadsheet = read_scores(folder / "edges_semicolon.csv")
    assert spreadsheet.graph == Graph(2, 2) and not np.isnan(spreadsheet.values).any()
    exported = read_file(folder / "only_circuit_export.csv", graph=Graph(4, 4))
    assert exported.circuit is not None and exported.circuit.n_kept == 19
    for name in ("bomb_parquet.parquet", "bomb_pt.pt"):
        with pytest.raises(FormatError, match="refused before unpacking"):
            read_file(folder / name)
    nodes = read_file(folder / "mib_node_level.json")
    for n, edges in ((5, 24), (10, 118)):
        circuit = select(nodes.scores, n=n, by="nodes", node_scores=nodes.node_scores, prune=False)
        assert circuit.n_kept == edges


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize(("mark", "decimal"), [(";", ","), ("\t", ","), (";", "."), ("|", ","), (",", ".")])
def test_edge_tables_of_every_mark_and_encoding(tmp_path: Path, mark: str, decimal: str, encoding: str) -> None:
    graph = Graph(2, 2)
    scores, circuit = some_scores(graph), Circuit(graph, graph.mask & (np.arange(graph.n_destinations) % 2 == 0), 1)
    table = pandas.read_csv(write_scores(scores, tmp_path / "plain.csv", circuit=circuit), float_precision="round_trip")
    for words in (("WAHR", "FALSCH"), ("1", "0"), ("yes", "no"), ("True", "False"), ("VRAI", "FAUX")):
        spelled = table.assign(in_graph=table.in_graph.map(dict(zip((True, False), words, strict=True))))
        text = spelled.rename(columns=str.title).to_csv(sep=mark, decimal=decimal)  # with the index that pandas writes
        (tmp_path / "t.csv").write_bytes(f"sep={mark}\n{text}".encode(encoding))
        back = read_file(tmp_path / "t.csv")
        assert np.array_equal(back.scores.values, scores.values, equal_nan=True)
        assert back.circuit is not None and np.array_equal(back.circuit.edges, circuit.edges)


def test_other_names_of_the_columns_of_edge_tables(tmp_path: Path) -> None:
    graph = Graph(1, 1)
    for text in (
        "Source,Target,Weight,Type\ninput,a0.h0<q>,0.5,Directed\n",
        "src;dst;score\ninput;a0.h0<q>;5,0E-01\n",
        "edge\tvalue\ninput->a0.h0<q>\t0,5\n",
        ",rank,edge,source,destination,magnitude,score\n0,1,input->a0.h0<q>,input,a0.h0<q>,0.5,0.5\n",
    ):
        (tmp_path / "t.csv").write_text(text, encoding="utf-8")
        assert read_file(tmp_path / "t.csv", graph=graph).scores.values[0, 0] == 0.5, text
    for text, expected in (
        ("source,Source,destination,score\na,b,c,1\n", "column 'source' occurs twice"),
        ('source,destination,score\ninput,m0,"0,5"\n', "row 1, column score: .*Decimal commas need semicolons"),
        ("source;destination;score;in_graph\ninput;m0;1;perhaps\n", "row 1, column in_graph: expected true or false"),
    ):
        (tmp_path / "t.csv").write_text(text, encoding="utf-8")
        with pytest.raises(FormatError, match=expected):
            read_file(tmp_path / "t.csv", graph=graph)


def test_the_table_that_the_dashboard_shows_is_read(tmp_path: Path) -> None:
    scores = some_scores(Graph(2, 2))
    edge_table(scores, Circuit.full(scores.graph)).to_csv(tmp_path / "t.csv")
    back = read_file(tmp_path / "t.csv", graph=scores.graph)
    assert np.array_equal(back.scores.values, scores.values, equal_nan=True) and back.circuit is not None
