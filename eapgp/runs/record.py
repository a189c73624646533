"""What may stand in a run's files: run.json, prompts.json, evaluation.json and meta.json are held against this on read.

Fields that are not named here are kept and not looked at, so that runs of other versions stay readable; what is named
has its type and range. A run's files come from anybody: an archive, another program, an editor.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, create_model, model_validator

from eapgp.errors import OptionError, RunError
from eapgp.graph import Graph
from eapgp.runs.files import REPAIR
from eapgp.runs.spec import RunSpec

MAX_GRAPH_SIDE = 1_000_000
"""Most sources or destinations of a graph."""

Text = Annotated[str, StringConstraints(max_length=100_000)]
Name = Annotated[str, StringConstraints(max_length=4_096)]
Id = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8,64}$")]
Count = Annotated[int, Field(ge=0, lt=2**53)]
Positive = Annotated[int, Field(ge=1, lt=2**53)]
Number = float | None
Amount = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Named = dict[Name, Any]
Texts = Annotated[list[Text], Field(max_length=10_000)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False, extra="ignore", hide_input_in_errors=True)


class _Options(_Part):
    steps: Positive | None = None


class _Model(_Part):
    id: Name
    weights_hash: Name = ""
    tokenizer_hash: Name = ""
    dtype: Name


class _Prompts(_Part):
    hash: Name
    n_pairs: Count


class _Request(_Part):
    model: _Model
    prompts: _Prompts
    task: Name
    metric: Name
    method: Name
    options: Named
    intervention: Name = ""
    seed: int
    keep_pairs: bool = False
    prompting: Named = {}
    selection: Named = {}


class _Sizes(_Part):
    n_layers: Positive
    n_heads: Positive
    parallel_attn_mlp: bool = False
    d_model: Count = 0

    @model_validator(mode="after")
    def _bounded(self) -> _Sizes:
        if self.n_layers * (3 * self.n_heads + 1) >= MAX_GRAPH_SIDE:
            raise ValueError(f"expected a graph of real size, got {self.n_layers} layers of {self.n_heads} heads")
        return self


class _Summary(_Part):
    mean: Number
    pairs: list[Number]


class _Path(_Part):
    kind: Literal["gradpath", "straight"]
    points: Positive


class _File(_Part):
    bytes: Count
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


_ASKED: type[BaseModel] = create_model(
    "_Asked",
    __base__=_Part,
    **{name: (kind, getattr(RunSpec, name, None)) for name, kind in get_type_hints(RunSpec).items()},  # type: ignore[call-overload]
)


class _Record(_Part):
    id: Id
    request: _Request
    spec: dict[str, Any] | None = None
    created: Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d[0-9:.+\-Z]*$", max_length=40)]
    device: Name = ""
    libraries: dict[Name, Name] = {}
    graph: _Sizes
    n_edges: Positive
    method: Name
    options: _Options
    forward_passes: Amount
    backward_passes: Amount
    reference_passes: Amount = 0.0
    seconds: Amount
    messages: Texts = []
    metric_clean: _Summary
    metric_corrupted: _Summary
    accuracy: Share | None = None
    completeness: dict[Name, _Summary] = {}
    paths: dict[Name, _Path] = {}
    provenance: Named = {}
    files: dict[Name, _File]

    @model_validator(mode="after")
    def _agree(self) -> _Record:
        sizes = self.graph
        n_edges = Graph(sizes.n_layers, sizes.n_heads, sizes.parallel_attn_mlp).n_edges
        n_pairs = self.request.prompts.n_pairs
        lengths = {len(one.pairs) for one in (self.metric_clean, self.metric_corrupted, *self.completeness.values())}
        for field, wanted, came in (
            ("method", self.request.method, self.method),
            ("n_edges", n_edges, self.n_edges),
            *(("metric of each pair", f"{n_pairs} numbers", f"{n} numbers") for n in lengths - {n_pairs}),
        ):
            if wanted != came:
                raise ValueError(f"{field}: expected {wanted} as in the rest of the record, got {came}")
        return self


class _Pair(_Part):
    clean: Text
    corrupted: Text
    correct: list[Text | Count]
    incorrect: list[Text | Count]
    note: Text = ""


class _Pairs(_Part):
    task: Name
    metric: Name
    origin: Named = {}
    pairs: list[_Pair]


class _Meta(_Part):
    name: Name = ""
    note: Text = ""


class _Circuits(_Part):
    circuits: dict[Name, Any] | list[Any]
    metric_clean: list[Number]
    metric_corrupted: list[Number]
    messages: Texts = []


def check_record(record: Mapping[str, Any], path: Path) -> None:
    """Errors: RunError naming the first field of run.json that is not as it has to be."""
    _check(_Record, record, path)
    if record["options"] != record["request"]["options"]:
        came = _short(record["options"])
        raise RunError(f"{path}: options: expected those of the request, got {came}; {REPAIR}")
    spec = record.get("spec")
    if spec is not None:
        pairs = spec.get("prompts")
        _check(_ASKED, {**spec, "prompts": tuple(pairs) if isinstance(pairs, list) else pairs}, path, "spec.")
        try:
            RunSpec.from_dict(spec)
        except (OptionError, TypeError, ValueError) as error:
            raise RunError(f"{path}: spec: {error} {REPAIR}") from None


def check_prompts(values: Mapping[str, Any], path: Path) -> None:
    """Errors: RunError naming the first field of prompts.json that is not as it has to be."""
    _check(_Pairs, values, path)


def check_meta(values: Mapping[str, Any], path: Path) -> None:
    """Errors: RunError where the user's name or note is no text."""
    _check(_Meta, values, path)


def check_evaluation(values: Mapping[str, Any], path: Path) -> None:
    """Errors: RunError naming the first evaluation that is not as it has to be."""
    for name, one in values.items():
        if not isinstance(one, dict):
            raise RunError(f"{path}: {_short(name)}: expected an object, got {_short(one)}; {REPAIR}")
        if name.partition("-")[0] == "circuits":
            _check(_Circuits, one, path, f"{name}.")


def _check(kind: type[BaseModel], values: Mapping[str, Any], path: Path, within: str = "") -> None:
    try:
        kind.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        reason = _OBJECT.sub("an object", str(first["msg"]).replace("Input should be", "expected"))
        reason = reason.removeprefix("Value error, ")
        came = "" if first["type"] in ("missing", "value_error") else f", got {_short(_at(values, first['loc']))}"
        where = _line(f"{within}{place}")[:120]
        raise RunError(f"{path}: {f'{where}: ' if where else ''}{_line(reason)}{came}; {REPAIR}") from None


_OBJECT = re.compile(r"a valid dictionary( or instance of \w+)?")


def _at(values: Any, place: tuple[int | str, ...]) -> Any:
    """What stands at a place, as far as it can be followed."""
    for part in place:
        try:
            values = values[part]
        except (KeyError, IndexError, TypeError):
            return values
    return values


def _short(value: Any) -> str:
    text = _line(ascii(value))
    return text if len(text) <= 60 else text[:59] + "…"


def _line(text: str) -> str:
    return " ".join(text.split())
