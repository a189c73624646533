"""One run by several processes: `torchrun --nproc-per-node N -m eapgp attribute …`.

1. Every process loads the model, makes the same prompts and scores each N-th pair.
2. The sums of scores `[src, dst]` are added up in float64 (NCCL on GPUs, gloo elsewhere).
3. What is kept per pair goes to the first process as safetensors bytes; it stores the run.

The result is a run like any other: the request, and so its name, does not depend on N.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapgp.attribution.result import Attribution, PathRecord, path_remarks
from eapgp.errors import OptionError
from eapgp.runs.arrays import ARRAY_FIELDS, Arrays, path_arrays, score_arrays
from eapgp.runs.compute import SPLIT, ModelLoader, Resolved, load_for, remember, resolve, run_attribution
from eapgp.runs.library import RunLibrary
from eapgp.runs.run import Run
from eapgp.runs.spec import RunSpec
from eapgp.types import Progress

PLAIN = "plain"
TIMEOUT = timedelta(hours=24)
PAIR_AXIS = {"used": None, "lengths": 0}
"""Axis of the pairs in a path's arrays, where it is not 1."""


@dataclass(frozen=True)
class Processes:
    """The processes of one torchrun, seen from one of them. `device`: where sums are taken."""

    rank: int
    world: int
    device: str
    bytes_group: Any

    def share(self, n_pairs: int) -> NDArray[np.int64]:
        """Every N-th pair. Errors: OptionError where there are fewer pairs than processes."""
        if n_pairs < self.world:
            raise OptionError(f"pairs: expected at least one per process ({self.world}), got {n_pairs}; use fewer.")
        return np.arange(self.rank, n_pairs, self.world)

    def total(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The sum over all processes, in float64."""
        import torch
        import torch.distributed as dist

        tensor = torch.from_numpy(np.array(values, dtype=np.float64)).to(self.device)
        dist.all_reduce(tensor)
        return np.asarray(tensor.cpu().numpy())

    def decide(self, value: bool) -> bool:
        """The first process's answer, in all of them."""
        import torch
        import torch.distributed as dist

        tensor = torch.tensor([int(value)])
        dist.broadcast(tensor, 0, group=self.bytes_group)
        return bool(tensor.item())

    def gather(self, arrays: Arrays) -> list[Arrays]:
        """Every process's arrays in the first process, by rank; nothing in the others."""
        from safetensors.numpy import load, save

        packed = {name: np.ascontiguousarray(values) for name, values in arrays.items()}
        if self.rank:
            self._send(save(packed))
            return []
        return [packed, *(load(self._receive(rank)) for rank in range(1, self.world))]

    def _send(self, data: bytes) -> None:
        import torch
        import torch.distributed as dist

        dist.send(torch.tensor([len(data)]), 0, group=self.bytes_group)
        dist.send(torch.from_numpy(np.frombuffer(data, dtype=np.uint8).copy()), 0, group=self.bytes_group)

    def _receive(self, rank: int) -> bytes:
        import torch
        import torch.distributed as dist

        size = torch.zeros(1, dtype=torch.int64)
        dist.recv(size, rank, group=self.bytes_group)
        data = torch.zeros(int(size.item()), dtype=torch.uint8)
        dist.recv(data, rank, group=self.bytes_group)
        return data.numpy().tobytes()


@contextmanager
def processes(device: str) -> Iterator[Processes]:
    """Join the other processes of this torchrun, and leave them at the end."""
    import torch
    import torch.distributed as dist

    on_gpu = device.startswith("cuda")
    if on_gpu:
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if on_gpu else "gloo", timeout=TIMEOUT)
    try:
        group = dist.new_group(backend="gloo", timeout=TIMEOUT) if on_gpu else None
        yield Processes(dist.get_rank(), dist.get_world_size(), device if on_gpu else "cpu", group)
    finally:
        dist.destroy_process_group()


def own_device(device: str) -> str:
    """`auto` and `cuda` become this process's own GPU; anything else stays.

    Errors: OptionError where this machine has fewer GPUs than processes, and for `split`: every process
    would take every GPU.
    """
    import torch

    if device == SPLIT:
        raise OptionError(
            "device: expected one for each process, got 'split', which takes all GPUs; leave out torchrun or split."
        )
    if device not in ("auto", "cuda") or (device == "auto" and not torch.cuda.is_available()):
        return "cpu" if device == "auto" else device
    local = int(os.environ["LOCAL_RANK"])
    if local >= torch.cuda.device_count():
        raise OptionError(
            f"device: expected a GPU for each process, got {torch.cuda.device_count()}; lower --nproc-per-node."
        )
    return f"cuda:{local}"


