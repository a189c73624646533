"""The circuit view's payload, its state, and the stand-alone pages, checked without a browser.

What the browser computes on the payload (selection, pruning, tracing) is compared with the Python
functions by running the same JavaScript in node, where node is installed.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from eapgp.attribution.result import EdgeScores
from eapgp.circuits import Circuit, select, trace
from eapgp.errors import InputError, OptionError
from eapgp.figures.circuit_view import (
    ROLE_COLORS,
    Compared,
    Pane,
    Ranking,
    Role,
    ViewPayload,
    assign_roles,
    build_payload,
    largest,
    view_css,
    view_js,
)
from eapgp.figures.circuit_view.source import FOLDER
from eapgp.figures.pyvis_view import node_positions, pyvis_html
from eapgp.figures.standalone import circuit_html
from eapgp.graph import Graph
from eapgp.ui.parts.circuit_view import Selection, ViewState

HOSTILE = "</script><img src=x onerror=alert(1)>"


def seeded(layers: int, heads: int, seed: int, *, parallel: bool = False, holes: bool = False) -> EdgeScores:
    """Scores in which few nodes matter; `holes` leaves some edges unscored and makes ties."""
    graph = Graph(layers, heads, parallel=parallel)
    rng = np.random.default_rng(seed)
    weight = np.exp(rng.normal(0, 1.5, len(graph.nodes)))
    values = rng.normal(size=graph.mask.shape) * weight[:-1, None] * weight[graph.destination_nodes][None, :]
    if holes:
        values = np.round(values)
        values[rng.random(values.shape) < 0.1] = np.nan
    return EdgeScores(graph, np.where(graph.mask, values, 0.0))


def unpacked(payload: dict, name: str, kind: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(payload[name]), dtype=kind)


def names_of(scores: EdgeScores, payload: dict) -> list[str]:
    kind = "<u4" if payload["index_bytes"] == 4 else "<u2"
    pairs = zip(unpacked(payload, "source", kind), unpacked(payload, "destination", kind), strict=True)
    return [scores.graph.edge_name(int(s), int(d)) for s, d in pairs]


@pytest.mark.parametrize("absolute", [True, False])
def test_candidates_come_in_the_order_of_selection(absolute: bool) -> None:
    scores = seeded(3, 2, 0, holes=True)
    payload = build_payload(scores, ranking=Ranking(absolute=absolute))
    expected = scores.top(10_000, absolute=absolute)
    assert names_of(scores, payload) == [name for name, _ in expected]
    assert unpacked(payload, "score", "<f4").tolist() == [np.float32(score) for _, score in expected]
    assert payload["extra_rank"] == []


def test_only_the_strongest_are_sent_and_ties_stay_in_order() -> None:
    scores = seeded(4, 3, 1, holes=True)
    full = names_of(scores, build_payload(scores))
    for count in (1, 7, 40, 100):
        assert names_of(scores, build_payload(scores, ranking=Ranking(max_candidates=count))) == full[:count]


def test_greedy_order_is_that_of_the_greedy_rule() -> None:
    scores = seeded(3, 3, 2)
    names = names_of(scores, build_payload(scores, ranking=Ranking("greedy")))
    for n in (1, 5, 30):
        assert set(names[:n]) == set(select(scores, n=n, rule="greedy", prune=False).edge_names())


def test_a_second_method_is_grown_as_the_first_is() -> None:
    first, second = seeded(3, 3, 2), seeded(3, 3, 5)
    payload = build_payload(first, ranking=Ranking("greedy"), against=Compared(second))
    ranks = np.frombuffer(base64.b64decode(payload["compare"]["rank"]), dtype="<i4")
    for n in (5, 30):
        grown = {name for name, rank in zip(names_of(first, payload), ranks, strict=True) if 0 <= rank < n}
        assert grown == set(select(second, n=n, rule="greedy", prune=False).edge_names())


def test_a_model_of_gpt2_xl_size_sends_only_its_candidates() -> None:
    graph = Graph(48, 25)
    scores = EdgeScores(graph, np.where(graph.mask, np.random.default_rng(0).normal(size=graph.mask.shape), 0.0))
    payload = build_payload(scores)
    sizes = np.sort(np.abs(scores.values[graph.mask]))[::-1]
    assert payload["n_total"] == graph.n_edges > 2_000_000
    assert np.abs(unpacked(payload, "score", "<f4")) == pytest.approx(sizes[:40_000], rel=1e-6)
    assert len(json.dumps(payload)) < 500_000


def test_edges_of_a_known_circuit_are_sent_with_their_rank() -> None:
    scores = seeded(3, 2, 3)
    weakest = scores.top(10_000)[-2:]
    payload = build_payload(scores, ranking=Ranking(max_candidates=10), against=[weakest[0][0], scores.top(3)[2][0]])
    names = names_of(scores, payload)
    assert names[10:] == [weakest[0][0]]
    assert payload["extra_rank"] == [scores.graph.n_edges - 2]
    marked = np.frombuffer(base64.b64decode(payload["truth"]["edges"]), dtype="<u4")
    assert sorted(marked.tolist()) == [2, 10]


def test_compared_scores_bring_their_own_ranking() -> None:
    a, b = seeded(3, 2, 4), seeded(3, 2, 5)
    payload = build_payload(a, against=Compared(b, ("EAP", "EAP-GP")), ranking=Ranking(max_candidates=20))
    names = names_of(a, payload)
    assert set(names) == {name for name, _ in a.top(20)} | {name for name, _ in b.top(20)}
    place = {name: i for i, (name, _) in enumerate(b.top(10_000))}
    ranks = np.frombuffer(base64.b64decode(payload["compare"]["rank"]), dtype="<i4")
    assert [place[name] for name in names] == ranks.tolist()
    assert payload["scale_max"] == pytest.approx(largest(a, b))
    assert "scale" not in payload["compare"]


def test_compared_scores_of_other_units_keep_a_scale_each() -> None:
    a = seeded(3, 2, 4)
    b = EdgeScores(a.graph, 1000 * seeded(3, 2, 5).values)
    payload = build_payload(a, against=Compared(b, own_scales=True))
    assert payload["scale_max"] == pytest.approx(largest(a))
    assert payload["compare"]["scale"] == pytest.approx(largest(b))


def test_a_fixed_circuit_is_sent_whole() -> None:
    scores = seeded(2, 2, 6)
    circuit = Circuit.of_names(scores.graph, ["input->m0", "m0->logits", "input->a1.h0<k>"])
    payload = build_payload(scores, circuit=circuit)
    assert set(names_of(scores, payload)) == set(circuit.edge_names())
    assert payload["fixed"] is True


def test_roles_get_colours_that_are_no_sign_colours() -> None:
    roles = assign_roles({"a9.h9": "Name Mover", "a9.h6": "Name Mover", "a5.h5": "Induction"})
    assert roles[0] == Role("Name Mover", ("a9.h9", "a9.h6"), ROLE_COLORS[0])
    assert roles[1].color == ROLE_COLORS[1]
    assert not {"#0072B2", "#D55E00"} & set(ROLE_COLORS)


def test_payload_errors_say_what_to_do() -> None:
    scores = seeded(2, 2, 7)
    with pytest.raises(OptionError, match="compared scores need one graph; got 2×2 and 3×2"):
        build_payload(scores, against=Compared(seeded(3, 2, 0)))
    with pytest.raises(OptionError, match="another graph than the scores"):
        build_payload(scores, circuit=Circuit.of_names(Graph(3, 2), ["input->m0"]))
    with pytest.raises(OptionError, match="max_candidates must be at least 1; got 0"):
        Ranking(max_candidates=0)
    with pytest.raises(OptionError, match="rules 'top-n' and 'greedy'; got 'best'"):
        Ranking(rule="best")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="does not exist"):
        build_payload(scores, against=["m1->a0.h0<q>"])


def test_inputs_are_left_alone() -> None:
    scores = seeded(2, 2, 8, holes=True)
    before = scores.values.copy()
    build_payload(scores, against=Compared(seeded(2, 2, 9)), n=5)
    np.testing.assert_array_equal(scores.values, before)


def test_the_state_reads_what_the_browser_sends_and_survives_what_it_should_not() -> None:
    state = ViewState.of(
        {
            "select": {"selection": {"type": "edge", "name": "m0->logits"}, "pins": ["m0", 3], "stamp": 12.5},
            "view": {"n": 200, "selected": 200, "kept": 163, "shown": 40, "zoom": {"k": 2, "x": 0.5, "y": 0.1}},
            "edit": {"added": ["m0->logits"], "removed": [], "excluded": ["m1"], "last": {"op": "add"}},
        }
    )
    assert state.selection == Selection("edge", "m0->logits")
    assert (state.pins, state.n, state.kept, state.zoom) == (("m0",), 200, 163, {"k": 2.0, "x": 0.5, "y": 0.1})
    assert (state.added, state.excluded) == (("m0->logits",), ("m1",))
    assert ViewState.of({"select": 3, "view": {"n": "x", "zoom": {"k": None}}, "edit": []}) == ViewState()
    assert ViewState.of({"select": {"selection": {"type": "spell", "name": "m0"}}}).selection is None


# ---- the same functions in JavaScript ----------------------------------------------------------

NODE = shutil.which("node")
EXPORTS = "export { makeGraph, makeCandidates, chooseCandidates, pruneCandidates, traceThrough, edgeName, parseEdge };"
CHECK = """
import { readFileSync } from "node:fs";
globalThis.window = globalThis; globalThis.document = {};
const view = await import(process.argv[2]);
const { makeGraph, makeCandidates, chooseCandidates, pruneCandidates, traceThrough, edgeName, parseEdge } = view;
const answers = [];
for (const { payload, sizes, through } of JSON.parse(readFileSync(process.argv[3], "utf-8"))) {
  const graph = makeGraph(payload.graph);
  const made = makeCandidates(graph, payload);
  const name = (i) => edgeName(graph, made.source[i], made.destination[i]);
  const names = (flags) => [...flags.keys()].filter((i) => flags[i]).map(name).sort();
  const started = performance.now();
  const kept = sizes.map((n) => pruneCandidates(graph, made, chooseCandidates(made, n, null)));
  const spent = (performance.now() - started) / sizes.length;
  const last = kept[kept.length - 1];
  const traced = through.map((text) => {
    const edge = parseEdge(graph, text);
    if (!edge) return names(traceThrough(graph, made, last, { node: graph.index.get(text) }));
    const at = [...last.keys()].find((i) => made.source[i] === edge[0] && made.destination[i] === edge[1]);
    return names(traceThrough(graph, made, last, { edge: at }));
  });
  const all = names(last.map(() => 1));
  answers.push({ nodes: graph.nodes, edges: graph.edges, all, kept: kept.map(names), traced, spent });
}
console.log(JSON.stringify(answers));
"""


def in_node(cases: list[dict], folder: Path) -> list[dict]:
    if NODE is None:
        pytest.skip("node is not installed; the browser tests check the same")
    (folder / "view.mjs").write_text(f"{view_js()}\n{EXPORTS}\n", encoding="utf-8")
    (folder / "check.mjs").write_text(CHECK, encoding="utf-8")
    (folder / "cases.json").write_text(json.dumps(cases), encoding="utf-8")
    arguments = [NODE, str(folder / "check.mjs"), str(folder / "view.mjs"), str(folder / "cases.json")]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_browser_prunes_and_traces_as_python_does(tmp_path: Path) -> None:
    shapes = [(1, 1, False), (3, 2, False), (4, 3, True), (6, 4, False)]
    made = [seeded(*shape[:2], seed, parallel=shape[2]) for seed, shape in enumerate(shapes)]
    sizes = [[0, 1, 5, scores.graph.n_edges // 6, scores.graph.n_edges // 3] for scores in made]
    circuits = [[select(scores, n=n) for n in ns] for scores, ns in zip(made, sizes, strict=True)]
    through = [[*c[-1].node_names()[1:4], *c[-1].edge_names()[:5]] for c in circuits]
    cases = [
        {"payload": build_payload(scores), "sizes": ns, "through": t}
        for scores, ns, t in zip(made, sizes, through, strict=True)
    ]
    answers = in_node(cases, tmp_path)
    for scores, chosen, names, answer in zip(made, circuits, through, answers, strict=True):
        assert answer["nodes"] == list(scores.graph.nodes)
        assert answer["edges"] == scores.graph.n_edges
        assert answer["all"] == sorted(scores.graph.edge_names())
        assert answer["kept"] == [sorted(c.edge_names()) for c in chosen]
        assert answer["traced"] == [sorted(trace(chosen[-1], name).edge_names()) for name in names]
    assert any(len(c[-1].edge_names()) > 10 for c in circuits), "the comparison must not be of empty circuits"


def test_one_slider_move_over_32491_candidates_is_computed_in_time(tmp_path: Path) -> None:
    scores = seeded(12, 12, 0)
    assert scores.graph.n_edges == 32_491
    sizes = [10, 100, 1000, 5000, 20_000, 32_491] * 5
    answer = in_node([{"payload": build_payload(scores), "sizes": sizes, "through": []}], tmp_path)[0]
    assert answer["spent"] < 50, f"{answer['spent']:.1f} ms per move"


def test_the_browser_declares_the_fields_that_python_sends() -> None:
    types = (FOLDER / "types.d.ts").read_text(encoding="utf-8")
    body = re.search(r"^interface Payload \{\n(.*?)^\}", types, flags=re.DOTALL | re.MULTILINE)
    assert body is not None
    assert re.findall(r"^  (\w+)\??:", body[1], flags=re.MULTILINE) == list(ViewPayload.__annotations__)


# ---- files that stand alone --------------------------------------------------------------------


def scripts_of(document: str) -> list[str]:
    return re.findall(r"<script[^>]*>(.*?)</script>", document, re.DOTALL)


def test_the_offline_page_holds_everything_and_asks_for_nothing() -> None:
    scores = seeded(3, 2, 0)
    document = circuit_html(scores, title="IOI", provenance={"method": "EAP-GP", "steps": 5}, n=20)
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", document)
    assert "default-src 'none'" in document
    assert view_css() in document
    data = json.loads(scripts_of(document)[0])
    assert names_of(scores, data) == [name for name, _ in scores.top(10_000)]
    assert "<dt>method</dt><dd>EAP-GP</dd>" in document
    strongest = select(scores, n=20)
    assert document.count("<tr><td>") == strongest.n_kept


def test_hostile_text_stays_text_in_the_offline_page() -> None:
    scores = EdgeScores(Graph(2, 2), seeded(2, 2, 0).values, {HOSTILE: HOSTILE})
    document = circuit_html(
        scores, title=HOSTILE, roles={"a0.h0": HOSTILE}, pane=Pane(caption=HOSTILE, legend_note=HOSTILE)
    )
    assert "<img" not in document
    assert document.count("</script>") == 2
    data = json.loads(scripts_of(document)[0])
    assert data["caption"] == HOSTILE
    assert data["roles"][0]["name"] == HOSTILE


def test_a_payload_can_be_written_as_a_page() -> None:
    scores = seeded(2, 2, 1)
    payload = build_payload(scores, n=3, pane=Pane(edit=True))
    data = json.loads(scripts_of(circuit_html(payload, title="x"))[0])
    assert data["source"] == payload["source"]
    assert data["edit"] is False
    assert payload["edit"] is True


def pyvis_data(document: str, name: str) -> list[dict]:
    found = re.search(rf"{name} = new vis\.DataSet\((.*?)\);\n", document)
    assert found
    return json.loads(found.group(1))


def test_pyvis_draws_the_circuit_at_fixed_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    scores = seeded(3, 2, 2)
    circuit = select(scores, n=30)
    document = pyvis_html(scores, circuit, title="IOI & co", roles={circuit.node_names()[1]: HOSTILE + "href"})
    assert "bootstrap" not in document
    assert not re.search(r"""<(?:link|script)\b[^>]*\b(?:href|src)=""", document)
    assert document.count("<h1>") == 1
    assert "<h1>IOI &amp; co</h1>" in document
    assert "<img" not in document
    places = node_positions(scores.graph)
    nodes = pyvis_data(document, "nodes")
    assert {node["id"]: (node["x"], node["y"]) for node in nodes} == {n: places[n] for n in circuit.node_names()}
    edges = pyvis_data(document, "edges")
    assert sorted(edge["title"].split("\n")[0] for edge in edges) == sorted(circuit.edge_names())
    for edge in edges:
        score = scores.values[scores.graph.edge_index(edge["title"].split("\n")[0])]
        assert (edge["color"], edge["dashes"]) == (("#0072B2", False) if score > 0 else ("#D55E00", True))
        assert edge["width"] == pytest.approx(0.5 + 3.5 * np.sqrt(abs(score) / largest(scores)), abs=0.006)
    assert list(tmp_path.iterdir()) == []
    assert '"physics": {"enabled": false}' in document


def test_pyvis_says_when_it_draws_fewer_edges() -> None:
    scores = seeded(3, 2, 2)
    circuit = select(scores, n=30)
    document = pyvis_html(scores, circuit, max_drawn=5)
    assert f"30 selected, {circuit.n_kept} kept, the strongest 5 drawn" in document
    shown = {edge["title"].split("\n")[0] for edge in pyvis_data(document, "edges")}
    sizes = {name: abs(scores.values[scores.graph.edge_index(name)]) for name in circuit.edge_names()}
    assert shown == set(sorted(sizes, key=lambda name: -sizes[name])[:5])


def test_no_two_nodes_share_a_place() -> None:
    for graph in (Graph(12, 12), Graph(4, 4, parallel=True), Graph(1, 1)):
        places = node_positions(graph)
        assert set(places) == set(graph.nodes)
        assert len(set(places.values())) == len(places)
