"""What pages call: shared objects of the server, cached results, and the starting of jobs.

Pages read widgets, call one function here, and draw. Nothing in this module loads a model in the
script thread.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from eapgp.attribution.result import Attribution, PathRecord
from eapgp.circuits.circuit import Circuit
from eapgp.runs.bundled import examples_folder
from eapgp.runs.library import RunLibrary
from eapgp.runs.run import open_run
from eapgp.runs.spec import RunSpec
from eapgp.ui import work
from eapgp.ui.jobs import JobManager, JobView, Progress
from eapgp.ui.prompts_store import KeptPrompts, PromptStore
from eapgp.ui.settings import intervention_names, metric_of, spec_of
from eapgp.ui.shelf import Card, Shelf, asked_key
from eapgp.ui.work import with_gradients

Floats = NDArray[np.floating[Any]]
_ORDER = {name: i for i, name in enumerate(("eap", "clean-corrupted", "eap-ig", "eap-gp", "exact", "random"))}
POINTS_AT_ONCE = 100_000  # edges up to which the points of a path are told apart for all edges at once
WARM_UP_AFTER = 1.5  # seconds after the first page was made, when its picture is drawn
SMALL_MODEL = 200_000_000  # parameters up to which the live readout may keep a copy of its own


@st.cache_resource(max_entries=1, show_spinner=False)
def manager() -> JobManager:
    """The server's job manager."""
    return JobManager()


@st.cache_resource(max_entries=1, show_spinner=False)
def workshop() -> work.Workshop:
    """The models and circuit runners that the jobs keep."""
    return work.Workshop()


@st.cache_resource(max_entries=1, show_spinner=False)
def shelf() -> Shelf:
    """The bundled examples and the user's library."""
    return Shelf(RunLibrary(), examples_folder())


@st.cache_resource(max_entries=32, show_spinner=False)
def _attribution(path: str, run_id: str) -> Attribution:
    return open_run(path).attribution()


def attribution(card: Card) -> Attribution:
    """The result of a run, read once and kept (32 at most)."""
    return _attribution(str(card.run.path), card.id)


def correlations(a: Card, b: Card) -> tuple[float, float, int]:
    """Pearson's and Spearman's correlation of two runs' scores and over how many edges, taken once (64 at most)."""
    return _correlations((a.id, str(a.run.path)), (b.id, str(b.run.path)))


@st.cache_data(max_entries=64, show_spinner=False)
def _correlations(a: tuple[str, str], b: tuple[str, str]) -> tuple[float, float, int]:
    from eapgp.figures.numbers import correlations, edge_values

    first, second = (_attribution(path, run_id).scores for run_id, path in (a, b))
    return correlations(edge_values(first), edge_values(second))


def kept_prompts(card: Card) -> KeptPrompts:
    """The prompts of a run as a kept file, for runs whose prompts no task makes.

    Errors: RunError, PromptError or FormatError where they cannot be read or kept.
    """
    store, spec = PromptStore(shelf().library.home), card.run.spec
    known = store.at(spec.prompts_file) if spec is not None and spec.prompts_file else None
    return known or store.add(card.run.prompts())


def question(values: Mapping[str, Any]) -> tuple[RunSpec, str]:
    """The spec that the settings ask for, and the key under which its answer is found."""
    from eapgp.runs.compute import resolve_options

    spec = spec_of(values)
    return spec, asked_key(spec, metric=metric_of(values), options=resolve_options(spec))


def lane_of(spec: RunSpec) -> str:
    """The lane of long jobs: one per device."""
    return "cpu" if spec.device in ("auto", "cpu") else spec.device


def submit_run(spec: RunSpec, label: str) -> str:
    """Start (or join) the computation of a run; the job's result is the run's id."""
    lane = lane_of(spec)
    job = work.attribution_work(workshop(), lane, spec, shelf().library)
    return manager().submit(f"run-{spec.key()}", label, job, lane=lane)


def submit_circuits(card: Card, circuits: Sequence[Circuit], label: str, *, slot: str | None = None) -> str:
    """Start (or join) the running of circuits; the job's result is a `work.Measured`.

    Circuits that were measured when a bundled example was made are answered from its folder.
    """
    stored = stored_measure(card, circuits)
    if stored is not None:
        return manager().submit(f"stored-{card.id}-{stored.selected}", label, lambda progress: stored, lane="stored")
    digest = hashlib.sha256(card.id.encode())
    for circuit in circuits:
        digest.update(circuit.edges.tobytes())
    lane = _live_lane(card)
    job = work.measure_work(workshop(), lane, card.run, circuits)
    return manager().submit(f"circuits-{digest.hexdigest()[:20]}", label, job, lane=lane, slot=slot)