def compute_together(
    spec: RunSpec,
    *,
    library: RunLibrary,
    progress: Progress | None = None,
    use_cache: bool = True,
    model_loader: ModelLoader | None = None,
) -> Run | None:
    """The run of a spec, computed by all processes; None in all but the first.

    Errors: as `compute_run`. A process that fails ends; torchrun then ends the others.
    """
    spec = replace(spec, device=own_device(spec.device))
    resolved = resolve(spec)
    with processes(spec.device) as pool:
        model = load_for(spec, model_loader, progress)
        resolved = resolved.for_model(model)
        request = resolved.request(model)
        stored = library.find(request) if use_cache and pool.rank == 0 else None
        if pool.decide(stored is not None):
            return stored
        if pool.rank == 0:
            library.check_writable()
        attribution = _attribution(resolved, model, pool, progress)
    if attribution is None:
        return None
    remember(library.home, spec, model)
    return library.save(
        attribution, request, resolved.prompts, device=str(model.device), spec=spec, replace=not use_cache
    )


def _attribution(resolved: Resolved, model: Any, pool: Processes, progress: Progress | None) -> Attribution | None:
    own = run_attribution(resolved, model, progress=progress, pool=pool)
    own_messages = list(_without_remarks(own))
    plain = {"messages": own_messages, "passes": [own.forward_passes, own.backward_passes, own.reference_passes]}
    text = np.frombuffer(json.dumps(plain).encode(), dtype=np.uint8)
    arrays = {name: values for name, values in score_arrays(own).items() if name not in ("scores", "node_scores")}
    parts = pool.gather({**arrays, **path_arrays(own), PLAIN: text})
    return join(own, parts) if parts else None


def _without_remarks(result: Attribution) -> Iterator[str]:
    """What was said on the way, without what is said about the paths of this share alone."""
    remarks = path_remarks(result.paths)
    return (message for message in result.messages if message not in remarks)


def join(first: Attribution, parts: Sequence[Arrays]) -> Attribution:
    """One result from the parts of all processes, in the order of the prompts. Scores are shared already."""
    plain = [json.loads(part[PLAIN].tobytes()) for part in parts]
    sizes = np.array([len(part["metric_clean"]) for part in parts])
    passes = np.average([entry["passes"] for entry in plain], axis=0, weights=sizes)
    paths = {name: _join_path(name, record, parts) for name, record in first.paths.items()}
    said = dict.fromkeys(message for entry in plain for message in entry["messages"])
    provenance = first.provenance | {"processes": len(parts)}
    return replace(
        first,
        scores=replace(first.scores, provenance=provenance),
        metric_clean=_interleave([part["metric_clean"] for part in parts]),
        metric_corrupted=_interleave([part["metric_corrupted"] for part in parts]),
        right=None if first.right is None else _interleave([part["right"] for part in parts]),
        pair_scores=None if first.pair_scores is None else _interleave([part["pair_scores"] for part in parts]),
        completeness={
            name: _interleave([part[f"completeness/{name}"] for part in parts]) for name in first.completeness
        },
        paths=paths,
        forward_passes=float(passes[0]),
        backward_passes=float(passes[1]),
        reference_passes=float(passes[2]),
        messages=(*said, *path_remarks(paths)),
    )


def _join_path(name: str, record: PathRecord, parts: Sequence[Arrays]) -> PathRecord:
    joined: dict[str, Any] = {}
    for field in ARRAY_FIELDS:
        axis = PAIR_AXIS.get(field, 1)
        values = [part[f"{name}/{field}"] for part in parts if f"{name}/{field}" in part]
        if not values:
            joined[field] = None
        elif axis is None:
            joined[field] = values[0]
        else:
            joined[field] = _interleave(_padded(values) if field == "points" else values, axis)
    return PathRecord(kind=record.kind, **joined)


def _padded(values: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    """`[point, pair, pos, d_model]` all filled with zeros to the longest position."""
    longest = max(part.shape[2] for part in values)
    return [np.pad(part, ((0, 0), (0, 0), (0, longest - part.shape[2]), (0, 0))) for part in values]


def _interleave(parts: Sequence[NDArray[Any]], axis: int = 0) -> NDArray[Any]:
    """Undo `Processes.share`: part r holds the pairs r, r + N, r + 2N, …"""
    moved = [np.moveaxis(part, axis, 0) for part in parts]
    out = np.empty((sum(len(part) for part in moved), *moved[0].shape[1:]), dtype=moved[0].dtype)
    for rank, part in enumerate(moved):
        out[rank :: len(parts)] = part
    return np.ascontiguousarray(np.moveaxis(out, 0, axis))
