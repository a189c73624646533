"""Colours, escaping, the signed logarithmic scale, the projection and the table behind a figure."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import plotly.graph_objects as go
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from eapgp.attribution.result import EdgeScores, PathRecord
from eapgp.errors import OptionError
from eapgp.figures import style
from eapgp.figures.data import figure_data
from eapgp.figures.numbers import block_matrix, correlations, jaccard_at, order_by_size
from eapgp.figures.projection import mean_projection, path_ends, project_paths, project_record
from eapgp.figures.scale import SignedLog
from eapgp.figures.style import METHOD_STYLES, apply, escape, line_styles, set_layout, token_label, unescape
from eapgp.graph import Graph

HOSTILE = "<script>alert(1)</script><a href='javascript:x'>&amp; $x$ %{y} </b>"


# style


def test_a_layout_and_a_line_are_those_that_plotly_would_set() -> None:
    values = {"title": {"text": "T"}, "xaxis": {"range": [0, 1], "title": {"font": {"size": 9}}}, "height": 300}
    values |= {"xaxis2": {"overlaying": "x", "side": "top"}}
    ours, theirs = (
        go.Figure(go.Scatter(x=[1, 2], y=[3, 4]), layout={"xaxis": {"title": {"text": "kept"}, "dtick": 1}})
        for _ in range(2)
    )
    set_layout(ours, **values)
    theirs.update_layout(values)
    look = {"line": {"color": "#123456", "dash": "dot"}, "layer": "below"}
    style.rule(ours, "x", 1.5, **look)
    style.rule(ours, "y", 3.5, **look)
    theirs.add_vline(x=1.5, **look)
    theirs.add_hline(y=3.5, **look)
    assert ours.to_plotly_json() == theirs.to_plotly_json()
    assert ours.layout.xaxis.title.text == "kept"


@given(st.text(max_size=60))
@settings(deadline=None)
def test_escaped_text_holds_no_markup_and_comes_back(text: str) -> None:
    escaped = escape(text)
    assert "<" not in escaped and ">" not in escaped and "%{" not in escaped and "$" not in escaped
    assert unescape(escaped) == unescape(text) or unescape(escaped) == text


def test_escape_round_trips_text_that_looks_like_an_entity() -> None:
    for text in ("&lt;b&gt;", "a & b", HOSTILE, "a0.h1<q>", "%{x}", "$\\alpha$"):
        assert unescape(escape(text)) == text
        assert not {"<", ">", "$"} & set(escape(text)) and "%{" not in escape(text)


def test_tokens_show_their_spaces_and_stay_text() -> None:
    assert token_label(" she") == "·she"
    assert token_label("\u0120she") == "·she" == token_label("\u2581she")
    assert token_label("\n") == "⏎" and token_label("\u010a") == "⏎"
    assert token_label("<|bos|>") == "&lt;|bos|&gt;"
    assert "\u202e" not in token_label("a\u202eb")
    assert len(unescape(token_label("x" * 100))) == 16


def test_a_method_looks_the_same_whatever_stands_beside_it() -> None:
    alone = line_styles(["eap-gp"])[0]
    assert line_styles(["exact", "eap", "eap-gp"])[2] == alone
    assert line_styles(["eap-gp (relative)"])[0] == alone
    assert alone == METHOD_STYLES["eap-gp"]


def test_methods_and_their_variants_are_told_apart() -> None:
    for names in ([*METHOD_STYLES, "eap-gp (unit)", "eap-ig k=20"], ["eap-gp", "GPT-2", "demo", "eap-ig"]):
        assert len({style.colour for style in line_styles(names)}) == len(names)
    assert len({style.colour for style in METHOD_STYLES.values()}) == len(METHOD_STYLES)
    five = line_styles([f"eap-gp ({name})" for name in "abcde"])
    assert len({style.symbol for style in five}) == 5, "not by shades of green alone"


def test_apply_escapes_its_texts_and_says_how_to_read() -> None:
    fig = apply(
        go.Figure(go.Scatter(x=[1], y=[2])), title=HOSTILE, x=HOSTILE, y="y", note=HOSTILE, read="so", dark=True
    )
    for text in (fig.layout.title.text, fig.layout.title.subtitle.text, fig.layout.xaxis.title.text):
        assert "<" not in text.replace("<br>", "")
    assert fig.layout.meta == {"read": "so"}
    assert fig.layout.paper_bgcolor == fig.layout.plot_bgcolor == "rgba(0,0,0,0)"


# scale


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20), st.floats(1.0, 6.0))
@example([5e-324], 3.0)  # a threshold of 0 would be divided by
@example([2.2e-311, 1e-311], 6.0)
@settings(deadline=None)
def test_signed_log_is_odd_increasing_and_invertible(values: list[float], decades: float) -> None:
    array = np.array(sorted(values))
    scale = SignedLog.over(array, decades=decades)
    places = scale(array)
    assert np.all(np.diff(places) >= 0)
    assert np.allclose(scale(-array), -places)
    back = np.sign(places) * scale.threshold * (10.0 ** np.abs(places) - 1.0)
    assert np.allclose(back, array, rtol=1e-6, atol=1e-9 * scale.largest)
    assert np.all(np.abs(places) <= scale.end + 1e-9) and scale(np.array(0.0)) == 0


def test_signed_log_ticks_are_symmetric_and_truly_placed() -> None:
    scale = SignedLog.over(np.array([-3.0, 0.02]))
    places, labels = scale.ticks()
    assert places == pytest.approx([-p for p in reversed(places)])
    assert labels == ["−1", "−0.1", "−0.01", "0", "0.01", "0.1", "1"]
    assert scale.threshold * (10.0 ** places[-1] - 1.0) == pytest.approx(1.0)


# numbers


def test_order_ignores_sign_and_leaves_unscored_out() -> None:
    values = np.array([0.1, -3.0, np.nan, 2.0, -0.1])
    assert order_by_size(values).tolist() == [1, 3, 0, 4]
    graph = Graph(1, 1)
    matrix = np.zeros((graph.n_sources, graph.n_destinations))
    matrix[graph.mask] = np.append(values, np.zeros(graph.n_edges - len(values)))
    found = EdgeScores(graph, matrix).ranks
    assert np.array_equal(found[:5], [3, 1, np.nan, 2, 4], equal_nan=True)
    assert found[5:].tolist() == list(range(5, graph.n_edges))  # ties by position


def ranks(values: np.ndarray) -> np.ndarray:
    found = np.full(len(values), np.nan)
    order = order_by_size(values)
    found[order] = np.arange(1, len(order) + 1)
    return found


@given(st.integers(0, 10_000), st.integers(2, 60))
@settings(max_examples=30, deadline=None)
def test_jaccard_equals_sets(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal(n), rng.standard_normal(n)
    a[rng.random(n) < 0.1] = np.nan
    ks = np.arange(1, n + 1)
    for k, value in zip(ks, jaccard_at(ranks(a), ranks(b), ks), strict=True):
        first = set(order_by_size(a)[:k])
        second = set(order_by_size(b)[:k])
        union = first | second
        assert value == pytest.approx(len(first & second) / max(1, len(union)))


def test_correlations_are_over_what_both_scored() -> None:
    from scipy import stats

    rng = np.random.default_rng(0)
    a, b = rng.standard_normal(50), rng.integers(0, 5, 50).astype(float)
    expected = (stats.pearsonr(a, b).statistic, stats.spearmanr(a, b).statistic, 50)
    assert correlations(a, b) == pytest.approx(expected)
    holed = np.append(a, [np.nan, 3.0]), np.append(b, [1.0, np.nan])
    assert correlations(*holed) == pytest.approx(expected)


@pytest.mark.parametrize("by", ["layer", "type"])
def test_blocks_equal_a_loop_over_edges(by: str) -> None:
    graph = Graph(2, 3)
    rng = np.random.default_rng(1)
    scores = EdgeScores(graph, np.where(graph.mask, rng.standard_normal(graph.mask.shape), 0.0))

    def row_of(s: int) -> str:
        name = graph.sources[s]
        if name == "input":
            return name
        return f"layer {graph.source_layers[s]}" if by == "layer" else name.split(".")[0]

    def column_of(d: int) -> str:
        name, layer, kind = graph.destinations[d], graph.destination_layers[d], graph.destination_types[d]
        if name == "logits":
            return name
        return f"layer {layer}" if by == "layer" else (name if kind == "mlp" else f"a{layer} {kind}")

    gathered: dict[tuple[str, str], list[float]] = {}
    for s, d in zip(*np.nonzero(graph.mask), strict=True):
        gathered.setdefault((row_of(s), column_of(d)), []).append(float(scores.values[s, d]))
    rules = {"sum": sum, "sum_abs": lambda v: sum(map(abs, v)), "largest": lambda v: max(v, key=abs)}
    for rule, reduce in rules.items():
        rows, columns, blocks = block_matrix(scores, rule=rule, by=by)  # type: ignore[arg-type]
        seen = {
            (r, c): blocks[i, j] for i, r in enumerate(rows) for j, c in enumerate(columns) if np.isfinite(blocks[i, j])
        }
        assert seen.keys() == gathered.keys()
        for key, values in gathered.items():
            assert seen[key] == pytest.approx(reduce(values))


# projection


def random_paths(seed: int, k: int = 5) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    clean, corrupted = rng.standard_normal((2, 4, 6))
    straight = np.stack([clean + j / k * (corrupted - clean) for j in range(k + 1)])
    walk = np.concatenate([np.zeros((1, 4, 6)), rng.standard_normal((k, 4, 6))]).cumsum(axis=0)
    return {"gradpath": clean + 0.3 * walk, "straight": straight}, clean, corrupted


@given(st.integers(0, 500))
@settings(max_examples=30, deadline=None)
def test_distances_inside_the_plane_are_true_distances(seed: int) -> None:
    paths, clean, corrupted = random_paths(seed)
    plane = project_paths(paths, clean, corrupted)
    xy = np.random.default_rng(seed).standard_normal((7, 2)) * 3
    points = plane.to_space(xy)
    assert points.shape == (7, 4, 6)
    true = np.linalg.norm((points[:, None] - points[None]).reshape(7, 7, -1), axis=-1)
    drawn = np.linalg.norm(xy[:, None] - xy[None], axis=-1)
    assert np.allclose(true, drawn)
    assert np.allclose(np.tensordot(points - plane.origin, plane.axes, axes=((-2, -1), (1, 2))), xy)
    flat = plane.axes.reshape(2, -1)
    assert np.allclose(flat @ flat.T, np.eye(2))


@given(st.integers(0, 500))
@settings(max_examples=30, deadline=None)
def test_ends_lie_on_the_first_axis_and_the_straight_line_is_whole(seed: int) -> None:
    paths, clean, corrupted = random_paths(seed)
    plane = project_paths(paths, clean, corrupted)
    assert np.allclose(plane.origin, clean)
    assert np.allclose(plane.corrupted, [float(np.linalg.norm(corrupted - clean)), 0.0])
    assert plane.explained["straight"] == pytest.approx(1)
    assert np.allclose(plane.coordinates["straight"][:, 1], 0)
    moves = paths["gradpath"] - clean
    outside = moves - (plane.to_space(plane.coordinates["gradpath"]) - clean)
    assert plane.explained["gradpath"] == pytest.approx(1 - (outside**2).sum() / (moves**2).sum())


@given(st.integers(0, 200))
@settings(max_examples=20, deadline=None)
def test_no_other_second_axis_shows_more_of_gradpath(seed: int) -> None:
    paths, clean, corrupted = random_paths(seed)
    plane = project_paths(paths, clean, corrupted)
    first = plane.axes[0].ravel()
    moves = (paths["gradpath"] - clean).reshape(len(paths["gradpath"]), -1)
    other = np.random.default_rng(seed + 1).standard_normal(first.size)
    other -= (other @ first) * first
    other /= np.linalg.norm(other)
    assert ((moves @ plane.axes[1].ravel()) ** 2).sum() >= ((moves @ other) ** 2).sum() - 1e-9


def test_degenerate_paths_still_have_a_plane() -> None:
    paths, clean, corrupted = random_paths(3)
    line = {"gradpath": paths["straight"]}
    still = {"gradpath": np.repeat(clean[None], 4, axis=0)}
    for given_paths, x_prime in ((line, corrupted), (still, corrupted), (still, clean), (paths, clean)):
        plane = project_paths(given_paths, clean, x_prime)
        flat = plane.axes.reshape(2, -1)
        assert np.allclose(flat @ flat.T, np.eye(2)) and np.isfinite(plane.grid(5)).all()
    assert project_paths(still, clean, corrupted).explained["gradpath"] == 1


def test_shapes_that_differ_are_refused() -> None:
    paths, clean, corrupted = random_paths(0)
    with pytest.raises(OptionError, match="'gradpath' has points of shape"):
        project_paths(paths, clean[:3], corrupted[:3])


def test_the_grid_covers_what_is_drawn() -> None:
    paths, clean, corrupted = random_paths(5)
    plane = project_paths(paths, clean, corrupted)
    x, y = plane.grid(11)
    drawn = np.concatenate([*plane.coordinates.values(), plane.corrupted[None], np.zeros((1, 2))])
    assert len(x) == len(y) == 11
    assert x[0] < drawn[:, 0].min() and x[-1] > drawn[:, 0].max()
    assert y[0] < drawn[:, 1].min() and y[-1] > drawn[:, 1].max()


def record_of(
    kind: str, points: np.ndarray, clean: np.ndarray, corrupted: np.ndarray, lengths: list[int]
) -> PathRecord:
    n_points, n_pairs = points.shape[:2]

    def norm(values: np.ndarray) -> np.ndarray:
        return np.linalg.norm(values.reshape(n_points, n_pairs, -1), axis=-1)

    flat = np.ones((n_points, n_pairs))
    to_corrupted, to_clean = norm(points - corrupted), norm(points - clean)
    gradient = np.ones((n_points, n_pairs, 3))
    used = np.ones(n_points, bool)
    return PathRecord(kind, flat, flat, to_corrupted, to_clean, flat, gradient, used, np.array(lengths), points)


def padded_records() -> tuple[dict[str, PathRecord], np.ndarray, np.ndarray]:
    """Two pairs, the second with one padded position that holds nonsense."""
    rng = np.random.default_rng(0)
    clean, corrupted = rng.standard_normal((2, 2, 4, 3))
    straight = np.stack([clean + j / 3 * (corrupted - clean) for j in range(4)])
    path = np.stack([clean, *(clean + rng.standard_normal((2, 4, 3)) for _ in range(3))])
    records = {
        kind: record_of(kind, points, clean, corrupted, [4, 3])
        for kind, points in (("gradpath", path), ("straight", straight))
    }
    return records, clean, corrupted


def test_a_record_is_projected_from_its_own_ends_without_padding() -> None:
    records, clean, corrupted = padded_records()
    found_clean, found_corrupted = path_ends(records, 1)
    assert np.allclose(found_clean, clean[1, :3]) and np.allclose(found_corrupted, corrupted[1, :3])
    plane = project_record(records, 1)
    assert plane.distance == pytest.approx(np.linalg.norm(corrupted[1, :3] - clean[1, :3]))
    with pytest.raises(OptionError, match="pair 2 does not exist: expected 0 … 1"):
        project_record(records, 2)
    with pytest.raises(OptionError, match="reaches the corrupted input of pair 0"):
        project_record({"gradpath": records["gradpath"]}, 0)


def test_the_mean_is_in_units_of_each_pairs_distance() -> None:
    records, _, _ = padded_records()
    planes = [project_record(records, pair) for pair in (0, 1)]
    averaged = mean_projection(planes)
    assert np.allclose(averaged.mean["straight"][:, 0], np.arange(4) / 3)
    by_hand = np.mean([p.coordinates["gradpath"] / p.distance for p in planes], axis=0)
    assert np.allclose(averaged.mean["gradpath"], by_hand)


# data


def test_the_table_is_what_is_drawn() -> None:
    fig = go.Figure()
    fig.add_scatter(
        x=[1, 2], y=[3, 4], name="a &amp; b", customdata=[["p", 5], ["q", 6]], meta={"columns": ["edge", "n"]}
    )
    fig.add_scatter(x=[9], y=[9], name="band", meta={"hidden": True})
    apply(fig, title="t", x="size (edges)", y="score", read="r")
    table = figure_data(fig)
    assert table.columns.tolist() == ["series", "size (edges)", "score", "edge", "n"]
    assert table.values.tolist() == [["a & b", 1, 3, "p", 5], ["a & b", 2, 4, "q", 6]]


def test_the_table_of_a_heat_map_has_raw_values_and_no_blanks() -> None:
    z = np.array([[1.0, np.nan], [2.0, 3.0]])
    fig = go.Figure(go.Heatmap(z=z, customdata=z * 10, x=["a&lt;q&gt;", "b"], y=["s", "t"], meta={"value": "score"}))
    apply(fig, title="t", x="to", y="from", read="r")
    rows = figure_data(fig)[["from", "to", "score"]].values.tolist()
    assert rows == [["s", "a<q>", 10.0], ["t", "a<q>", 20.0], ["t", "b", 30.0]]
    assert figure_data(go.Figure()).empty


def test_figures_import_neither_torch_nor_streamlit() -> None:
    modules = [
        "heatmap",
        "scores",
        "compare",
        "curves",
        "path",
        "path_curves",
        "path_edge",
        "path_maps",
        "attention",
        "direct",
        "evidence",
        "data",
    ]
    code = "import sys\n" + "\n".join(f"import eapgp.figures.{m}" for m in modules)
    code += "\nprint(sorted({'torch', 'streamlit', 'transformer_lens', 'scipy'} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
