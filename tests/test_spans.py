"""Scores and circuits by position: against literal products and runs, and what the parts of prompts are."""

from __future__ import annotations

import csv
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_made import one_thread, random_pairs, relative_error, tiny_model
from oracle import Pair, difference, pairs_of

from eapgp.attribution.api import attribute
from eapgp.attribution.per_position import span_scores
from eapgp.attribution.registry import METHODS_BY_POSITION
from eapgp.attribution.result import SpanScores
from eapgp.circuits.circuit import Circuit
from eapgp.circuits.select import select
from eapgp.circuits.spans import SpanCircuit, select_spans
from eapgp.cli import main
from eapgp.errors import FormatError, InputError, OptionError, PromptError, UnknownNameError
from eapgp.evaluation.runner import CircuitRunner
from eapgp.formats import read_spans, write_spans
from eapgp.models import load_model
from eapgp.prompts.encode import EncodedPairs, encode
from eapgp.prompts.pairs import PromptPair, PromptSet
from eapgp.prompts.spans import END, START, Spans, by_part, by_token, exchanged
from eapgp.runs.bundled import examples_folder
from eapgp.runs.run import open_run
from eapgp.tasks import TASKS, make_prompts, prompt_spans
from eapgp.ui.library.circuits import score_of

one_thread()
ENCODED = random_pairs(3, seed=4, shortest=4, longest=7)
NAMES = ("a", "b", "c")
SPANS = Spans(NAMES, np.where(ENCODED.mask, np.arange(7)[None] % 3, -1))


@pytest.mark.parametrize("method", METHODS_BY_POSITION)
def test_the_spans_add_up_to_the_score_of_every_edge(method: str) -> None:
    model = tiny_model("gemma2")
    options: dict[str, Any] = {"steps": 2} if "steps" in attribute(model, ENCODED, method=method).options else {}
    whole = attribute(model, ENCODED, method=method, **options).scores.values
    parts = span_scores(model, ENCODED, SPANS, method=method, **options)
    assert parts.spans == NAMES and all(np.abs(part).max() > 0 for part in parts.values)
    assert relative_error(parts.values.sum(0), whole) < 1e-5


@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma2"])
def test_a_span_s_score_is_the_literal_product_at_its_positions(name: str) -> None:
    model = tiny_model(name)
    expected = np.mean([_eap_by_span(pair, SPANS.of[i]) for i, pair in enumerate(pairs_of(model, ENCODED))], axis=0)
    assert relative_error(span_scores(model, ENCODED, SPANS, method="eap").values, expected) < 1e-5


def _eap_by_span(pair: Pair, spans: np.ndarray) -> np.ndarray:
    """`[span, src, dst]` Σ over the positions of the span of (z_u − z′_u) · ∂M/∂x_v at the clean input."""
    graph, clean = pair.oracle.graph, pair.clean()
    delta, gradient = difference(clean, pair.corrupted()), pair.gradients(clean)
    out = np.zeros((len(NAMES), graph.n_sources, graph.n_destinations))
    for column, v in enumerate(graph.destinations):
        for u in pair.oracle.read_by(v):
            products = (delta[u] * gradient[v]).sum(-1).reshape(-1).numpy()
            for place, product in enumerate(products):
                out[spans[place], graph.sources.index(u), column] += product
    return out


def _literal(pair: Pair, edges: np.ndarray, spans: np.ndarray) -> float:
    """The metric with z_u in place of z′_u where (u→v, span of the position) is inside, position by position."""
    oracle, graph = pair.oracle, pair.oracle.graph
    reference = {u: z.detach() for u, z in pair.corrupted().sources.items()}

    def edit(name: str, residual: torch.Tensor, written: dict[str, torch.Tensor]) -> torch.Tensor:
        column = graph.destinations.index(name)
        total = torch.zeros_like(residual) + oracle.bias_before(name)
        for u in oracle.read_by(name):
            inside = torch.from_numpy(edges[spans, graph.sources.index(u), column]).unsqueeze(-1)
            total = total + torch.where(inside, written[u], reference[u])
        return total

    return pair.number(oracle.run(pair.clean_ids, edit=edit).logits.detach())


