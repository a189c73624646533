"""Roles of heads as they are measured on a run's prompts: in the drawer, as a table, and what the graph says of them.

What takes under two seconds is measured unasked; for the rest a button says what it costs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from eapgp.circuits.circuit import Circuit
from eapgp.numerals import duration, ends, percent
from eapgp.readings.role_table import NO_ROLE
from eapgp.runs.info import RunInfo
from eapgp.ui.base.draw import plain, table_to_pick, written
from eapgp.ui.base.fields import flag
from eapgp.ui.base.session import Session
from eapgp.ui.jobs import server
from eapgp.ui.jobs.follow import follow
from eapgp.ui.jobs.manager import JobView
from eapgp.ui.library import consent
from eapgp.ui.library.circuits import in_short, measured_roles, roles_key
from eapgp.ui.parts import node_jobs

if TYPE_CHECKING:
    from eapgp.readings import HeadRoles, RoleCheck
    from eapgp.readings.roles import Measure

Pick = Callable[[str], None]
IN_LINE = 2  # roles that the line in the drawer names; all are one click away
CHECK_COST = 2.5  # of a role, in circuits' worth: the head as it is, without its attention, and three comparisons
FIELD = flag(
    "roles",
    False,
    "Mark each head in the graph with what it was measured to do on these prompts. Zoom in to read it in the boxes; "
    "the legend names the colours.",
    label="Roles in the graph",
)


def at_head(session: Session, card: RunInfo, node: str) -> None:
    """For the drawer: what a head was measured to do, in one line; numbers and checks unfold below it."""
    if not card.n_pairs or not _wanted(card, key="roles-head"):
        return

    def show(job: JobView) -> None:
        st.caption(f":material/visibility: {_in_one_line(job.result.of(node))}")
        about = "Each role with its interval and what chance would give, and what the model does without it."
        with st.popover(
            "Numbers and a check", key="role-details", type="tertiary", help=about, on_change="rerun"
        ) as box:
            if box.open:
                _details(session, card, node, job.result)

    follow(node_jobs.submit_roles(card), show, waiting="Measuring what heads do ·")


def tab(session: Session, card: RunInfo, circuit: Circuit, pick: Pick) -> None:
    """The heads of the circuit on screen with their roles; a row selects its head."""
    if not card.n_pairs:
        st.caption("This run holds no prompts (it was imported), so nothing can be measured on them.")
        return
    session.widget("roles", st.toggle)
    if not _wanted(card, key="roles-tab"):
        return

    def show(job: JobView) -> None:
        measured: HeadRoles = job.result
        heads = [node for node in circuit.node_names() if node in measured.measures]
        n_with = sum(bool(measured.of(node)) for node in heads)
        st.caption(
            f"{n_with} of the {len(heads)} heads of this circuit have a role on its {measured.n_pairs} pairs, "
            f"measured on the model's own runs; a head with none is said to have {NO_ROLE}. Select a row for its head, "
            "and there for a check of the role."
        )
        if heads:
            rows = _rows(measured, heads)
            table_to_pick(
                written(rows, {"Measured": percent, "By chance": percent}),
                "role-table",
                lambda place: pick(str(rows["Head"].iloc[place])),
                column_config=_COLUMNS,
            )

    follow(node_jobs.submit_roles(card), show, waiting="Measuring what heads do ·", cancel=True)


def beside_graph(card: RunInfo) -> None:
    """Where the graph is to show roles that are not measured yet: measure them, or ask."""
    if card.n_pairs and measured_roles(card) is None and _wanted(card, key="roles-graph"):
        follow(node_jobs.submit_roles(card), lambda _job: None, waiting="Measuring what heads do ·")


def _wanted(card: RunInfo, *, key: str) -> bool:
    """Whether roles may be measured now: at once where that is quick, else after a click on a button with its cost."""
    asked = st.session_state.setdefault("roles-asked", set())
    if server.job(roles_key(card)) is not None or card.id in asked:
        return True
    seconds = consent.cost(card)
    if consent.agreed(card) and seconds <= consent.AT_ONCE:
        return True
    fetched = "" if consent.at_hand(card.model) else " It is fetched from Hugging Face first."
    if st.button(
        f"Measure what each head does (about {duration(seconds)})",
        key=key,
        icon=":material/visibility:",
        help=f"Runs {plain(card.model)} on the {card.n_pairs} pairs and on as many prompts of random words: where its "
        f"heads attend, and whether they copy. Loading the model comes on top.{fetched}",
    ):
        asked.add(card.id)
        consent.agree([card])
        st.rerun()
    return False


def _in_one_line(roles: Sequence[Measure]) -> str:
    if not roles:
        return f"{NO_ROLE.capitalize()} on these prompts: nothing that it does passes its threshold."
    text = "; ".join([in_short(one) for one in roles[:IN_LINE]])
    text += f"; {len(roles) - IN_LINE} more" if len(roles) > IN_LINE else ""
    return f"{text[0].upper()}{text[1:]}"


def _details(session: Session, card: RunInfo, node: str, measured: HeadRoles) -> None:
    """Every role with its interval and comparison, and what the model does without it."""
    roles = measured.of(node)
    st.markdown(f"**What `{node}` does on these prompts**")
    checks = _checks(card, node, roles) if roles else {}
    for one in roles:
        title = one.role.title
        st.markdown(f"**{plain(title[0].upper() + title[1:])}:** {plain(one.number)}. {plain(one.role.about)}")
        if one.role.name in checks:
            verdict = "" if checks[one.role.name].stands_out else " No more than what it is compared with."
            st.caption(f":material/science: {plain(checks[one.role.name].text)}{verdict}")
    if not roles:
        best = sorted(measured.measures[node], key=lambda one: one.even - one.value)[:3]
        st.caption("It came nearest to these: " + "; ".join(f"{plain(one.text)}" for one in best) + ".")
    shown = session["roles"]
    st.button(
        "Take roles out of the graph" if shown else "Show roles in the graph",
        key="roles-in-graph",
        type="tertiary",
        icon=":material/palette:",
        on_click=lambda: session.later(roles=not shown),
        help=FIELD.help,
    )


def _checks(card: RunInfo, node: str, roles: Sequence[Measure]) -> Mapping[str, RoleCheck]:
    """The checks of a head's roles by name; until they are there, what to do or how far they are is drawn."""
    names = [one.role.name for one in roles]
    asked, seconds = st.session_state.setdefault("checks-asked", set()), CHECK_COST * consent.cost(card) * len(names)
    if seconds > consent.AT_ONCE and (card.id, node) not in asked:
        if not st.button(
            f"Check by ablation (about {duration(seconds)})",
            key="check-roles",
            icon=":material/science:",
            help="Changes exactly this attention and runs the rest of the model again; beside it the same for as many "
            "other positions.",
        ):
            return {}
        asked.add((card.id, node))
    found: list[RoleCheck] = []
    follow(node_jobs.submit_checks(card, node, names), lambda job: found.extend(job.result), waiting="Checking ·")
    return {one.role.name: one for one in found}


def _rows(measured: HeadRoles, heads: Sequence[str]) -> pd.DataFrame:
    rows: list[tuple[object, ...]] = []
    for node in heads:
        for one in measured.of(node):
            interval = ends(100 * one.low, 100 * one.high, 0)
            rows.append((node, one.role.title, one.value, interval, one.even, one.n_pairs))
        if not measured.of(node):
            rows.append((node, NO_ROLE, None, "", None, None))
    return pd.DataFrame(rows, columns=["Head", "What it does", "Measured", "Interval", "By chance", "Pairs"])


_COLUMNS = {
    "What it does": st.column_config.TextColumn(width="large"),
    "Measured": st.column_config.NumberColumn(
        help="Share of its attention on these positions; where it copies, share of the tokens that it raises less.",
    ),
    "Interval": st.column_config.TextColumn(help="95 % interval over prompt pairs."),
    "By chance": st.column_config.NumberColumn(
        help="What attention spread evenly over the prompt so far would give; half where it copies."
    ),
    "Pairs": st.column_config.NumberColumn(help="Pairs with such a position."),
}
