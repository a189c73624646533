"""Binds the fields of `eapgp.ui.base.fields` to Streamlit: the session's values, the widgets and the URL.

Values live in one dictionary of the session, so they outlast the widgets when the user changes the
page. The URL is read when a session or a page opens and by the browser's back and forward buttons,
and written after every run of the script; it is never read in between, because a click that arrives
while the URL is being updated would otherwise bring the old value back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from eapgp.ui.base.draw import plain
from eapgp.ui.base.fields import ON_EVERY_PAGE, Field, read_url, refusal, write_url

_STORE = "eapgp-values"
_PAGE = "eapgp-page"
_PENDING = "eapgp-pending"
_PROBLEMS = "eapgp-problems"
_LINKED = "eapgp-linked"  # what the link said, by field, until a page has found it to be no value here
_AWAITED = "eapgp-awaited"  # what the link said for the answer that is awaited, and what stands in its place, by field
_USUAL = "eapgp-usual"  # what the page itself chose, by field
_FORMER = "eapgp-former"  # what it chose before, and when that was replaced, by field
_SENT = "eapgp-sent"  # when the first whole run that drew a widget ended, by the widget's key
_SURELY = 2.0  # seconds after which it has reached the browser


class Session:
    """The values of one page's fields in this browser session."""

    def __init__(self, page: str, fields: Sequence[Field]) -> None:
        self.page = page
        self._fields = (*fields, *ON_EVERY_PAGE)
        self._by_name = {field.name: field for field in self._fields}
        assert len(self._by_name) == len(self._fields), f"two fields of one name on {page}"
        self._values: dict[str, Any] = st.session_state.setdefault(_STORE, {})
        self._drawn: set[str] = set()  # keys of this run's widgets
        self._told = False
        self._awaits = False
        self.problems: list[str] = self._open(page)
        for name, value in st.session_state.pop(_PENDING, {}).items():
            self._put(name, value)

    def __getitem__(self, name: str) -> Any:
        """The value of a field: the widget's where there is one, else the session's, else the default."""
        value = st.session_state.get(widget_key(name))
        if value is None:
            return self._values.get(name, self._by_name[name].default)
        return tuple(value) if isinstance(value, list) else value

    def __contains__(self, name: str) -> bool:
        """Whether this page has a field of that name."""
        return name in self._by_name

    def __setitem__(self, name: str, value: Any) -> None:
        """Set a field whose widget is not drawn yet in this run (else use `later`)."""
        self._put(name, value)

    def usual(self, name: str, value: Any) -> None:
        """Give a field that nobody has chosen the value that the page would choose.

        Such a value stays out of the URL, because writing it would put an entry into the browser's
        history that nobody made; and it follows when the page would choose another.
        """
        usual_values, now = st.session_state.setdefault(_USUAL, {}), time.monotonic()
        former = st.session_state.setdefault(_FORMER, {})
        former[name] = [(one, at) for one, at in former.get(name, []) if now - at < _SURELY]
        # A browser that has not got the last choice yet still answers with the one before: nobody chose that.
        if self[name] in (self._by_name[name].default, usual_values.get(name), *(one for one, _ in former[name])):
            self._put(name, value)
        if name in usual_values and usual_values[name] != value:
            former[name].append((usual_values[name], now))
        usual_values[name] = value

    def later(self, **values: Any) -> None:
        """Set fields at the start of the next run of the script, on this page or the next one."""
        st.session_state.setdefault(_PENDING, {}).update(values)

    @staticmethod
    def hand_over(**values: Any) -> None:
        """Set fields that another page knows, before `st.switch_page` opens it."""
        st.session_state.setdefault(_PENDING, {}).update(values)

    @staticmethod
    def stored(name: str, default: Any) -> Any:
        """The session's value of any page's field."""
        return st.session_state.get(_STORE, {}).get(name, default)

    def complain(self, problem: str) -> None:
        """Add to what is wrong with the link; it is said until the page is opened anew.

        Where the page has said what it knew already (`tell`), at once in this place.
        """
        if problem not in self.problems:
            self.problems.append(problem)
            st.session_state[_PROBLEMS] = list(self.problems)
            if self._told:
                _warn(problem)

    def tell(self) -> None:
        """Say what is wrong with the link."""
        self._told = True
        for problem in self.problems:
            _warn(problem)

    def linked(self, name: str) -> bool:
        """Whether a field still has the value that the link gave it."""
        link = st.session_state.get(_LINKED, {})
        return name in link and link[name] == self[name]

    def settle(self, name: str, value: Any, expected: str) -> None:
        """Give a field, before its widget is drawn, what the page can show in place of its value.

        A link that asked for it is told so. expected: what could have been shown, such as `a pair from 1 to 64`.
        """
        was, field = self[name], self._by_name[name]
        if was == value:
            return
        if self._awaits and self.linked(name):
            st.session_state.setdefault(_AWAITED, {})[name] = (was, value)
        elif self.linked(name):
            st.session_state[_LINKED].pop(name)
            self.complain(refusal(field, field.show(was), f"expected {expected}", value))
        self._put(name, value)

    def awaits(self, answer: bool) -> None:
        """Say whether the page shows something else until the answer is here.

        What the link asks of the answer (its size, a node of it) is then kept for it, whatever fits what is shown.
        """
        self._awaits = answer
        for name, (asked, instead) in {} if answer else st.session_state.pop(_AWAITED, {}).items():
            if name in self and self[name] == instead:
                self._put(name, asked)

    def widget(self, name: str, draw: Callable[..., Any], label: str = "", **kwargs: Any) -> Any:
        """Draw an input that is bound to a field, with its label, tooltip, options and bounds; returns its value.

        kwargs go before the field's. An option list that lacks the stored value falls back to its first entry.
        """
        field, key = self._by_name[name], widget_key(name)
        value, how = self[name], field.how()
        if "options" in kwargs:  # a list has no bounds
            how = {name: value for name, value in how.items() if name == "format_func"}
        kwargs = {**how, **({"required": True} if draw is st.segmented_control else {}), **kwargs}
        options = kwargs.get("options")
        if options is not None and value not in options and not isinstance(value, (tuple, list)):
            value = field.default if field.default in options else next(iter(options), None)
            st.session_state[key] = value
        if self._unsent(key) or key not in st.session_state:
            st.session_state[key] = list(value) if isinstance(value, tuple) else value
        answer = draw(label or field.label, key=key, help=kwargs.pop("help", field.help), **kwargs)
        if answer is not None:
            self._values[name] = tuple(answer) if isinstance(answer, list) else answer
        return self._values.get(name, field.default)

    def tabs(self, name: str, labels: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
        """Tabs bound to a field whose values are the keys of `labels`; the open one and all containers.

        Draw only into the open one: the others are filled when they are opened.
        """
        key = widget_key(name)
        by_label = {label: value for value, label in labels.items()}
        current = self._values.get(name, self._by_name[name].default)
        unsent = self._unsent(key)
        if st.session_state.get(key) not in by_label:
            st.session_state[key] = labels.get(current, next(iter(labels.values())))
        elif unsent:
            st.session_state[key] = st.session_state[key]
        drawn = st.tabs(list(labels.values()), key=key, on_change="rerun")
        opened = by_label[st.session_state[key]]
        self._values[name] = opened
        return opened, dict(zip(labels, drawn, strict=True))

    def write(self) -> None:
        """Bring the URL up to date; call it last on a page (and in a fragment that changes a field).

        Not where the back or forward button has just set it: a new entry there would end the history.
        """
        sent, now = st.session_state.get(_SENT, {}), time.monotonic()
        st.session_state[_SENT] = {key: sent.get(key, now) for key in self._drawn}
        if _by_history():
            return
        params = write_url({name: self._current(name) for name in self._by_name}, self._fields)
        if dict(st.query_params) != params:
            st.query_params.from_dict(params)

    def _unsent(self, key: str) -> bool:
        """Whether a widget that is being drawn may not have reached the browser yet.

        A run that starts anew before the browser got the last one's widgets drops their values, and
        Streamlit sends a value only once: until a whole run with it is surely through, it is given again. That
        holds for widgets that appear later too, such as those of a result while more results come in.
        """
        self._drawn.add(key)
        ended = st.session_state.get(_SENT, {}).get(key)
        return ended is None or time.monotonic() - ended < _SURELY

    def _current(self, name: str) -> Any:
        """A field's value, as far as a link to this page should and may say it.

        Pages share names (`tab`): what another page left there is not this page's.
        """
        field = self._by_name[name]
        value = self._values.get(name, field.default)
        asked, instead = st.session_state.get(_AWAITED, {}).get(name, (None, None))
        value = asked if instead is not None and value == instead else value
        if value == st.session_state.get(_USUAL, {}).get(name):
            return field.default
        try:
            return value if value == field.default else field.parse(field.show(value))
        except ValueError:
            return field.default

    def _put(self, name: str, value: Any) -> None:
        self._values[name] = value
        key = widget_key(name)
        if key in st.session_state:
            st.session_state[key] = list(value) if isinstance(value, tuple) else value

    def _open(self, page: str) -> list[str]:
        opened = st.session_state.get(_PAGE)
        st.session_state[_PAGE] = page
        if opened != page:
            st.session_state.pop(_SENT, None)
        link = dict(st.query_params)
        if not _by_history():
            if opened == page:
                return list(st.session_state.get(_PROBLEMS, []))
            if not link:
                return self._forget_problems()
        values, problems = read_url(link, self._fields)
        for name in self._by_name:
            self._values.pop(name, None)
            st.session_state.pop(widget_key(name), None)
        self._values.update(values)
        st.session_state[_LINKED] = dict(values)
        st.session_state.pop(_AWAITED, None)
        st.session_state[_PROBLEMS] = list(problems)
        return problems

    def _forget_problems(self) -> list[str]:
        st.session_state[_PROBLEMS] = []
        return []


def _by_history() -> bool:
    """Whether this run follows the browser's back or forward button: the URL then says what to show."""
    context = get_script_run_ctx()
    return context is not None and context.is_history_navigation


def _warn(problem: str) -> None:
    st.warning(plain(problem), icon=":material/link_off:")


def widget_key(name: str) -> str:
    """Streamlit key of a field's widget; its element has the class `st-key-field-<name>`."""
    return f"field-{name}"
