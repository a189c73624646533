"""What Explore keeps in its link, what edits amount to, and what is said of nodes; without a browser or a model."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from eapgp.attribution.result import Attribution, EdgeScores
from eapgp.circuits import add_edges, equal, exclude_nodes, prune, remove_edges, select
from eapgp.figures.attention import attention_map
from eapgp.figures.data import figure_data
from eapgp.figures.direct import contribution_by_pair, contributions_by_node, token_bars
from eapgp.graph import EDGE_TYPES, Graph
from eapgp.ground_truth import GPT2_SMALL, ground_truth
from eapgp.ui.base.fields import read_url, write_url
from eapgp.ui.explore.fields import FIELDS
from eapgp.ui.library.circuits import Selected, known_role, known_roles, node_score
from eapgp.ui.parts import bound_view as pane
from eapgp.ui.parts import edit
from eapgp.ui.parts.circuit_view import ViewState
from eapgp.ui.parts.edit import Edit, Edits

GRAPH = Graph(3, 2, d_model=8)
SCORES = EdgeScores(GRAPH, np.where(GRAPH.mask, np.random.default_rng(0).normal(size=GRAPH.mask.shape), 0.0))


def through_url(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values written to a link and read again."""
    found, problems = read_url(write_url(values, FIELDS), FIELDS)
    assert problems == []
    return found


# ---- edits -------------------------------------------------------------------------------------

HISTORY = (
    Edit("add", "input->a2.h1<v>"),
    Edit("cut", "m0->logits"),
    Edit("drop", "a1.h0"),
    Edit("back", "a1.h0"),
    Edit("cut", "input->a2.h1<v>"),
)


def test_a_history_of_edits_survives_the_link() -> None:
    text = write_url({"edits": HISTORY}, FIELDS)["edits"]
    assert text == "add_input~a2.h1.v,cut_m0~logits,drop_a1.h0,back_a1.h0,cut_input~a2.h1.v"
    assert through_url({"edits": HISTORY}) == {"edits": HISTORY}


@pytest.mark.parametrize("bad", ["cut_m0", "add_m0~a1.h0.z", "drop_m0~logits", "paint_m0", "cut_a1~logits"])
def test_a_bad_edit_is_named(bad: str) -> None:
    values, problems = read_url({"edits": f"drop_a1.h0,{bad}"}, FIELDS)
    assert "edits" not in values
    assert len(problems) == 1 and bad in problems[0]


def test_of_two_edits_about_one_thing_the_later_counts() -> None:
    assert edit.amount(HISTORY) == Edits((), ("m0->logits", "input->a2.h1<v>"), ())
    assert edit.amount(HISTORY[:3]) == Edits(("input->a2.h1<v>",), ("m0->logits",), ("a1.h0",))
    assert str(edit.amount(HISTORY[:3])) == "1 edge added, 1 edge removed, 1 node excluded"
    assert not edit.amount((Edit("drop", "m0"), Edit("back", "m0")))


@pytest.mark.parametrize(
    "now",
    [
        Edits(("input->logits",), ("m0->logits",), ("a0.h0",)),
        Edits((), ("input->a2.h1<v>",), ()),
        Edits(("m0->logits", "input->a2.h1<v>"), (), ("a1.h0",)),
        Edits(("input->a2.h1<v>",), ("m0->logits",), ("a1.h0",)),
    ],
)
def test_the_history_follows_what_the_picture_reports(now: Edits) -> None:
    """Appending alone, so that what came before can still be undone; nothing new appends nothing."""
    start = HISTORY[:3]
    grown = edit.followed(start, now)
    assert grown[: len(start)] == start
    found = edit.amount(grown)
    assert set(now.added) <= set(found.added) and set(now.removed) <= set(found.removed)
    assert set(found.excluded) == set(now.excluded)
    assert edit.followed(grown, found) == grown


def test_what_the_graph_lacks_is_left_out_and_named() -> None:
    history = (
        *HISTORY,
        Edit("cut", "m5->logits"),
        Edit("drop", "a9.h9"),
        Edit("drop", "logits"),
        Edit("add", "m1->m0"),
    )
    kept, problems = edit.known(GRAPH, history)
    assert kept == HISTORY
    assert [name for name in ("m5~logits", "a9.h9", "drop_logits", "m1~m0") if any(name in p for p in problems)] == [
        "m5~logits",
        "a9.h9",
        "drop_logits",
        "m1~m0",
    ]


