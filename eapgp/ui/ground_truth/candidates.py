"""The known circuits of the Ground truth page, and the scores that can be held against them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import streamlit as st

from eapgp.attribution.registry import rank
from eapgp.attribution.result import EdgeScores
from eapgp.attribution.usual import COMPARED
from eapgp.circuits.circuit import Circuit
from eapgp.circuits.select import select
from eapgp.errors import EapgpError, one_line
from eapgp.formats import Imported
from eapgp.graph import Graph
from eapgp.ground_truth.compare import Floats, Roc, roc
from eapgp.ground_truth.manual import GROUND_TRUTHS
from eapgp.ground_truth.planted import planted_circuit
from eapgp.ground_truth.roles import Role
from eapgp.runs.info import RunInfo
from eapgp.ui.base.draw import plain
from eapgp.ui.base.session import Session
from eapgp.ui.ground_truth import planted
from eapgp.ui.ground_truth.fields import MOST, PLANTED
from eapgp.ui.library import results
from eapgp.ui.library.circuits import DEFAULT_EDGES
from eapgp.ui.library.score_files import ScoreFile, ScoreFiles

READ_IN = "gpt2"  # the model that the manual circuits were read in


@dataclass(frozen=True)
class KnownCircuit:
    """A circuit that is known, by hand or by construction. task: what it belongs to."""

    name: str
    task: str
    title: str
    source: str
    note: str
    circuit: Circuit
    roles: Mapping[str, Role]

    @property
    def graph(self) -> Graph:
        """The graph of its model."""
        return self.circuit.graph

    @property
    def exact(self) -> bool:
        """Whether it is true by construction."""
        return self.name == PLANTED


@st.cache_resource(max_entries=8, show_spinner=False)
def known_circuit(name: str) -> KnownCircuit:
    """A manual circuit by `task/variant`, or the planted one."""
    if name == PLANTED:
        title = "Planted circuit: true by construction"
        return KnownCircuit(
            PLANTED, planted.TASK, title, planted.SOURCE, planted.NOTE, planted_circuit(), planted.ROLES
        )
    truth = GROUND_TRUTHS[name]
    return KnownCircuit(name, truth.task, truth.title, truth.source, truth.note, truth.circuit, truth.roles)


@dataclass(frozen=True)
class Scored:
    """Scores to hold against a known circuit: of a run or of an imported file. node_scores: `[src]` or None."""

    id: str
    label: str
    task: str
    scores: EdgeScores
    node_scores: Floats | None
    card: RunInfo | None = None
    file: ScoreFile | None = None

    @property
    def content(self) -> str:
        """What is remembered of the scores is remembered by this."""
        return self.id if self.card is None else self.card.run.content


def files() -> ScoreFiles:
    """The imported files of this library."""
    return ScoreFiles(results.shelf().library.home)


@st.cache_resource(max_entries=16, show_spinner="Reading the file …")
def _read(path: str, _file: ScoreFile) -> Imported:
    return _file.read()


def of_file(file: ScoreFile) -> Scored:
    """The scores of an imported file. Errors: FormatError where it was changed since."""
    read = _read(str(file.path), file)
    return Scored(file.id, file.title, file.task, read.scores, read.node_scores, file=file)


def of_card(card: RunInfo) -> Scored:
    """The scores of a run. Node scores are left to the edges, so that runs and files are ranked alike."""
    label = card.title
    if card.run.name and card.run.name != planted.TITLE:
        label += f" · {card.run.name}"
    if card.task != planted.TASK and card.model_title != READ_IN:
        label += f" · {card.model_title}"
    scores = results.attribution(card).scores
    if card.task == planted.TASK:
        scores = planted.without_noise(scores)
    return Scored(card.id, label, card.task, scores, None, card=card)


def candidates(truth: KnownCircuit) -> dict[str, Scored]:
    """Everything that can be held against a known circuit: its model's runs, then files, by id."""
    cards = results.shelf().cards()
    if truth.exact:
        return {card.id: of_card(card) for card in planted.planted_cards(cards)}
    fitting = [card for card in cards if card.graph == truth.graph]
    fitting.sort(key=lambda card: card.task != truth.task)
    by_id = {card.id: of_card(card) for card in fitting}
    for file in files().all():
        try:
            scored = of_file(file)
        except EapgpError as error:
            st.warning(plain(one_line(error)), icon=":material/error:")
            continue
        if scored.scores.graph == truth.graph:
            by_id[scored.id] = scored
    return _told_apart(by_id)


