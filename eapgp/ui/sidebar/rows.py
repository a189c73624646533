"""Options of methods and tasks as settings: from a row of the registry its field in the link, its control, its value.

Methods that have an option of the same name share its field, so that a choice outlasts a change of the method.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import streamlit as st

from eapgp.errors import InputError
from eapgp.options import EdgeNames, OneOf, OneOfOrNumber, Option, WholeNumber
from eapgp.ui.base.draw import plain
from eapgp.ui.base.fields import Field, near
from eapgp.ui.base.session import Session

MOST_CHARACTERS = 400
LONG_LABEL = 24  # letters that half the sidebar does not show


def option_fields(rows: Iterable[Option]) -> tuple[Field, ...]:
    """One field each, with the default and help of the first row that has it."""
    by_field: dict[str, list[Option]] = {}
    for row in rows:
        by_field.setdefault(row.field, []).append(row.for_pages())
    return tuple(_field(same) for same in by_field.values())


def _field(rows: Sequence[Option]) -> Field:
    first = rows[0]

    def parse(text: str) -> Any:
        for row in rows if len(text) <= MOST_CHARACTERS else ():
            try:
                return entered(row, row.parse(text))
            except InputError:
                continue
        raise ValueError(f"expected {first.expected}{near(text, first.values)}")

    return Field(first.field, entered(first, first.default), parse, first.help)


def entered(row: Option, value: Any) -> Any:
    """A value as the control holds it: a number of a whole number, else its text."""
    return value if isinstance(row, WholeNumber) else row.show(value)


def option_values(rows: Iterable[Option], values: Mapping[str, Any]) -> dict[str, Any]:
    """The options that the settings mean; a setting that does not fit a row counts as its default."""
    meant = {row.name: _value(row, values[row.field]) for row in rows}
    return {name: value for name, value in meant.items() if value is not None}


def _value(row: Option, setting: Any) -> Any:
    try:
        return row.parse(str(setting))
    except InputError:
        return row.default


def option_settings(rows: Iterable[Option], options: Mapping[str, Any]) -> dict[str, Any]:
    """Inverse of `option_values`: the settings that mean these options."""
    return {row.field: entered(row, options.get(row.name, row.default)) for row in rows}


def draw_options(session: Session, rows: Sequence[Option]) -> None:
    """A control per option: numbers and lists side by side, what needs the width below them."""
    left, right = st.columns(2) if any(map(_narrow, rows)) else (st.container(), st.container())
    for row in rows:
        place = (left if isinstance(row, WholeNumber) else right) if _narrow(row) else st.container()
        with place:
            _draw(session, row)
            _say(session, row)


def _narrow(row: Option) -> bool:
    longest = max((len(row.label_of(value)) for value in row.values), default=0) if isinstance(row, OneOf) else 0
    return longest < LONG_LABEL and (isinstance(row, WholeNumber | OneOfOrNumber) or len(row.values) > 2)


def _draw(session: Session, row: Option) -> None:
    setting = session[row.field]
    if isinstance(row, WholeNumber):
        high = max(row.for_pages().high, setting)  # a run that was opened may have taken more
        session.widget(row.field, st.number_input, row.label, min_value=row.low, max_value=high, step=1, help=row.help)
    elif isinstance(row, OneOfOrNumber) and row.values:
        session.widget(
            row.field,
            st.selectbox,
            row.label,
            options=[*row.values, *([setting] if setting not in row.values else [])],
            format_func=row.label_of,
            accept_new_options=True,
            help=row.help,
        )
    elif isinstance(row, OneOf) and row.values:
        few = len(row.values) == 2
        session.widget(
            row.field,
            st.segmented_control if few else st.selectbox,
            row.label,
            options=list(row.values),
            format_func=row.label_of,
            help=row.help,
            **({"required": True} if few else {}),
        )
    else:
        placeholder = "all" if isinstance(row, EdgeNames) else ""
        session.widget(row.field, st.text_input, row.label, placeholder=placeholder, help=row.help)


def _say(session: Session, row: Option) -> None:
    """What a method usually takes, where the setting of another is still there; what was typed and cannot be."""
    setting = session[row.field]
    try:
        row.parse(str(setting))
    except InputError as error:
        usual = row.show(row.default) or "the default"
        st.error(plain(f"{error} Used {usual} instead."), icon=":material/error:")
    if isinstance(row, WholeNumber) and row.default not in (setting, row.usual, None):
        st.caption(f"Usual for it: {row.symbol or row.name} = {row.default}")