@pytest.mark.parametrize("name", ["gpt2", "llama", "pythia", "gemma2"])
def test_a_circuit_of_edges_and_spans_is_the_literal_run(name: str) -> None:
    model = tiny_model(name)
    graph, rng = model.graph, np.random.default_rng(0)
    circuits = [
        SpanCircuit(graph, NAMES, graph.mask & (rng.random((3, *graph.mask.shape)) < share), 0) for share in (0.1, 0.6)
    ]
    patched = np.repeat(graph.mask[None], 3, axis=0)
    patched[1][graph.edge_index("m0->a1.h0<v>")] = False  # one edge, corrupted at one span by hand
    circuits.append(SpanCircuit(graph, NAMES, patched, 0))
    found = CircuitRunner(model, ENCODED).run_spans(circuits, SPANS).metric
    pairs = list(zip(pairs_of(model, ENCODED), ENCODED.lengths, SPANS.of, strict=True))
    expected = [[_literal(pair, one.edges, of[:length]) for pair, length, of in pairs] for one in circuits]
    assert relative_error(found, expected) < 1e-5


@pytest.mark.parametrize("intervention", ["patching", "zero", "mean"])
def test_an_edge_kept_in_every_span_is_the_edge(intervention: str) -> None:
    model = tiny_model("gpt2")
    runner = CircuitRunner(model, ENCODED, intervention=intervention)
    edges = model.graph.mask & (np.random.default_rng(1).random(model.graph.mask.shape) < 0.4)
    blind = [Circuit(model.graph, edges, 0), Circuit.full(model.graph), Circuit.empty(model.graph)]
    seeing = [SpanCircuit.everywhere(one, NAMES) for one in blind]
    found, expected = runner.run_spans(seeing, SPANS), runner.run(blind)
    assert relative_error(found.metric, expected.metric) < 1e-5
    assert np.allclose(found.kl, expected.kl, atol=1e-6) and (found.correct == expected.correct).all()


def test_selection_takes_the_strongest_and_prunes_edges_on_no_path() -> None:
    model = tiny_model("gpt2")
    scores = span_scores(model, ENCODED, SPANS, method="eap")
    circuit = select_spans(scores, 40, prune=False)
    assert circuit.n_kept == 40 and circuit.n_edges <= 40
    weakest = np.abs(scores.values[circuit.edges]).min()
    outside = ~circuit.edges & model.graph.mask
    assert weakest >= np.abs(scores.values[outside]).max()
    assert [name for name, *_ in scores.top(3)] == [
        model.graph.edge_name(*np.unravel_index(at, scores.values.shape)[1:])
        for at in np.argsort(-np.abs(scores.values), axis=None)[:3]
    ]
    pruned = select_spans(scores, 40)
    whole = Circuit(model.graph, circuit.edges.any(0), 0)
    assert pruned.n_kept <= 40 and not (pruned.edges & ~whole.edges).any()
    edge, span, value = scores.top(1)[0]
    assert scores.of_edge(edge)[span] == pytest.approx(value)


def test_what_does_not_fit_is_refused() -> None:
    model = tiny_model("gpt2")
    with pytest.raises(OptionError, match="'exact' does not tell positions apart"):
        span_scores(model, ENCODED, SPANS, method="exact")
    with pytest.raises(OptionError, match="expected those of these prompts"):
        span_scores(model, ENCODED, Spans(NAMES, SPANS.of[:2]), method="eap")
    circuit = SpanCircuit.everywhere(Circuit.full(model.graph), ("x",))
    with pytest.raises(InputError, match="other spans"):
        CircuitRunner(model, ENCODED).run_spans([circuit], SPANS)
    with pytest.raises(OptionError, match="edges and spans"):
        select_spans(SpanScores(model.graph, NAMES, np.zeros((3, *model.graph.mask.shape)), "eap"), 10**6)