def stored_measure(card: Card, circuits: Sequence[Circuit]) -> work.Measured | None:
    """What an example's folder says about these circuits, where it knows all of them."""
    stored = _stored(str(card.run.path), card.id) if card.example else {}
    rows = {int(row["n"]): row for row in stored.get("circuits", ())}
    found = []
    for circuit in circuits:
        row = rows.get(circuit.n_selected)
        if row is None or row["kept"] != circuit.n_kept or circuit.name != f"top {circuit.n_selected}":
            return None
        found.append(row["metric"])
    return work.measured_before(found, stored["metric_clean"], stored["metric_corrupted"], circuits)


def warm_up(card: Card) -> None:
    """Make a small model ready to run circuits of a run, soon after the first picture: the first change of size waits
    for seconds otherwise. `EAPGP_WARM_UP=0` leaves it to the first change.
    """
    if os.environ.get("EAPGP_WARM_UP", "1") != "0" and runs_at_once(card.model):
        _warm_up(card.model, card)


@st.cache_resource(max_entries=8, show_spinner=False)
def _warm_up(model: str, _card: Card) -> bool:
    lane, shop, jobs = _live_lane(_card), workshop(), manager()

    def work(progress: Progress) -> None:
        shop.runner(lane, _card.run, progress)

    def start() -> None:
        jobs.submit(f"ready-{_card.id}", f"getting {model} ready", with_gradients(work), lane=lane)

    timer = threading.Timer(WARM_UP_AFTER, start)
    timer.daemon = True
    timer.start()
    return True


@st.cache_resource(max_entries=64, show_spinner=False)
def _stored(path: str, run_id: str) -> dict[str, Any]:
    from eapgp.training.examples import MEASURED

    return dict(open_run(path).evaluation().get(MEASURED, {}))


def submit_edges(card: Card, names: Sequence[str]) -> str:
    """Start (or join) the patching of single edges, one at a time."""
    circuits = work.without_edge(Circuit.full(card.graph), names)
    return submit_circuits(card, circuits, f"patching {len(names)} edges of {card.task}")


def _live_lane(card: Card) -> str:
    spec = card.run.spec
    return live_lane(card.model, spec or RunSpec())


def live_lane(model: str, spec: RunSpec | None = None) -> str:
    """The lane of quick readouts: one of its own for small models, else that of the long jobs."""
    from eapgp.models.catalogue import find_model

    entry = find_model(model)
    small = entry is not None and entry.parameters <= SMALL_MODEL
    return "live" if small else lane_of(spec or RunSpec())


def runs_at_once(model: str) -> bool:
    """Whether a page may run a model unasked: it is small and needs no download."""
    from eapgp.models.catalogue import find_model

    entry = find_model(model)
    return entry is not None and entry.parameters <= SMALL_MODEL and at_hand(model)


def at_hand(model: str) -> bool:
    """Whether a model can be loaded without the network: bundled, a folder, or fetched before."""
    from eapgp.models.catalogue import find_model

    entry = find_model(model)
    if (entry is not None and entry.source == "bundled") or Path(model).expanduser().is_dir():
        return True
    source = entry.source if entry is not None else model
    if source.count("/") != 1:
        return False
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(source, "config.json"), str)


def weights_of(card: Card) -> str:
    """Hash of the weights that a run was made with."""
    return str(card.run.request["model"].get("weights_hash", ""))


def comparable(card: Card) -> list[Card]:
    """Runs of the same model, prompts, metric and intervention (this one included), one per variant of a method."""
    found: dict[tuple[str, str], Card] = {}
    for other in [card, *sorted(shelf().cards(), key=lambda one: one.example)]:
        same = other.prompts_hash == card.prompts_hash and other.metric == card.metric and other.graph == card.graph
        same = same and other.intervention == card.intervention
        if same and other.model == card.model and weights_of(other) == weights_of(card):
            found.setdefault((other.method, str(sorted(other.options.items()))), other)
    return sorted(found.values(), key=lambda one: (_ORDER.get(one.method, 99), str(one.options)))