def test_the_edited_circuit_is_the_selection_with_the_operations_applied() -> None:
    edits = Edits(("input->a2.h1<v>",), (SCORES.top(1)[0][0],), ("a1.h1",))
    found = edit.edited(SCORES, 20, edits)
    chosen = select(SCORES, n=20, prune=False)
    by_hand = exclude_nodes(remove_edges(add_edges(chosen, edits.added), edits.removed), edits.excluded)
    assert equal(found, prune(by_hand)) and found.n_selected == by_hand.n_kept
    assert not equal(found, select(SCORES, n=20))
    assert SCORES.top(1)[0][0] not in found.edge_names()
    assert equal(edit.edited(SCORES, 20, Edits()), select(SCORES, n=20))


# ---- the view in the link ----------------------------------------------------------------------

VIEW = {
    "sign": "minus",
    "into": ("q", "mlp"),
    "layers": "0-1",
    "least": 0.05,
    "width": "log",
    "trace": True,
    "zoom": "1.82,0.5,0.25",
    "groups": (("Movers | & co: all", ("a0.h1", "m2"), True), ("open", ("a1.h0",), False)),
    "pins": ("a0.h1",),
}


def test_filters_zoom_groups_and_trace_survive_the_link() -> None:
    assert through_url(VIEW) == VIEW
    assert write_url({field.name: field.default for field in FIELDS}, FIELDS) == {}


class Values(dict[str, Any]):
    """A session's values."""


def test_what_python_sends_back_is_what_the_picture_reported() -> None:
    """Else the picture would take its own report for a command, and undo what came after it."""
    reported = {
        "n": 20,
        "zoom": {"k": 1.82, "x": 0.5, "y": 0.25},
        "filters": {"sign": "minus", "types": ["q", "mlp"], "from": 0, "to": 1, "least": 0.05, "width": "log"},
        "groups": [{"name": "Movers | & co: all", "nodes": ["a0.h1", "m2"], "collapsed": True}],
        "trace": True,
    }
    state = ViewState.of({"view": reported})
    session: Any = Values({**VIEW, **pane.view_values(state, GRAPH.n_layers)})
    sent = pane.whole_view(session, Selected(), GRAPH.n_layers)
    for key in ("zoom", "filters", "groups", "trace"):
        assert sent[key] == reported[key]
    assert list(sent["filters"]) == list(reported["filters"])  # type: ignore[call-overload]


def test_the_default_view_is_no_filter() -> None:
    session: Any = Values({field.name: field.default for field in pane.VIEW_FIELDS})
    sent = pane.whole_view(session, Selected(), GRAPH.n_layers)
    assert sent["filters"] == {
        "sign": "all",
        "types": list(EDGE_TYPES),
        "from": 0,
        "to": 2,
        "least": 0,
        "width": "sqrt",
    }
    assert sent["zoom"] is None and sent["groups"] == [] and sent["trace"] is False
    assert pane.view_values(ViewState(), GRAPH.n_layers) == {
        field.name: field.default for field in pane.VIEW_FIELDS if field.name != "pins"
    }


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("groups", "Movers"),
        ("groups", "Movers:a0.h1,logits"),
        ("into", "q,x"),
        ("zoom", "big"),
        ("layers", "two-three"),
        ("sign", "both"),
        ("least", "-1"),
    ],
)
def test_a_bad_view_parameter_is_named(name: str, bad: str) -> None:
    values, problems = read_url({name: bad}, FIELDS)
    assert name not in values and len(problems) == 1 and f"{name} = {bad!r}" in problems[0]


# ---- what is said of nodes ---------------------------------------------------------------------


def card(task: str, model: str, graph: Graph) -> Any:
    return SimpleNamespace(task=task, model=model, graph=graph, untrained=False)


@pytest.mark.parametrize("task", ["ioi", "greater-than"])
def test_roles_are_those_of_the_manual_circuit(task: str) -> None:
    found = known_roles(card(task, "gpt2", GPT2_SMALL))
    assert found == {node: role.title for node, role in ground_truth(task).roles.items()}
    node = next(iter(found))
    assert known_role(card(task, "gpt2", GPT2_SMALL), node) == ground_truth(task).roles[node]