# ---- the parts of prompts ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def demo() -> Any:
    return load_model("demo")


def _words(spans: Spans, encoded: EncodedPairs, row: int, name: str, tokenizer: Any) -> str:
    ids = encoded.clean[row][spans.of[row] == spans.names.index(name)]
    return str(tokenizer.decode(ids)).strip()


@pytest.mark.parametrize("task", list(TASKS))
def test_every_position_has_a_part_and_parts_stand_in_order(task: str, demo: Any) -> None:
    prompts = make_prompts(task, 12, seed=3)
    spans, encoded = by_part(prompts, demo, TASKS[task].parts), encode(prompts, demo)
    assert ((spans.of >= 0) == encoded.mask).all() and spans.names[0] == START and spans.names[-1] == END
    last = spans.of[np.arange(encoded.n), encoded.lengths - 1]
    assert (last == len(spans.names) - 1).all(), "the answer is read at the last token, in every pair"
    unlike = encoded.clean != encoded.corrupted
    named = {spans.names[i] for i in set(spans.of[unlike])} - {END}
    assert not any(name.startswith(("before", "after", START)) for name in named), named


def test_the_parts_of_ioi_are_the_names(demo: Any) -> None:
    prompts = make_prompts("ioi", 12, seed=3)
    spans, encoded = by_part(prompts, demo, TASKS["ioi"].parts), encode(prompts, demo)
    for row, pair in enumerate(prompts):
        names = {_words(spans, encoded, row, part, demo.tokenizer) for part in ("first name", "second name")}
        assert names == {str(pair.correct[0]).strip(), str(pair.incorrect[0]).strip()}
        assert _words(spans, encoded, row, "repeated name", demo.tokenizer) == str(pair.incorrect[0]).strip()


def test_tokens_stand_for_themselves_where_prompts_are_equally_long(demo: Any) -> None:
    prompts = make_prompts("hypernymy", 20, seed=0)
    lengths = encode(prompts, demo).lengths
    one = prompts.pick([0])
    spans = by_token(one, demo)
    assert len(spans.names) == lengths[0] and spans.of.tolist() == [list(range(lengths[0]))]
    assert (
        sum(name.endswith("…") for name in spans.names)
        == (encode(one, demo).clean != encode(one, demo).corrupted).sum()
    )
    assert len(set(lengths.tolist())) > 1
    with pytest.raises(PromptError, match="no positions in common"):
        by_token(prompts, demo)
    alike = prompts.pick(np.flatnonzero(lengths == lengths[0]).tolist())
    asked = prompt_spans(alike, demo, marks="tokens")
    assert len(alike) > 1 and asked.names == by_token(alike, demo).names and len(asked.names) == lengths[0]


@pytest.mark.parametrize(
    ("clean", "corrupted", "words"),
    [
        ("The cat sat on it", "The dog sat on it", ["cat"]),
        ("A cat, and a cow", "A dog, and a hen", ["cat", "cow"]),
        ("In New York it is", "In Paris it is", ["New", "York"]),
        ("Same", "Same", []),
        ("He won't go", "He can't go", ["won"]),
    ],
)
def test_the_exchanged_words(clean: str, corrupted: str, words: list[str]) -> None:
    pair = PromptPair(clean, corrupted, ("a",), ("b",))
    assert [clean[start:stop] for _, start, stop in exchanged(pair)] == words


def test_own_pairs_are_told_apart_by_what_is_exchanged(demo: Any) -> None:
    own = PromptSet("own", tuple(itertools.islice(make_prompts("gender-bias", 3), 3)), "logit-diff")
    assert by_part(own, demo, exchanged).names == (START, "before", "exchanged", "after exchanged", END)