def bootstrap_band(result: work.Measured) -> tuple[Floats, Floats]:
    """`[circuit]` ends of the 95 % interval of faithfulness over prompt pairs drawn with replacement."""
    from eapgp.evaluation.statistics import bootstrap_ratio

    band = bootstrap_ratio(result.runs.metric, result.runs.metric_clean, result.runs.metric_corrupted)
    return np.asarray(band.low, dtype=np.float64), np.asarray(band.high, dtype=np.float64)


def weakness(result: work.Measured) -> str:
    """Why faithfulness on these pairs says little; empty where it does not."""
    from eapgp.evaluation.statistics import bootstrap_ratio

    return bootstrap_ratio(result.runs.metric, result.runs.metric_clean, result.runs.metric_corrupted).reason


def job(job_id: str) -> JobView | None:
    """A job as it is now."""
    return manager().view(job_id) if job_id else None


def session_slot(place: str) -> str:
    """A name for one place of this browser session, for jobs of which only the newest counts."""
    from streamlit.runtime.scriptrunner import get_script_run_ctx

    context = get_script_run_ctx()
    return f"{context.session_id if context else 'none'}:{place}"


def with_method(spec: RunSpec, method: str, options: Mapping[str, Any]) -> RunSpec:
    """The same question with another method, by patching where the method allows nothing else."""
    usual = RunSpec().intervention
    intervention = spec.intervention if spec.intervention in intervention_names(method) else usual
    return replace(spec, method=method, options=dict(options), intervention=intervention)


def path_sources(card: Card) -> dict[str, Card]:
    """Which run each path comes from: the run itself, and one of the other kind on the same prompts.

    The other run is one of the same number of steps; GradPath is the one by the relative step.
    """
    found = dict.fromkeys(attribution(card).paths, card)
    for kind, method in {"straight": "eap-ig", "gradpath": "eap-gp"}.items():
        for other in comparable(card) if kind not in found else ():
            fits = other.options.get("steps") == card.options.get("steps") and other.method == method
            fits = fits and other.options.get("step", "relative") == "relative"
            if fits and other.has_path and kind in attribution(other).paths:
                found.setdefault(kind, other)
    return {kind: found[kind] for kind in ("gradpath", "straight") if kind in found}


def paths(card: Card) -> dict[str, PathRecord]:
    """The paths of a run, with the straight line or GradPath of a run on the same prompts beside it."""
    return {kind: attribution(source).paths[kind] for kind, source in path_sources(card).items()}


def submit_plane(card: Card, records: Mapping[str, PathRecord], pair: int | None, *, focus: str | None = None) -> str:
    """Start (or join) the evaluation of the plane behind a picture; result: name → `Background`."""
    from eapgp.ui.plane import plane_of, plane_work

    lane, plane = _live_lane(card), plane_of(records, pair, focus)
    objective = str(card.options.get("objective", "all"))
    job = plane_work(workshop(), lane, card.run, plane, objective=objective)
    label = "plane of the average" if pair is None else f"plane of pair {pair + 1}"
    return manager().submit(f"plane-{card.id}-{objective}-{plane.key}", label, job, lane=lane)


def point_job(card: Card, kind: str, pair: int | None, edge: str) -> str:
    """Key of the job that tells apart what each point of a run's path adds to an edge's score."""
    destination = edge.split("->")[1] if card.graph.n_edges > POINTS_AT_ONCE else "all"
    return f"points-{card.id}-{kind}-{'mean' if pair is None else pair}-{destination}"


def submit_points(card: Card, kind: str, pair: int | None, edge: str) -> str:
    """Start (or join) it; result: `[point, src, dst]`, or `[point, src, 1]` of the edge's end on large graphs."""
    from eapgp.ui.plane import point_work

    column = card.graph.destination_index(edge.split("->")[1]) if card.graph.n_edges > POINTS_AT_ONCE else None
    lane = _live_lane(card)
    job = point_work(workshop(), lane, card.run, attribution(card).paths[kind], pair, column)
    name = {"gradpath": "GradPath", "straight": "the straight line"}.get(kind, kind)
    return manager().submit(point_job(card, kind, pair, edge), f"points of {name}", job, lane=lane)


def submit_tokens(card: Card, pair: int) -> str:
    """Start (or join) the reading of one pair's clean tokens; result: list of texts."""
    from eapgp.ui.plane import tokens_work

    lane = _live_lane(card)
    return manager().submit(
        f"tokens-{card.id}-{pair}", "tokens", tokens_work(workshop(), lane, card.run, pair), lane=lane
    )
