"""`eapgp visitors …`: the libraries of a public server's visitors (`eapgp app --public`)."""

from __future__ import annotations

from typing import Annotated

import typer

from eapgp.cli.command import HomeOption, command
from eapgp.cli.output import Output, Reply, size, table
from eapgp.runs.library import RunLibrary
from eapgp.runs.visitors import VisitorLibrary, remove_older, visitor_libraries


def register(app: typer.Typer) -> None:
    """Add the group to the command line."""
    visitors = typer.Typer(no_args_is_help=True, help="Libraries of a public server's visitors: list, remove old ones.")
    app.add_typer(visitors, name="visitors")
    _list(visitors)
    _remove(visitors)


def _list(visitors: typer.Typer) -> None:
    @command(visitors, "list", examples=("eapgp visitors list --home /srv/eapgp",))
    def list_(out: Output, home: HomeOption = None) -> Reply:
        """List visitors' libraries, the one that was used longest ago first."""
        place = RunLibrary(home).home
        libraries = visitor_libraries(place)
        payload = {"home": str(place), "visitors": [_row(one) for one in libraries]}
        return Reply(payload, _table(libraries) if libraries else f"no visitors' libraries in {place}.")


def _remove(visitors: typer.Typer) -> None:
    @command(visitors, "rm", examples=("eapgp visitors rm --days 30 --dry-run", "eapgp visitors rm --days 30"))
    def remove(
        out: Output,
        days: Annotated[float, typer.Option(min=1, help="Libraries not used for longer than this are deleted.")],
        dry_run: Annotated[bool, typer.Option("--dry-run", help="List them and delete nothing.")] = False,
        home: HomeOption = None,
    ) -> Reply:
        """Delete the libraries of visitors who have not been here for some days; for good, without a trash.

        A server may run meanwhile: opening a page and asking for a job count as use, and a library into which a run
        is being written stays.
        """
        place = RunLibrary(home).home
        old = [one for one in visitor_libraries(place) if one.is_older(days)] if dry_run else remove_older(place, days)
        total = sum(one.bytes for one in old)
        payload = {"home": str(place), "deleted": not dry_run, "bytes": total, "visitors": [_row(one) for one in old]}
        verb = "would be deleted" if dry_run else "deleted"
        return Reply(payload, f"{len(old)} libraries not used for {days:g} days {verb} ({size(total)}) in {place}")


def _row(one: VisitorLibrary) -> dict[str, object]:
    return {"visitor": one.path.name, "days": one.days, "runs": one.runs, "bytes": one.bytes, "writing": one.writing}


def _table(libraries: list[VisitorLibrary]) -> object:
    rows = [
        (one.path.name, "now" if one.writing else f"{one.days:.1f}", f"{one.runs:,}", size(one.bytes))
        for one in libraries
    ]
    return table(("visitor", "days since use", "runs", "size"), rows, right=("days since use", "runs", "size"))
