"""MIB PT: the circuit track's tensor file.

A dict with `cfg`, `src_nodes`, `dst_nodes`, `edges_scores` and `edges_in_graph` `[src, dst]`,
`nodes_in_graph` `[src]` and, where there are any, `nodes_scores` `[src]`; NaN means unscored.

Such files are zip archives with a pickle inside. Only tensors and plain containers are read
(`weights_only=True`): whatever would need code to be run is refused.
"""

from __future__ import annotations

import io
import pickletools
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eapgp.attribution.result import EdgeScores
from eapgp.circuits.circuit import Circuit
from eapgp.errors import FormatError
from eapgp.formats.common import MAX_POSITIONS, Content, check_unpacked, graph_of_cfg, problem, short
from eapgp.graph import Graph
from eapgp.types import Floats, Ints

REQUIRED = ("cfg", "src_nodes", "dst_nodes", "edges_scores", "edges_in_graph", "nodes_in_graph")
ZIP_START = b"PK\x03\x04"
WORD = 8
"""Bytes of the widest number."""
INTEGERS = ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4")
PICKLES, MAX_STEPS = 5, 300_000
"""Pickles in front of the numbers in a file of the form before zip archives, and steps of them all."""
OVERHEAD, MAX_PICKLE = 2**20, 2**22
"""Room for names and headers; the largest list of node names, which is read to learn the sizes."""


def read(path: Path, data: bytes, graph: Graph | None = None) -> Content:
    """Scores, circuit and node scores of a MIB PT file."""
    _check_size(path, data)
    document = _load(path, data)
    if not isinstance(document, Mapping):
        raise problem(path, f"expected a dict with {', '.join(REQUIRED)}; got {short(type(document).__name__)}.")
    missing = [key for key in REQUIRED if key not in document]
    if missing:
        raise problem(path, f"{', '.join(missing)} missing; expected a dict with {', '.join(REQUIRED)}.")
    own = graph_of_cfg(path, document["cfg"])
    shape = (own.n_sources, own.n_destinations)
    rows = _order(path, "src_nodes", document["src_nodes"], own.sources)
    columns = _order(path, "dst_nodes", document["dst_nodes"], own.destinations)
    scores = _array(path, document, "edges_scores", shape)[np.ix_(rows, columns)]
    in_graph = _array(path, document, "edges_in_graph", shape)[np.ix_(rows, columns)]
    if np.isinf(scores[own.mask]).any():
        raise problem(path, "edges_scores must be finite (NaN means unscored); got an infinite score.")
    _array(path, document, "nodes_in_graph", (own.n_sources,))
    nodes = None
    if document.get("nodes_scores") is not None:
        nodes = _array(path, document, "nodes_scores", (own.n_sources,))[rows]
    return Content(own, np.where(own.mask, scores, 0.0), (in_graph != 0) & own.mask, nodes)


def _check_size(path: Path, data: bytes) -> None:
    """Errors: FormatError where the members unpack to more than a graph of the file's cfg can need."""
    if not data.startswith(ZIP_START):
        _check_pickles(path, data)  # the form before zip archives, which is not compressed
        return
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            pickled = [member for member in members if member.filename.rpartition("/")[2] == "data.pkl"]
            small = len(pickled) == 1 and pickled[0].file_size <= MAX_PICKLE
            limit = _limit(archive.read(pickled[0])) if small else 0
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError, zlib.error) as error:
        raise problem(path, f"refused: not a readable PyTorch archive ({short(str(error))}).") from None
    check_unpacked(path, sum(member.file_size for member in members), limit)


def _check_pickles(path: Path, data: bytes) -> None:
    """Errors: FormatError where a file's pickles, read but not run, take more steps than names and sizes need."""
    stream, steps = io.BytesIO(data), 0
    try:
        for _ in range(PICKLES):
            for _ in pickletools.genops(stream):
                steps += 1
                if steps > MAX_STEPS:
                    raise problem(path, f"refused before unpickling: more than {MAX_STEPS:,} steps.")
    except FormatError:
        raise
    except Exception:  # what is no pickle at all is told by the reader
        return