def _told_apart(offers: dict[str, Scored]) -> dict[str, Scored]:
    """Labels that occur twice get the task and the beginning of the id."""
    seen: dict[str, int] = {}
    for scored in offers.values():
        seen[scored.label] = seen.get(scored.label, 0) + 1
    return {
        key: scored
        if seen[scored.label] == 1
        else Scored(**{**vars(scored), "label": f"{scored.label} · {scored.task} · {key.removeprefix('file-')[:6]}"})
        for key, scored in offers.items()
    }


def default_ids(truth: KnownCircuit, offers: Mapping[str, Scored]) -> tuple[str, ...]:
    """Scores of the known circuit's task (all, where none is), as many as a figure shows well.

    Those of untrained models come last.
    """
    of_task = [key for key, scored in offers.items() if scored.task == truth.task]
    usual = {variant.method for variant in COMPARED}

    def place(key: str) -> tuple[bool, bool, int]:
        card = offers[key].card
        method = card.method if card is not None else ""
        untrained = card is not None and card.untrained
        return untrained, method not in usual, rank(method)

    return tuple(sorted(of_task or offers, key=place)[:7])


def choose(session: Session, truth: KnownCircuit, offers: Mapping[str, Scored]) -> list[Scored]:
    """The scores that are compared; the first of them, or the one picked, is drawn."""
    ids = tuple(key for key in session["against"] if key in offers)
    session.settle("against", ids, "ids of runs or files of the known circuit's model")
    session.usual("against", default_ids(truth, offers))
    ids_picked = session.widget(
        "against",
        st.multiselect,
        options=list(offers),
        format_func=lambda key: offers[key].label if key in offers else key,
        max_selections=MOST,
        placeholder="Pick runs or files",
    )
    return [offers[key] for key in ids_picked if key in offers]


def choose_known(session: Session) -> KnownCircuit:
    """The select box of known circuits."""
    session.widget("known", st.selectbox, format_func=lambda name: known_circuit(name).title)
    truth = known_circuit(session["known"])
    session.usual("k", truth.circuit.n_kept if truth.exact else DEFAULT_EDGES)
    return truth


def drawn(session: Session, truth: KnownCircuit, compared: Sequence[Scored]) -> tuple[Scored, int]:
    """Whose circuit is drawn, and its size, which the circuit's own slider sets."""
    by_id = {scored.id: scored for scored in compared}
    session.settle("overlay", session["overlay"] if session["overlay"] in by_id else "", "the id of one of the scores")
    session.usual("overlay", (fitting(truth, compared) or compared)[0].id)
    n_edges = truth.graph.n_edges
    session.settle("k", min(session["k"], n_edges), f"at most {n_edges:,}, the edges of this model")
    session.widget(
        "overlay",
        st.selectbox,
        options=list(by_id),
        format_func=lambda key: by_id[key].label if key in by_id else key,
        width=250,
    )
    size = truth.circuit.n_kept
    if session["k"] != size:
        st.button(
            f"As many as known ({size:,})",
            key="as-many",
            on_click=lambda: session.later(k=size),
            help="Sets k to the number of edges of the known circuit.",
        )
    return by_id[session["overlay"]], int(session["k"])


@st.cache_resource(max_entries=64, show_spinner=False)
def _circuit(content: str, n: int, absolute: bool, _scores: EdgeScores) -> Circuit:
    return select(_scores, n=n, absolute=absolute)


def circuit_at(scored: Scored, k: int, *, signed: bool) -> Circuit:
    """The k best edges, pruned to input→logits paths."""
    return _circuit(scored.content, min(k, scored.scores.graph.n_edges), not signed, scored.scores)


@st.cache_resource(max_entries=128, show_spinner=False)
def _roc(content: str, truth: str, level: str, absolute: bool, mlps: bool, _scored: Scored) -> Roc:
    nodes = _scored.node_scores if level == "nodes" else None
    circuit = known_circuit(truth).circuit
    return roc(_scored.scores, circuit, level=level, absolute=absolute, mlps=mlps, node_scores=nodes)  # type: ignore[arg-type]


def roc_of(scored: Scored, truth: KnownCircuit, level: str, *, signed: bool, mlps: bool) -> Roc:
    """ROC of a ranking against the known circuit, kept."""
    return _roc(scored.content, truth.name, level, not signed, mlps, scored)


def fitting(truth: KnownCircuit, compared: Sequence[Scored]) -> list[Scored]:
    """Scores of the known circuit's task."""
    return [scored for scored in compared if scored.task == truth.task]


def unlike(truth: KnownCircuit, compared: Sequence[Scored]) -> list[Scored]:
    """Scores that speak of another task than the known circuit."""
    return [scored for scored in compared if scored.task and scored.task != truth.task]