@pytest.mark.parametrize(
    ("task", "model", "graph"),
    [
        ("sva", "gpt2", GPT2_SMALL),
        ("ioi", "demo", Graph(4, 4)),
        ("ioi", "EleutherAI/gpt-neo-125m", GPT2_SMALL),
        ("ioi", "gpt2", Graph(12, 12, parallel=True)),
    ],
)
def test_no_role_is_claimed_where_none_is_known(task: str, model: str, graph: Graph) -> None:
    assert known_roles(card(task, model, graph)) == {}
    assert known_role(card(task, model, graph), "a9.h9") is None


def test_an_untrained_model_of_that_name_has_no_roles() -> None:
    """Its heads do nothing that people have read out of the trained one."""
    twin = card("ioi", "gpt2", GPT2_SMALL)
    twin.untrained = True
    assert known_roles(twin) == {}


def result(nodes: np.ndarray | None) -> Attribution:
    none = np.zeros(0, dtype=np.float32)
    return Attribution("eap", {}, SCORES, none, none, 0, 0, 0.0, node_scores=nodes)


def test_the_score_of_a_node_is_the_sum_of_what_leaves_it() -> None:
    sums = {node: sum(v for e, v in SCORES.top(GRAPH.n_edges) if e.startswith(f"{node}->")) for node in GRAPH.sources}
    for node in ("input", "a1.h0", "m2"):
        value, rank = node_score(result(None), node)
        assert value == pytest.approx(sums[node])
        assert rank == sorted(sums, key=lambda name: -abs(sums[name])).index(node) + 1
    into = sum(v for e, v in SCORES.top(GRAPH.n_edges) if e.endswith("->logits"))
    assert node_score(result(None), "logits") == (pytest.approx(into), 0)


def test_a_node_s_own_score_goes_before_the_sum_of_its_edges() -> None:
    own = np.linspace(0.1, 1.0, len(GRAPH.sources))
    own[GRAPH.source_index("m2")] = -2.0
    own[GRAPH.source_index("m0")] = np.nan
    assert node_score(result(own), "m2") == (-2.0, 1)
    assert node_score(result(own), "m0")[0] == 0.0


# ---- figures -----------------------------------------------------------------------------------


def test_an_attention_map_tells_repeated_tokens_apart_and_draws_no_future() -> None:
    pattern = np.tril(np.array([[1.0, 0, 0], [0.25, 0.75, 0], [0.2, 0.3, 0.5]]))
    figure = attention_map(pattern, ["the", "<b>", "the"], changed=[False, True, False])
    table = figure_data(figure)
    assert len(table) == 6 and table["attention"].sum() == pytest.approx(3)
    assert "<b>" not in str(figure.layout.yaxis.ticktext) and "&lt;b&gt;" in str(figure.layout.yaxis.ticktext)
    assert figure.data[0].zmin == 0 and figure.data[0].zmax == 1
    signed = attention_map(pattern - 0.5, ["a", "b", "c"], side="difference")
    assert signed.data[0].zmin == -signed.data[0].zmax
    with pytest.raises(ValueError, match="as many labels"):
        attention_map(pattern, ["a", "b"])


def test_figures_of_contributions_hold_every_number() -> None:
    clean, corrupted = np.array([1.0, 2.0, 4.0]), np.array([-1.0, 0.0, 0.5])
    table = figure_data(contribution_by_pair(clean, corrupted, node="a0.h1", pair=1))
    assert sorted(table["logits"]) == sorted([*clean, *corrupted])
    nodes = contributions_by_node(["a", "b"], clean[:2], corrupted[:2], others=(0.5, 0.1), total=3.5)
    bars = figure_data(nodes).query("series == 'clean prompts'")["direct contribution (logits)"]
    assert bars.sum() == pytest.approx(3.5)
    tokens = token_bars([("<i>", 1.0), ("b", -1.0)], title="t")
    assert "&lt;i&gt;" in str(tokens.layout.yaxis.ticktext)
    assert list(figure_data(tokens)["token"]) == ["<i>", "b"]


# ---- waiting -----------------------------------------------------------------------------------


def _page_with_a_job_that_ends_at_once() -> None:
    import streamlit as st

    from eapgp.ui.jobs import server
    from eapgp.ui.jobs.follow import poll

    st.session_state["runs"] = st.session_state.get("runs", 0) + 1
    job = server.manager().submit(f"quick-{st.session_state['runs']}", "quick", lambda progress: 1, lane="test")
    server.manager().wait(job, 5)
    st.number_input("value", value=7, key="kept")
    poll(job, lambda view: st.write(f"drawn as {view.state}"))
    st.write(f"end of run {st.session_state['runs']}")


