"""A run whose model's weights have changed is measured nowhere: every way to its circuits and readings refuses."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eapgp.circuits.circuit import Circuit
from eapgp.circuits.select import select
from eapgp.errors import ModelError
from eapgp.models.catalogue import demo_folder
from eapgp.models.checkpoint import ORIGIN_FILE
from eapgp.models.model import Model
from eapgp.runs.compute import compute_run, load_run_model
from eapgp.runs.evaluate import Question, evaluate_run
from eapgp.runs.info import RunInfo
from eapgp.runs.library import RunLibrary
from eapgp.runs.run import Run
from eapgp.runs.spec import RunSpec
from eapgp.ui.faithfulness import jobs as faithfulness
from eapgp.ui.jobs import server
from eapgp.ui.jobs.workshop import Workshop, attribution_work, circuits_work
from eapgp.ui.library import measure
from eapgp.ui.parts import node_jobs
from eapgp.ui.path import jobs as path_jobs
from eapgp.ui.path.plane import plane_of, plane_work, point_work

CHANGED = "the model has changed: compute the run again"
LANE = "changed"


def quiet(phase: str, fraction: float) -> None:
    """A job that nobody cancels."""


def alter(folder: Path) -> None:
    """Scale one matrix of a model's folder."""
    from safetensors.numpy import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    name = next(name for name, values in sorted(weights.items()) if values.ndim == 2)
    save_file({**weights, name: weights[name] * 1.5}, folder / "model.safetensors", metadata={"format": "pt"})


@dataclasses.dataclass(frozen=True)
class Altered:
    """A run, its model's folder changed after it, and a workshop that had loaded the model before."""

    run: Run
    shop: Workshop

    @property
    def card(self) -> RunInfo:
        return RunInfo(self.run, False)

    @property
    def circuit(self) -> Circuit:
        return select(self.run.scores(), n=20)


@pytest.fixture(scope="module")
def altered(tmp_path_factory: pytest.TempPathFactory) -> Altered:
    home = tmp_path_factory.mktemp("changed")
    shutil.copytree(demo_folder(), home / "model")
    shop, library = Workshop(), RunLibrary(home)
    spec = RunSpec(
        model=str(home / "model"), task="ioi", n_pairs=2, method="eap-ig", options={"steps": 2}, device="cpu"
    )
    run = compute_run(spec, library=library, model_loader=lambda name, **how: shop.model(LANE, name, **how))
    assert load_run_model(run).weights_hash == run.request["model"]["weights_hash"], "as computed it is accepted"
    alter(home / "model")
    return Altered(run, shop)


def plane(it: Altered) -> Any:
    records = it.run.attribution().paths
    return plane_work(it.shop, LANE, it.run, plane_of(records, 0, None), objective="all")(quiet)


def points(it: Altered) -> Any:
    records = it.run.attribution().paths
    return point_work(it.shop, LANE, it.run, records["straight"], 0, None)(quiet)


DIRECT: dict[str, Callable[[Altered], Any]] = {
    "eapgp evaluate": lambda it: evaluate_run(it.run, Question(sizes=(20,)), save=False),
    "a model kept by the server": lambda it: it.shop.model_of(LANE, it.run),
    "the circuit on screen": lambda it: it.shop.runner(LANE, it.run, quiet),
    "a faithfulness curve": lambda it: circuits_work(it.shop, LANE, it.run, [it.circuit], keep=True)(quiet),
    "random circuits": lambda it: faithfulness.baseline_work(it.shop, LANE, it.run, [20])(quiet),
    "evidence on a circuit": lambda it: faithfulness.evidence_work(it.shop, LANE, it.run, it.circuit)(quiet),
    "the path's plane": plane,
    "the path's points": points,
}
SUBMITTED: dict[str, Callable[[Altered], str]] = {
    "the circuit on screen": lambda it: measure.submit_circuits(it.card, [it.circuit], "circuit"),
    "check by patching": lambda it: measure.submit_edges(it.card, it.circuit.edge_names()[:2]),
    "direct contributions": lambda it: node_jobs.submit_direct(it.card),
    "attention": lambda it: node_jobs.submit_pattern(it.card, "a0.h0", 0),
    "promoted tokens": lambda it: node_jobs.submit_promoted(it.card, "m0", None),
    "the path's tokens": lambda it: path_jobs.submit_tokens(it.card, 0),
}


@pytest.mark.parametrize("way", DIRECT)
def test_it_is_refused(way: str, altered: Altered) -> None:
    with pytest.raises(ModelError, match=CHANGED):
        DIRECT[way](altered)


@pytest.mark.parametrize("way", SUBMITTED)
def test_a_job_of_the_dashboard_fails_and_says_why(way: str, altered: Altered) -> None:
    job = server.manager().wait(SUBMITTED[way](altered), 60.0)
    assert job is not None and job.state == "failed" and CHANGED in job.message


def test_a_run_asked_for_again_is_scored_on_the_model_as_it_is_now(altered: Altered) -> None:
    library = RunLibrary(altered.run.path.parent.parent)
    assert altered.run.spec is not None
    again = attribution_work(altered.shop, LANE, altered.run.spec, library)(quiet)
    assert again != altered.run.id
    assert library.open(again).request["model"]["weights_hash"] != altered.run.request["model"]["weights_hash"]


@pytest.mark.parametrize("kept", [True, False])
def test_weights_that_the_library_knows_are_not_hashed_again_until_they_change(
    kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kept: by this program, whose models are known by their files' size and times; others by what the files hold."""
    monkeypatch.setenv("EAPGP_MODELS", str(tmp_path / "models"))
    folder = tmp_path / ("models" if kept else "elsewhere") / "copy"
    shutil.copytree(demo_folder(), folder)
    (folder / ORIGIN_FILE).write_text(json.dumps({"of": "a test"}), encoding="utf-8")
    hashed: list[str] = []
    whole = Model._hash_of_weights

    def counted(model: Model) -> str:
        hashed.append(whole(model))
        return hashed[-1]

    monkeypatch.setattr(Model, "_hash_of_weights", counted)
    library = RunLibrary(tmp_path / "home")

    def weights(method: str) -> str:
        spec = RunSpec(model=str(folder), task="ioi", n_pairs=2, method=method, device="cpu")
        return str(compute_run(spec, library=library).request["model"]["weights_hash"])

    first = [weights("eap"), weights("clean-corrupted")]
    assert first == [hashed[0]] * 2 and len(hashed) == 1
    file = folder / "model.safetensors"
    before = file.stat()
    alter(folder)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))  # as old as it was, and as long
    assert file.stat().st_size == before.st_size
    assert weights("eap") == hashed[-1] != first[0] and len(hashed) == 2
