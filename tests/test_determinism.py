"""The same request on the same machine gives the same bits at the number of threads that its run records.

In full, for every method, at two threads, with other batches and a real torchrun:
`python -m tools.torture --part determinism`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from eapgp.models import load_model
from eapgp.runs import RunLibrary, RunSpec, compute_run
from eapgp.runs.compute import resolve, run_attribution
from eapgp.runs.info import info_of
from tools.torture.determinism import QUICK, ROUNDING, computed, difference


@pytest.fixture(scope="module")
def model() -> Any:
    return load_model("demo", device="cpu")


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def spec_of(method: str, **changes: Any) -> RunSpec:
    return RunSpec(task="ioi", n_pairs=6, method=method, device="cpu", **changes)


def test_a_fresh_process_gives_the_same_bits_and_two_threads_the_same_but_for_rounding(
    model: Any, tmp_path: Path
) -> None:
    there = computed(tmp_path / "scores.npz", QUICK, ("--threads", "1"))
    for method in QUICK:
        torch.set_num_threads(1)
        here = run_attribution(resolve(spec_of(method)), model)
        assert here.provenance["threads"] == 1 == int(there[f"threads/{method}"])
        assert here.scores.values.tobytes() == there[method].tobytes()
        torch.set_num_threads(2)
        two = run_attribution(resolve(spec_of(method)), model)
        assert two.provenance["threads"] == 2
        assert difference(two.scores.values, here.scores.values) <= ROUNDING


@pytest.mark.parametrize("method", QUICK)
def test_batches_change_nothing_but_the_last_digits(method: str, model: Any) -> None:
    whole, small = (run_attribution(resolve(spec_of(method, batch_size=size)), model) for size in (6, 4))
    assert 0 < difference(small.scores.values, whole.scores.values) <= ROUNDING


def test_a_stored_run_says_at_how_many_threads(model: Any, tmp_path: Path) -> None:
    torch.set_num_threads(2)
    run = compute_run(spec_of("eap"), library=RunLibrary(tmp_path), model_loader=lambda name, **how: model)
    assert run.record["provenance"]["threads"] == 2 and info_of(run).machine == "cpu, 2 threads"
    run.record["provenance"] = {"threads": True, "processes": 3}
    assert info_of(run).machine == "cpu, 3 processes"