def _limit(pickle: bytes) -> int:
    """Bytes that the tensors of the largest graph that a pickle's cfg can mean take, with room for neuron fields."""
    sizes = dict.fromkeys(("n_layers", "n_heads", "d_model"), 0)
    name = ""
    for opcode, argument, _ in pickletools.genops(pickle):
        if isinstance(argument, str) and "UNICODE" in opcode.name:
            name = argument
        elif isinstance(argument, int) and opcode.name in INTEGERS:
            if name in sizes:
                sizes[name] = max(sizes[name], argument)
            name = ""
    n_sources = 1 + sizes["n_layers"] * (sizes["n_heads"] + 1)
    positions = n_sources * (sizes["n_layers"] * (3 * sizes["n_heads"] + 1) + 1)
    return (
        WORD * (min(positions, MAX_POSITIONS) * 2 + min(n_sources * (sizes["d_model"] + 1), MAX_POSITIONS)) + OVERHEAD
    )


def _load(path: Path, data: bytes) -> object:
    import torch

    try:
        with warnings.catch_warnings(action="ignore"):  # advice about pickle protocols; the error says enough
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:
        reason = short(str(error).split("\n")[0], 90)
        raise problem(
            path,
            "refused: not a PyTorch file of plain tensors and containers. Anything else that is pickled could run "
            f"code when it is read; save it as MIB JSON instead ({reason}).",
        ) from None


def _order(path: Path, key: str, names: object, expected: tuple[str, ...]) -> Ints:
    """Where each expected node is in the file's order; a dict of name → index is read too."""
    if isinstance(names, Mapping):
        indices = dict(names)
        names = sorted(indices, key=lambda name: _position(path, key, indices[name], len(expected)))
    if not isinstance(names, Iterable):
        raise problem(path, f"{key} must be a list of node names; got {short(names)}.")
    listed = list(names)
    where = {name: i for i, name in enumerate(listed) if isinstance(name, str)}
    absent = next((name for name in expected if name not in where), None)
    if absent is not None or len(listed) != len(expected):
        lacks = f" ({absent!r} is missing)" if absent is not None else ""
        raise problem(path, f"{key} must name the {len(expected)} nodes of cfg's graph; got {len(listed)}{lacks}.")
    return np.array([where[name] for name in expected], dtype=np.int64)


def _position(path: Path, key: str, index: object, n: int) -> int:
    if not isinstance(index, int):
        raise problem(path, f"{key} must map node names to whole numbers; got {short(index)}.")
    return index % n  # the reference library gives logits the index -1


def _array(path: Path, document: Mapping[str, Any], key: str, shape: tuple[int, ...]) -> NDArray[Any]:
    import torch

    value = document[key]
    dense = (
        isinstance(value, torch.Tensor) and value.layout == torch.strided and not (value.is_meta or value.is_quantized)
    )
    if not dense or value.is_complex():
        raise problem(path, f"{key} must be a dense tensor of numbers; got {short(type(value).__name__)}.")
    if tuple(value.shape) != shape:
        raise problem(path, f"{key} must have the shape {shape} that cfg asks for; got {tuple(value.shape)}.")
    value = value.detach()
    if value.dtype not in (torch.float32, torch.float64, torch.bool):
        value = value.to(torch.float64)
    return value.numpy()


def write(path: Path, scores: EdgeScores, circuit: Circuit, node_scores: Floats | None) -> None:
    """Write scores (in their own precision) with the circuit's membership."""
    import torch

    graph = scores.graph
    members = set(circuit.node_names())
    document: dict[str, object] = {
        "cfg": graph.to_dict(),
        "src_nodes": list(graph.sources),
        "dst_nodes": list(graph.destinations),
        "edges_scores": torch.tensor(scores.values),
        "edges_in_graph": torch.tensor(circuit.edges),
        "nodes_in_graph": torch.tensor([name in members for name in graph.sources]),
    }
    if node_scores is not None:
        document["nodes_scores"] = torch.tensor(node_scores)
    torch.save(document, path)
