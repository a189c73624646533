"""Several processes of torchrun on one run: the same numbers as one process, stored once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eapgp.cli import main
from eapgp.cli.output import launched
from eapgp.errors import OptionError
from eapgp.runs import RunLibrary, RunSpec, compute_run
from eapgp.runs.compute import resolve, run_attribution
from eapgp.runs.distributed import Processes, _interleave, own_device

ROOT = Path(__file__).resolve().parent.parent
CASES: dict[str, dict[str, Any]] = {
    "eap-gp": {"options": {"steps": 2}, "keep_pairs": True},
    "eap-gp-conductance": {"options": {"steps": 2, "step": "unit", "norm": "batch"}},
    "mask-ig-refined": {"options": {"steps": 1}},
    "eap": {"intervention": "mean"},
}


@pytest.fixture(scope="module")
def model() -> Any:
    from eapgp.models.load import load_model

    return load_model("demo", device="cpu")


def spec_of(method: str, **changes: Any) -> RunSpec:
    return RunSpec(task="ioi", n_pairs=5, method=method, batch_size=2, device="cpu", **{**CASES[method], **changes})


class InTurn:
    """Processes that run one after the other: sums are noted in the first rounds and handed out in the last."""

    def __init__(self, world: int) -> None:
        self.world, self.rank, self.place = world, 0, 0
        self.sums: list[list[Any]] = []

    def share(self, n_pairs: int) -> Any:
        self.place = 0
        return Processes(self.rank, self.world, "cpu", None).share(n_pairs)

    def total(self, values: Any) -> Any:
        while len(self.sums) <= self.place:
            self.sums.append([None] * self.world)
        self.sums[self.place][self.rank] = values
        known = [part for part in self.sums[self.place] if part is not None]
        self.place += 1
        return sum(known)


def assert_close(found: Any, expected: Any) -> None:
    scale = np.nanmax(np.abs(expected))
    assert found.shape == expected.shape
    assert np.allclose(found, expected, atol=1e-5 * scale, rtol=1e-5, equal_nan=True)


@pytest.mark.parametrize("method", list(CASES))
def test_shares_together_give_the_scores_of_one_process(method: str, model: Any) -> None:
    """Each share is scored in turn until the sums settle: a round needs the sums of the one before."""
    resolved = resolve(spec_of(method))
    single, pool = run_attribution(resolved, model), InTurn(2)
    from eapgp.attribution.registry import METHODS

    norms = 2 if METHODS[method].survey(METHODS[method].every_option(CASES[method].get("options", {}))) else 0
    for _ in range(METHODS[method].rounds + norms + 1):
        for rank in range(2):
            pool.rank = rank
            result = run_attribution(resolved, model, pool=pool)
    assert_close(result.scores.values, single.scores.values)
    assert_close(result.node_scores, single.node_scores)
    assert result.provenance["n_pairs"] == 5 and len(result.metric_clean) == 2


def torchrun(tmp_path: Path, n: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(n), "-m", "eapgp"]
    environment = {**os.environ, "EAPGP_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
    return subprocess.run([*line, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=500)


def test_torchrun_with_two_processes_equals_one(tmp_path: Path, model: Any) -> None:
    options = ["--method", "eap-gp", "--steps", "2", "--pairs", "5", "--keep-pairs", "--batch-size", "2"]
    done = torchrun(tmp_path, 2, "attribute", *options, "--device", "cpu", "--json", "--quiet")
    assert done.returncode == 0, done.stderr[-3000:]
    reply = json.loads(done.stdout)  # one object: only the first process answers
    assert reply["n_pairs"] == 5 and not reply["cached"]
    library = RunLibrary(tmp_path / "home")
    run = library.open(reply["id"])
    run.verify()
    assert len(library.list()) == 1
    together = run.attribution()
    spec = spec_of("eap-gp")
    alone = compute_run(spec, library=RunLibrary(tmp_path / "alone"), model_loader=lambda name, **how: model)
    assert alone.id == run.id, "the number of processes is no part of the request"
    single = alone.attribution()
    assert_close(together.scores.values, single.scores.values)
    assert_close(together.metric_clean, single.metric_clean)
    assert_close(together.metric_corrupted, single.metric_corrupted)
    assert_close(together.pair_scores, single.pair_scores)
    assert together.paths.keys() == single.paths.keys()
    for name, record in single.paths.items():
        other = together.paths[name]
        for field in ("output_distance", "metric", "destination_gradient"):
            assert_close(getattr(other, field), getattr(record, field))
        real = np.arange(record.points.shape[2]) < record.lengths[:, None]  # what padding holds is of no account
        assert_close(other.points[:, real], record.points[:, real])
        assert (other.lengths == record.lengths).all() and (other.used == record.used).all()
    assert (together.forward_passes, together.backward_passes) == (single.forward_passes, single.backward_passes)
    assert together.messages == single.messages


def test_a_share_is_every_nth_pair_and_never_empty() -> None:
    shares = [Processes(rank, 3, "cpu", None).share(8) for rank in range(3)]
    assert [list(share) for share in shares] == [[0, 3, 6], [1, 4, 7], [2, 5]]
    values = np.arange(16).reshape(2, 8)
    assert (_interleave([values[:, share] for share in shares], 1) == values).all()
    with pytest.raises(OptionError, match=r"at least one per process \(3\), got 2"):
        Processes(0, 3, "cpu", None).share(2)


def test_a_split_model_is_not_shared_out_too() -> None:
    with pytest.raises(OptionError, match="leave out torchrun or split"):
        own_device("split")


def test_split_asks_for_a_device_map_and_gives_the_same_scores(tmp_path: Path) -> None:
    """Without a GPU all layers land on the CPU; what is asked of the loader is checked, and that it works."""
    from eapgp.models import load_model

    asked: list[dict[str, Any]] = []

    def load(name: str, **how: Any) -> Any:
        asked.append(how)
        return load_model(name, **how)

    spec = RunSpec(task="ioi", n_pairs=3, method="eap", device="split")
    split = compute_run(spec, library=RunLibrary(tmp_path / "split"), model_loader=load)
    whole = compute_run(replace(spec, device="cpu"), library=RunLibrary(tmp_path / "whole"))
    assert [how["device_map"] for how in asked] == ["auto"]
    assert split.id == whole.id, "the device is no part of the request"
    assert_close(split.scores().values, whole.scores().values)


def test_torchrun_of_another_command_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not launched()
    for name, value in (("WORLD_SIZE", "2"), ("RANK", "1"), ("LOCAL_RANK", "1"), ("MASTER_ADDR", "localhost")):
        monkeypatch.setenv(name, value)
    assert launched()
    assert main(["runs", "list"]) == 2
    assert "torchrun: expected one of attribute, exact, got runs" in capsys.readouterr().err
