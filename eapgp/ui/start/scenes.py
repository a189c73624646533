"""The six scenes and the questions: what each says, draws and offers, from bundled runs or measured now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from eapgp import findings
from eapgp.attribution.registry import short_name
from eapgp.circuits import exclude_nodes
from eapgp.circuits.circuit import Circuit
from eapgp.circuits.select import strongest_head
from eapgp.evaluation.runner import Measured
from eapgp.figures.adapt import band_line
from eapgp.figures.circuit_view import Pane, build_payload
from eapgp.figures.curves import faithfulness_curves
from eapgp.figures.path import name_of, path_projection, style_of
from eapgp.ground_truth.planted import SATURATED_EDGE, planted_circuit
from eapgp.numerals import count, decimal, number, percent
from eapgp.runs.answers import stored_answers
from eapgp.runs.info import RunInfo
from eapgp.ui.base.draw import chart, dark, plain
from eapgp.ui.base.routes import page_file
from eapgp.ui.base.session import Session
from eapgp.ui.jobs import server
from eapgp.ui.jobs.follow import follow, poll
from eapgp.ui.library import measure, results
from eapgp.ui.library.circuits import USUAL_SIZES, circuit_of, usual_rule
from eapgp.ui.library.consent import at_hand
from eapgp.ui.library.landscape import EdgeAlongPath, Picture, stored_edge, stored_picture
from eapgp.ui.parts import head
from eapgp.ui.parts.circuit_view import circuit_view
from eapgp.ui.parts.path_step import Gauge, step_bar
from eapgp.ui.start import planted
from eapgp.ui.start.fields import PLANTED_METHODS, SCENES

METHODS = ("eap", "eap-ig", "eap-gp")
PATIENCE = 0.6
MOST_DRAWN = 2_000  # edges of the whole graph's picture
NEAR = 0.25  # of ‖x − x′‖


@dataclass(frozen=True)
class Story:
    """Whose bundled runs the scenes show.

    size: edges of the circuit that is shown first. judged: edges at which methods are compared. path: the task and the
    step of a GradPath that comes nearer to the corrupted output, as its scene says.
    """

    model: str
    task: str
    size: int
    judged: int
    path: tuple[str, str]


REAL = Story("smollm2-135m", "country-capital", 200, 1000, ("country-capital", "descend"))
DEMO = Story("demo", "ioi", 50, 23, ("sva", "relative"))
_DEEPER = "The page on which all of this can be changed."
_TRY = "Type a sentence of yours and see which edges its answer rests on."
_KEYS = Path(__file__).with_name("keys.js")
_STYLE = """<style>
.eapgp-scene{font-size:1.85rem;line-height:1.25;font-weight:650;margin:0;max-width:40em}
.eapgp-dial b{font-size:1.3rem;font-weight:600}
.eapgp-dial i{display:block;height:18px;border:1px solid light-dark(#d5dcdf,#354148);border-radius:4px;overflow:hidden}
.eapgp-dial i::before{content:"";display:block;height:100%;width:var(--p);background:light-dark(#2b5a68,#7fb9c9);
transition:width .4s}
@media (prefers-reduced-motion:reduce){.eapgp-dial i::before,.eapgp-side i::before{transition:none!important}}
.st-key-scene-pair .eapgp-pair{grid-template-columns:minmax(0,1fr);row-gap:28px}
.st-key-scene-pair .eapgp-pair p{font-size:1.9rem}
.st-key-scene-pair .eapgp-side{font-size:1.45rem;line-height:1.6;max-width:44rem}
.st-key-scene-pair .eapgp-side b{font-size:1rem}
.st-key-scene-pair .eapgp-side div{grid-template-columns:minmax(5em,auto) 1fr 3.4em;gap:16px}
.st-key-scene-pair .eapgp-side i{height:24px}
.st-key-scene-pair .eapgp-side i::before{transition:width .4s}
[data-testid=stMainBlockContainer]>[data-testid=stVerticalBlock]{min-height:calc(100dvh - 9.5rem)}
[data-testid=stLayoutWrapper]:has(>.st-key-start-foot){margin-top:auto;position:sticky;bottom:0;z-index:3;
padding:.6rem 0;background:light-dark(#ffffff,#12181b)}
@media (min-width:1200px) and (min-height:820px){.eapgp-scene{font-size:2.05rem}
.st-key-scene-pair{margin-top:4vh}.st-key-scene-pair .eapgp-pair{row-gap:64px}
.st-key-scene-pair .eapgp-pair p{font-size:2.5rem}.st-key-scene-pair .eapgp-side{font-size:1.9rem;max-width:60rem}
.st-key-scene-pair .eapgp-side i{height:36px}}
@media (max-width:640px){.st-key-scene-pair .eapgp-pair p{font-size:1.4rem}
.st-key-scene-pair .eapgp-side{font-size:1.1rem}.eapgp-scene{font-size:1.5rem}}
</style>"""


def turn(session: Session) -> None:
    """Listen to the arrow keys."""

    def turned() -> None:
        step = int(st.session_state["start-keys"]["turned"])
        session.later(scene=min(max(session["scene"] + step, 1), len(SCENES)))

    _keys()(key="start-keys", on_turned_change=turned, height=1)


@cache
def _keys() -> Callable[..., Any]:
    return st.components.v2.component("eapgp_start_keys", js=_KEYS.read_text(encoding="utf-8"))


def story() -> Story:
    """The real model's where it is at hand, so that what is not stored can be run; the demo model's elsewhere."""
    bundled = any(card.example and card.model == REAL.model for card in results.shelf().cards())
    return REAL if bundled and at_hand(REAL.model) else DEMO


def run_of(model: str, task: str, method: str, *, step: str = "relative") -> RunInfo:
    """The bundled run of a task by a method; of EAP-GP the one by that step."""
    cards = [card for card in results.shelf().cards() if card.example and card.model == model]
    fitting = [card for card in cards if (card.task, card.method) == (task, method)]
    return next(card for card in fitting if card.options.get("step", step) == step)


def _usual_run() -> RunInfo:
    one = story()
    return run_of(one.model, one.task, "eap-gp")


def draw(session: Session) -> None:
    """The scene that the link names."""
    st.html(_STYLE)
    name = SCENES[session["scene"] - 1]
    scene = {
        "behaviour": behaviour,
        "graph": graph,
        "circuit": circuit,
        "gradients": gradients,
        "path": path,
        "methods": methods,
        "questions": questions,
    }[name]
    scene(session)
    _foot(session)


def _say(text: str) -> None:
    st.html(f'<h1 class="eapgp-scene">{head.unbroken(text)}</h1>')


def behaviour(session: Session) -> None:
    """1: the pair, and what becomes of the answer when one word is exchanged."""
    card = _usual_run()
    answers = stored_answers(card.run)
    assert answers is not None, "bundled runs come with their answers"
    side = "corrupted" if session["swapped"] else "clean"
    right, share = answers.best("clean", "right").strip("␣"), answers.totals[side][0]
    _say(f"Read on: the model answers {right} with {percent(share)}. One word decides it.")
    session.widget("swapped", st.toggle)
    with st.container(key="scene-pair"):
        st.html(head.pair_style() + head.pair_html(answers.tokens, answers, sides=(side,)))
    _open(card, "prompts", "Prompts", model=card.model, task=card.task)


def graph(session: Session) -> None:
    """2: every edge of the model."""
    card = _usual_run()
    _say(f"The model is a graph of {count(card.graph.n_edges)} edges. Which of these matter for that answer?")
    scores = results.attribution(card).scores
    drawn = circuit_of(card, scores, MOST_DRAWN, "top-n")
    payload = build_payload(scores, circuit=drawn, pane=Pane(filename="all-edges", legend=False))
    circuit_view(payload, key="start-graph", height=430)
    if drawn.n_selected < card.graph.n_edges:
        st.caption(f"Drawn are the {count(drawn.n_selected)} strongest.")
    _open(card, "explore", "Explore", run=card.id, tab="map")


def circuit(session: Session) -> None:
    """3: the strongest edges alone, what they keep, and what a removed head costs."""
    card = _usual_run()
    scores = results.attribution(card).scores
    sizes = circuit_sizes(card)
    session.usual("size", story().size)
    size = min(sizes, key=lambda one: abs(one - session["size"]))
    chosen, head_name = circuit_on_screen(card, size, without=session["without"])
    measured = _measured(card, chosen)
    _say(findings.of_circuit(measured).text if measured is not None else "Running the circuit …")
    left, right = st.columns([1, 2.2], gap="large")
    with left:
        session["size"] = size
        session.widget("size", st.select_slider, options=sizes)
        session.widget("without", st.toggle, f"Remove head {head_name}")
        if measured is not None:
            st.html(_dial(measured.faithfulness[0]))
    with right:
        payload = build_payload(scores, circuit=chosen, pane=Pane(filename="circuit", legend=False))
        circuit_view(payload, key=f"start-circuit-{chosen.key}", height=400)
    _open(card, "explore", "Explore", run=card.id, k=size)


def _dial(value: float) -> str:
    """Faithfulness as a bar from nothing to all."""
    width = 100 * min(max(value, 0.0), 1.0)
    label = f"Faithfulness {decimal(value)}"
    return (
        f'<div class="eapgp-dial" role="img" aria-label="{label}"><b>{label}</b><i style="--p:{width:.1f}%"></i></div>'
    )


def measured_sizes(card: RunInfo) -> list[int]:
    """The sizes at which a bundled run's strongest edges were measured."""
    return [int(row["n"]) for row in card.run.evaluation()["circuits"]["circuits"]]


def circuit_sizes(card: RunInfo) -> list[int]:
    """The sizes of the circuits that the scene shows."""
    return list(USUAL_SIZES) if usual_rule(card.graph) == "greedy" else measured_sizes(card)


def circuit_on_screen(card: RunInfo, size: int, *, without: bool) -> tuple[Circuit, str]:
    """The circuit of a size, perhaps without the head whose edge to the logits is the strongest; that head."""
    scores = results.attribution(card).scores
    full, head_name = circuit_of(card, scores, size, usual_rule(card.graph)), strongest_head(scores)
    return (exclude_nodes(full, [head_name]) if without else full), head_name


def _measured(card: RunInfo, chosen: Circuit) -> Measured | None:
    stored = measure.known(card, [chosen])
    if stored is not None:
        return stored
    slot = server.session_slot("start")
    job = server.manager().wait(measure.submit_circuits(card, [chosen], "the circuit of Start", slot=slot), PATIENCE)
    if job is not None and job.live:
        poll(job.id, lambda _: None, every=0.25)
    return job.result if job is not None and job.state == "done" else None


def gradients(session: Session) -> None:
    """4: an edge behind a saturated unit."""
    method = str(session["by"])
    session.widget("by", st.segmented_control)

    def show(job: Any) -> None:
        scores = job.result
        _say(planted.finding(scores, PLANTED_METHODS[method]).text)
        st.caption(
            f"This model was built, so its {len(planted_circuit().edge_names())} true edges are known. "
            f"Behind {SATURATED_EDGE} stands a saturated unit: its gradient is 0. ○ missed, × kept but not planted."
        )
        circuit_view(planted.picture(scores), key=f"start-planted-{method}", height=385)

    follow(planted.submit(method), show, waiting="Building a model whose circuit is known ·")
    _open(None, "ground_truth", "Ground truth", known="planted")


def path(session: Session) -> None:
    """5: walking towards the corrupted output, over what the model does there, while an edge's score fills up."""
    task, step = story().path
    card = run_of(story().model, task, "eap-gp", step=step)
    records, picture, edge = results.paths(card), stored_picture(card.run), stored_edge(card.run)
    assert picture is not None and edge is not None, "bundled GradPath runs come with their picture"
    gradpath = records["gradpath"]
    _say(findings.of_path(gradpath).text)
    near = _stays_near(picture)
    figure = path_projection(
        records,
        pair=None,
        averaged=picture.projection,
        background=picture.backgrounds["gradpath" if near else "all"]["metric"],
        current=session["step"],
        focus="gradpath" if near else None,
        dark=dark(),
    )
    window = " Zoomed to GradPath; the straight line goes on to x′ at 1." if near else ""
    read = f"Numbers count the steps; shades show the metric.{window}"
    figure.update_layout(title_subtitle_text="", meta={"read": read})
    step_bar(session, gradpath.n_points - 1, field="step", gauges=_gauges(edge))
    rose = gradpath.rose().any(axis=0)
    aside = f" A step can overshoot: on {rose.sum()} of {rose.size} pairs one did." if rose.any() else ""
    st.caption(plain(f"Bars: the score of {edge.name} so far.{aside}"))
    chart(figure, "start-path", height=300)
    _open(card, "path", "Path", run=card.id)


def _stays_near(picture: Picture) -> bool:
    """Whether GradPath ends so near to x that it could not be seen beside the whole way to x′, and has its own view."""
    reach = float(np.linalg.norm(picture.projection.mean["gradpath"], axis=1).max())
    return reach < NEAR and "gradpath" in picture.backgrounds


def _gauges(edge: EdgeAlongPath) -> list[Gauge]:
    """A bar for each path, on one scale: full is the larger of the scores that are reached."""
    sums = {kind: edge.so_far(kind) for kind in ("straight", "gradpath")}
    full = max(float(np.abs(one).max()) for one in sums.values())
    return [
        Gauge(name_of(kind), style_of(kind).colour, (np.abs(one) / full).tolist(), [number(value) for value in one])
        for kind, one in sums.items()
    ]


def methods(session: Session) -> None:
    """6: which method's small circuits keep more."""
    one = story()
    cards = {short_name(method): run_of(one.model, one.task, method) for method in METHODS}
    _say(verdict(cards, one.judged).text)
    lines = []
    for name, card in cards.items():
        scores = results.attribution(card).scores
        measured = measure.known(card, [circuit_of(card, scores, size, "top-n") for size in measured_sizes(card)])
        assert measured is not None, "bundled runs come with their circuits measured"
        lines.append(band_line(name, measured.selected, measured.band(), measured.kept))
    card = next(iter(cards.values()))
    figure = faithfulness_curves(lines, n_edges=card.graph.n_edges, current=one.judged, dark=dark())
    figure.update_layout(height=420)
    chart(figure, "start-methods")
    if st.button("Try your own sentence", key="start-sentence", type="primary", icon=":material/edit:", help=_TRY):
        st.switch_page(page_file("sentence"))
    _open(None, "compare", "Compare", model=one.model, task=one.task)


def verdict(cards: dict[str, RunInfo], size: int) -> findings.Finding:
    """The best of the methods against the next one, on circuits of one size."""
    each = {}
    for name, card in cards.items():
        measured = measure.known(card, [circuit_of(card, results.attribution(card).scores, size, "top-n")])
        assert measured is not None, "bundled runs come with their circuits measured"
        each[name] = measured
    first, second = sorted(each, key=lambda name: -each[name].faithfulness[0])[:2]
    return findings.of_difference((first, second), each[first], each[second])


QUESTIONS = (
    (
        "A circuit keeps 94 % of the behaviour. What does that say?",
        {
            "a": "It answers 94 % of the prompts right",
            "b": "Alone, it moves the metric 94 % of the way from corrupted to clean",
            "c": "It holds 94 % of the edges",
        },
        "b",
    ),
    (
        "An edge has score 0 by EAP. Does it do nothing?",
        {"a": "Not for sure: a saturated unit hides it from the gradient", "b": "Yes", "c": "Only in large models"},
        "a",
    ),
    (
        "How do you find out whether a small circuit is right?",
        {"a": "By its scores", "b": "By how many heads it has", "c": "By running it and measuring what it keeps"},
        "c",
    ),
)


def questions(session: Session) -> None:
    """Three questions that the page checks."""
    right = sum(session[f"q{place}"] == answer for place, (_, _, answer) in enumerate(QUESTIONS, start=1))
    answered = any(session[f"q{place}"] for place in range(1, len(QUESTIONS) + 1))
    _say(f"{right} of {len(QUESTIONS)} right." if answered else "What did you see? Three questions.")
    for place, (text, offers, answer) in enumerate(QUESTIONS, start=1):
        name = f"q{place}"
        session.widget(
            name,
            st.radio,
            text,
            options=["", *offers],
            format_func=lambda one, offers=offers: offers.get(one, "–"),
            help="Choose one; the page says whether it is right.",
        )
        if session[name]:
            st.caption(":material/check: Right." if session[name] == answer else ":material/close: Not quite.")


def _open(card: RunInfo | None, page: str, label: str, **values: Any) -> None:
    """The link into the page that goes deeper."""
    icon = ":material/open_in_new:"
    if st.button(f"Open this in {label}", key="start-open", type="tertiary", icon=icon, help=_DEEPER):
        if card is not None:
            values = {"run": card.id, **values} if "task" not in values else values
        Session.hand_over(**values)
        st.switch_page(page_file(page))


def _foot(session: Session) -> None:
    """Back, where one is, and on."""
    scene, last = int(session["scene"]), len(SCENES)
    with st.container(horizontal=True, vertical_alignment="center", gap="medium", key="start-foot"):
        icon = ":material/arrow_back:"
        back = st.button("Back", key="start-back", icon=icon, disabled=scene == 1, help="The scene before; key ←.")
        st.caption(plain(f"{scene} of {last} · arrow keys"), width="content")
        icon, off = ":material/arrow_forward:", scene == last
        on = st.button("Next", key="start-next", type="primary", icon=icon, disabled=off, help="The next scene; key →.")
    if back or on:
        session.later(scene=scene + (1 if on else -1))
        st.rerun()