def test_a_job_that_ends_while_the_page_runs_does_not_start_the_page_again() -> None:
    """Rerunning from within the page's own run loses what it has drawn and not sent yet."""
    from streamlit.testing.v1 import AppTest

    app = AppTest.from_function(_page_with_a_job_that_ends_at_once, default_timeout=60).run()
    assert not app.exception
    assert [block.value for block in app.markdown] == ["drawn as done", "end of run 1"]


def test_values_are_given_to_widgets_until_a_whole_run_has_surely_arrived(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is started anew at once drops what it had drawn; the next one must give the values again."""
    from streamlit.testing.v1 import AppTest

    def page() -> None:
        import streamlit as st

        from eapgp.ui.base.fields import integer
        from eapgp.ui.base.session import Session

        session = Session("page", (integer("size", 7, 1, 99, "A size."),))
        session.widget("size", st.number_input, "Size", min_value=1, max_value=99)
        session.write()

    app = AppTest.from_function(page).run()
    assert app.number_input[0].value == 7 and app.number_input[0].proto.set_value
    assert app.run().number_input[0].proto.set_value, "the first run may not have arrived yet"
    monkeypatch.setattr("eapgp.ui.base.session._SURELY", 0.0)
    assert not app.run().number_input[0].proto.set_value, "later on the browser's own value counts"
    app.number_input[0].set_value(9).run()
    monkeypatch.setattr("eapgp.ui.base.session._SURELY", 1e9)
    assert app.run().number_input[0].value == 9


def test_what_a_browser_answers_late_is_no_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Results that come in one by one widen what a page shows by itself, also while the browser lags behind."""
    from streamlit.testing.v1 import AppTest

    def page() -> None:
        import streamlit as st

        from eapgp.ui.base.fields import names
        from eapgp.ui.base.session import Session, widget_key

        session = Session("page", (names("runs", (), "Runs.", most=4),))
        turn = st.session_state.setdefault("turn", 0)
        st.session_state["turn"] += 1
        if turn == 2:
            st.session_state[widget_key("runs")] = ["a"]  # what it was given before the last time
        session.usual("runs", ("a", "b", "c")[: turn + 1])
        session.write()
        st.write(" ".join(session["runs"]))

    app = AppTest.from_function(page).run().run().run()
    assert app.markdown[0].value == "a b c" and not app.query_params
    monkeypatch.setattr("eapgp.ui.base.session._SURELY", 0.0)
    app = AppTest.from_function(page).run().run().run()
    assert app.markdown[0].value == "a", "after that time it is the user's choice"


def test_values_are_given_to_widgets_that_appear_later(monkeypatch: pytest.MonkeyPatch) -> None:
    from streamlit.testing.v1 import AppTest

    def page() -> None:
        import streamlit as st

        from eapgp.ui.base.fields import flag, integer
        from eapgp.ui.base.session import Session

        session = Session("page", (integer("size", 7, 1, 99, "A size."), flag("all", True, "All.")))
        session.widget("size", st.number_input, "Size", min_value=1, max_value=99)
        if st.session_state.get("more"):
            session.widget("all", st.toggle, "All")
        session.write()

    monkeypatch.setattr("eapgp.ui.base.session._SURELY", 1.0)
    app = AppTest.from_function(page).run()
    time.sleep(1.1)
    app.session_state["more"] = True
    assert app.run().toggle[0].proto.set_value and app.toggle[0].value
    assert app.run().toggle[0].proto.set_value, "the run in which it appeared may not have arrived"


def test_without_a_result_the_nearest_run_is_shown() -> None:
    """A link that asks for what is not computed opens at the same task, not at whichever example comes first."""
    from eapgp.ui.sidebar.panel import nearness

    def card(task: str, model: str, method: str, step: str = "relative") -> Any:
        return SimpleNamespace(task=task, model=model, method=method, options={"step": step})

    shelf = [
        card("sva", "demo", "eap-gp"),
        card("ioi", "demo", "eap"),
        card("ioi", "demo", "eap-gp", "unit"),
        card("ioi", "demo", "eap-gp"),
    ]
    near = lambda **values: max(shelf, key=lambda one: nearness(one, values))  # noqa: E731
    assert near(task="ioi", model="gpt2", method="eap-gp") is shelf[3]
    assert near(task="ioi", model="demo", method="eap") is shelf[1]
    assert near(task="hypernymy", model="demo", method="eap-gp") is shelf[0]
