"""`eapgp attention`: why a head looks from one word at another."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from eapgp.cli.command import DeviceOption, HomeOption, command
from eapgp.cli.output import Output, Reply
from eapgp.cli.sources import RunOption, only_run
from eapgp.numerals import decimal, percent, signed
from eapgp.readings import attention_terms
from eapgp.runs.compute import load_run_model

PANEL = "Weigh the evidence"
EXAMPLES = (
    "eapgp attention --run DIR --node a3.h1",
    "eapgp attention --run DIR --node a3.h1 --pair 2 --query 12 --key 4 --check --json",
)
NodeOption = Annotated[str, typer.Option("--node", help="The head, such as a3.h1.")]
PairOption = Annotated[int, typer.Option(min=1, help="Which prompt pair of the run.")]
QueryOption = Annotated[
    int | None,
    typer.Option(min=0, help="Position that looks, from 0.", show_default="where the answer is read"),
]
KeyOption = Annotated[
    int | None,
    typer.Option(min=0, help="Position that is looked at, from 0.", show_default="the one looked at most"),
]
TopOption = Annotated[int, typer.Option(min=1, help="How many of the largest pairs are listed.")]
CheckFlag = Annotated[
    bool, typer.Option("--check", help="Also corrupt every source in the query and in the key alone, for real.")
]


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    command(app, "attention", examples=EXAMPLES, panel=PANEL)(attention)


def attention(
    out: Output,
    node: NodeOption,
    run: RunOption = None,
    pair: PairOption = 1,
    query: QueryOption = None,
    key: KeyOption = None,
    top: TopOption = 10,
    check: CheckFlag = False,
    device: DeviceOption = None,
    home: HomeOption = None,
) -> Reply:
    """Take one attention logit of a head apart: which nodes, in the query and in the key, make it look there.

    The logit is a sum over pairs of what earlier nodes wrote into the query's and into the key's residual stream, exact
    with the scales of norms as they were; what is left over is told. --check holds it against real changes of sources.
    """
    opened = only_run(run, home)
    with out.progress() as progress:
        model = load_run_model(opened, device=device, progress=progress)
        found = attention_terms(model, opened.prompts(), pair - 1, node, query, key, check=check)
    payload: dict[str, Any] = {"run": str(opened.path), **found.to_dict(top)}
    return Reply(payload, _text(payload))


def _text(payload: dict[str, Any]) -> str:
    from_, to = (f"{payload[side]['token']!r} ({payload[side]['position']})" for side in ("query", "key"))
    lines = [f"{payload['node']} from {from_} to {to}, pair {payload['pair']}:"]
    for side in ("clean", "corrupted"):
        one = payload[side]
        lines.append(
            f"  {side:<10} attention {percent(one['attention'])}, logit {signed(one['logit'])}, of which "
            f"{signed(one['rest'])} belongs to no pair of sources"
        )
    lines += ["", "largest pairs (into the query × into the key): clean, corrupted, difference"]
    for row in payload["terms"]:
        values = "  ".join(f"{signed(row[name]):>8}" for name in ("clean", "corrupted", "difference"))
        lines.append(f"  {row['query']:>8} × {row['key']:<8} {values}")
    for one in payload.get("checks", ()):
        where = {"q": "query", "k": "key"}[one["letter"]]
        agreement = "undefined" if one["agreement"] is None else decimal(one["agreement"])
        lines.append(f"each source corrupted in the {where} alone: correlation with the real change {agreement}")
    if payload["before_soft_cap"]:
        lines.append("logits are those before this model's soft cap.")
    return "\n".join(lines)