def test_marked_words_are_parts_and_add_up_as_others_do(demo: Any) -> None:
    prompts = make_prompts("ioi", 6, seed=3, tokenizer=demo.tokenizer)
    names = sorted({pair.correct[0].strip() for pair in prompts})
    spans = prompt_spans(prompts, demo, marks={"receiver": names, "verb": ["gave", "handed", "passed"]})
    assert "receiver" in spans.names and spans.names[-1] == END
    encoded = encode(prompts, demo)
    for row, pair in enumerate(prompts):
        marked = [encoded.clean[row, at] for at in np.flatnonzero(spans.of[row] == spans.names.index("receiver"))]
        words = {word.strip() for word in (demo.tokenizer.decode([one]) for one in marked)}
        assert words <= set(names) and pair.correct[0].strip() in words
    told = span_scores(demo, prompts, spans, method="eap-ig")
    whole = attribute(demo, prompts, method="eap-ig").scores.values
    assert relative_error(told.values.sum(0), whole) < 1e-5
    with pytest.raises(OptionError, match=r"'thief'.*stands in no clean prompt"):
        prompt_spans(prompts, demo, marks={"thief": ["nobody"]})


def test_files_of_spans_are_read_back_as_they_were(tmp_path: Path) -> None:
    scores = span_scores(tiny_model("gpt2"), ENCODED, SPANS, method="eap")
    circuit = select_spans(scores, 40)
    read, kept = read_spans(write_spans(tmp_path / "spans.json", scores, circuit))
    assert read.graph == scores.graph and read.spans == NAMES and read.method == "eap"
    assert np.array_equal(read.values, scores.values.astype(np.float32))
    assert kept is not None and np.array_equal(kept.edges, circuit.edges) and kept.n_selected == 40
    assert read_spans(write_spans(tmp_path / "scores.json", scores))[1] is None
    rows = list(csv.DictReader((write_spans(tmp_path / "spans.csv", scores, circuit)).open(encoding="utf-8")))
    assert len(rows) == 3 * scores.graph.n_edges and sum(int(row["kept"]) for row in rows) == circuit.n_kept
    one = rows[17]
    assert float(one["score"]) == pytest.approx(scores.of_edge(one["edge"])[one["span"]])
    with pytest.raises(FormatError, match=r"\.json or \.csv"):
        write_spans(tmp_path / "spans.txt", scores)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": "eapgp spans 9"}, "expected an object with format"),
        ({"spans": ["a", "a", "b"]}, "different names"),
        ({"spans": []}, "different names"),
        ({"cfg": {"n_layers": 10**9, "n_heads": 4}}, "check n_layers"),
        ({"cfg": 3}, "cfg must be an object"),
        ({"scores": {"input->logits": [1, 2, 3]}}, "must hold all"),
        ({"kept": {"input->logits": ["d"]}}, "expected names among a, b, c"),
        ({"kept": {"logits->input": ["a"]}}, "unknown edge"),
        ({"kept": []}, "spans by edge"),
    ],
)
def test_files_of_spans_that_cannot_be_are_refused(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    scores = span_scores(tiny_model("gpt2"), ENCODED, SPANS, method="eap")
    path = write_spans(tmp_path / "spans.json", scores, select_spans(scores, 9))
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(FormatError, match=words) as error:
        read_spans(path)
    assert str(error.value).startswith("spans.json: ") and "\n" not in str(error.value)
    values = json.loads(write_spans(path, scores).read_text())
    for wrong in ([1, 2], [1, None, 2], ["a", 1, 2], 3):
        values["scores"]["input->logits"] = wrong
        path.write_text(json.dumps(values))
        with pytest.raises(FormatError, match=r"spans\.json: "):
            read_spans(path)
    path.write_bytes(b"\xff{")
    with pytest.raises(FormatError, match="expected JSON"):
        read_spans(path)


def test_one_part_s_scores_and_circuit(demo: Any) -> None:
    prompts = make_prompts("ioi", 6, tokenizer=demo.tokenizer)
    scores = span_scores(demo, prompts, prompt_spans(prompts, demo), method="eap-ig")
    circuit = select_spans(scores, 50)
    for at, name in enumerate(scores.spans):
        assert np.array_equal(scores.at(name).values, scores.values[at])
        assert np.array_equal(circuit.at(name).edges, circuit.edges[at])
    with pytest.raises(UnknownNameError):
        scores.at("nowhere")


def test_the_command_writes_marked_parts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "spans.json"
    pairs = open_run(examples_folder() / "ioi-eap").prompts().pairs
    names = ",".join(sorted({pair.correct[0].strip() for pair in pairs}))
    run = ["positions", "--run", "ioi-eap", "--edges", "10", "--write", str(path)]
    assert main([*run, "--mark", f"receiver={names}", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    read, kept = read_spans(path)
    assert answer["written"] == str(path) and list(read.spans) == answer["spans"] and "receiver" in read.spans
    assert main(["positions", "--run", "ioi-eap", "--mark", "tokens", "--json"]) == 2
    assert "expected equal lengths" in json.loads(capsys.readouterr().out)["error"]["message"]
    assert main(["positions", "--run", "ioi-eap", "--read", str(path), "--top", "3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["top"] == answer["top"][:3]
    whole = open_run(examples_folder() / "ioi-eap").scores()
    assert relative_error(read.values.sum(0), whole.values) < 1e-4
    assert kept is not None and kept.n_selected == 10
    for line, words in (
        (["--mark", "a"], "NAME=WORD,WORD"),
        (["--mark", "a=b", "--pair", "1"], "without --pair"),
        (["--mark", "a=zzz"], "stands in no clean prompt"),
        (["--read", "x.json", "--pair", "2"], "without --pair"),
        (["--write", "x.json", "--edges", "3", "--edges", "4"], "at most one --edges"),
    ):
        assert main(["positions", "--run", "ioi-eap", *line, "--json"]) == 2
        assert words in json.loads(capsys.readouterr().out)["error"]["message"]


def test_the_command_tells_a_run_s_scores_apart(capsys: pytest.CaptureFixture[str]) -> None:
    def ask(*line: str) -> dict[str, Any]:
        assert main(["positions", "--run", "ioi-eap", *line, "--json"]) == 0
        answer: dict[str, Any] = json.loads(capsys.readouterr().out)
        return answer

    answer = ask("--edges", "20", "--edge", "a3.h1->logits", "--top", "2")
    run = open_run(examples_folder() / "ioi-eap")
    parts = answer["edges"]["a3.h1->logits"]
    assert sum(parts.values()) == pytest.approx(score_of(run.scores(), "a3.h1->logits"), rel=1e-4)
    assert parts[END] == pytest.approx(sum(parts.values())), "the logits are read at the last token alone"
    (row,) = answer["curve"]
    circuit = select(run.scores(), n=20)
    blind = CircuitRunner(load_model("demo"), run.prompts()).faithfulness(circuit)
    assert row["blind"]["faithfulness"] == pytest.approx(blind, abs=1e-4) and row["blind"]["edges"] == circuit.n_kept
    assert row["as_many"]["kept"] <= circuit.n_kept < row["as_wide"]["kept"]
    assert len(answer["top"]) == 2 and sum(answer["shares"]) == pytest.approx(1)
    one = ask("--pair", "2")
    assert one["pair"] == 2 and len(one["spans"]) == encode(run.prompts().pick([1]), load_model("demo")).lengths[0]
    for line, words in (
        (["--run", "ioi-exact"], "does not tell positions apart"),
        (["--run", "ioi-eap", "--pair", "65"], "expected 1 to 64"),
        (["--run", "ioi-eap", "--pair", "1", "--edges", "3"], "without --pair"),
        ([], "expected one run"),
    ):
        assert main(["positions", *line, "--json"]) == 2
        assert words in json.loads(capsys.readouterr().out)["error"]["message"]
