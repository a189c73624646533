"""What every figure draws equals what it was given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import plotly.graph_objects as go
import pytest

from eapgp.attribution.result import EdgeScores, PathRecord
from eapgp.errors import OptionError
from eapgp.figures import (
    attention,
    compare,
    curves,
    direct,
    evidence,
    heatmap,
    path,
    path_curves,
    path_edge,
    path_maps,
    scores,
)
from eapgp.figures.data import figure_data
from eapgp.figures.inputs import Background, ConfusionRow, CurveLine, PrecisionRecallLine, RocLine
from eapgp.figures.numbers import edge_values
from eapgp.figures.projection import project_record
from eapgp.figures.style import AGAINST, METHOD_STYLES, PATH_STYLES, SUPPORTS, fade, unescape
from eapgp.graph import Graph

GRAPH = Graph(3, 2, d_model=4)
HOSTILE = ["<img src=x onerror=alert(1)>", " <b>Amy</b>", "&lt;", "$a$", "%{x}"]


def edge_scores(seed: int = 0) -> EdgeScores:
    values = np.random.default_rng(seed).standard_normal(GRAPH.mask.shape)
    values *= 10.0 ** np.random.default_rng(seed + 50).uniform(-4, 0, values.shape)
    return EdgeScores(GRAPH, np.where(GRAPH.mask, values, 0.0))


def records(n_pairs: int = 3, k: int = 4) -> dict[str, PathRecord]:
    """Paths whose first step raises GradPath's distance in pair 0 only, by enough to raise the mean."""
    rng = np.random.default_rng(0)
    clean, corrupted = rng.standard_normal((2, n_pairs, 5, 4))
    straight = np.stack([clean + j / k * (corrupted - clean) for j in range(k + 1)])
    walk = clean + 0.3 * np.concatenate([np.zeros((1, *clean.shape)), rng.standard_normal((k, *clean.shape))]).cumsum(0)
    found = {}
    for kind, points in (("gradpath", walk), ("straight", straight)):
        shape = (k + 1, n_pairs)
        distance = np.repeat(np.linspace(10, 1, k + 1)[:, None], n_pairs, axis=1) * (1 + np.arange(n_pairs))
        gradient = rng.uniform(0.5, 1, (*shape, GRAPH.n_destinations))
        norms = rng.uniform(1, 2, shape)
        if kind == "gradpath":
            distance[1, 0] = 200
            gradient[0], norms[0] = np.nan, np.nan
        found[kind] = PathRecord(
            kind,
            output_distance=distance,
            metric=np.tanh(distance),
            to_corrupted=np.linalg.norm((points - corrupted).reshape(*shape, -1), axis=-1),
            to_clean=np.linalg.norm((points - clean).reshape(*shape, -1), axis=-1),
            gradient_norm=norms,
            destination_gradient=gradient,
            used=np.isfinite(norms[:, 0]),
            lengths=np.full(n_pairs, 5),
            points=points,
        )
    return found


SIZES = np.array([0, 1, 10, 100])


def curve(name: str) -> CurveLine:
    values = np.array([0.0, 0.2, 0.7, 1.0])
    return CurveLine(name, SIZES, values, values - 0.1, values + 0.1, kept=np.array([0, 1, 8, 100]))


RATES = np.array([0.0, 0.2, 1.0])
ATTENTION = np.tril(np.arange(1.0, 26).reshape(5, 5)) / 25

EVERY: dict[str, Callable[[bool], go.Figure]] = {
    "score_heatmap": lambda d: heatmap.score_heatmap(edge_scores(), dark=d),
    "block_heatmap": lambda d: heatmap.block_heatmap(edge_scores(), dark=d),
    "scores_distribution": lambda d: scores.scores_distribution(edge_scores(), dark=d),
    "score_by_layer": lambda d: scores.score_by_layer(edge_scores(), dark=d),
    "cumulative_share": lambda d: scores.cumulative_share({"eap": edge_scores()}, current=5, dark=d),
    "rank_scatter": lambda d: compare.rank_scatter(edge_scores(), edge_scores(1), ("eap", "eap-gp"), 20, dark=d),
    "jaccard_curve": lambda d: compare.jaccard_curve({"eap": edge_scores(), "exact": edge_scores(1)}, dark=d),
    "group_bars": lambda d: compare.group_bars(["q", "k"], {"eap": [0.5, -0.2]}, measure="Kendall", dark=d),
    "faithfulness_curves": lambda d: curves.faithfulness_curves(
        [curve("eap")], n_edges=100, random=curve("random"), current=10, dark=d
    ),
    "faithfulness_difference": lambda d: curves.faithfulness_difference(
        curve("a"), n_edges=100, names=("eap", "eap-ig"), current=10, dark=d
    ),
    "roc": lambda d: curves.roc([RocLine("eap", RATES, RATES**0.5, 0.7)], dark=d),
    "precision_recall": lambda d: curves.precision_recall(
        [PrecisionRecallLine("eap", RATES, 1 - RATES, np.array([1, 2, 3]))], base_rate=0.1, dark=d
    ),
    "path_projection": lambda d: path.path_projection(records(), current=1, dark=d),
    "path_projection_mean": lambda d: path.path_projection(records(), pair=None, current=1, dark=d),
    "path_curves": lambda d: path_curves.path_curves(records(), "output_distance", current=1, dark=d),
    "vanished_curve": lambda d: path_curves.vanished_curve(records(), GRAPH, current=1, dark=d),
    "edge_along_path": lambda d: path_edge.edge_along_path({"gradpath": np.array([np.nan, 1.0])}, "a->b<q>", dark=d),
    "vanished_heatmap": lambda d: path_maps.vanished_heatmap(records(), GRAPH, current=1, dark=d),
    "positions_heatmap": lambda d: path_maps.positions_heatmap(records(), 0, HOSTILE, current=1, dark=d),
    "attention_map": lambda d: attention.attention_map(ATTENTION, HOSTILE, dark=d),
    "attention_difference": lambda d: attention.attention_map(ATTENTION - 0.5, HOSTILE, side="difference", dark=d),
    "contribution_by_pair": lambda d: direct.contribution_by_pair(RATES, -RATES, node="a<b>", pair=1, dark=d),
    "contributions_by_node": lambda d: direct.contributions_by_node(
        HOSTILE, ATTENTION[4], ATTENTION[3], others=(0.1, -0.2), total=3.1, dark=d
    ),
    "token_bars": lambda d: direct.token_bars([(token, 1.0 - i) for i, token in enumerate(HOSTILE)], title="t", dark=d),
    "complement_bars": lambda d: evidence.complement_bars([0.9, 0.2], low=[0.8, 0.1], high=[1, 0.3], dark=d),
    "minimality": lambda d: evidence.minimality(["a->b<q>", "c->d"], np.array([0.1, 0.4]), random=(-0.1, 0.1), dark=d),
    "confusion": lambda d: evidence.confusion([ConfusionRow("eap", 3, 2, 1)], dark=d),
}


def shown_traces(fig: go.Figure) -> list[go.Scatter]:
    return [trace for trace in fig.data if not (trace.meta or {}).get("hidden")]


@pytest.mark.parametrize("name", EVERY)
def test_every_figure_says_what_it_shows(name: str) -> None:
    light, dark = EVERY[name](False), EVERY[name](True)
    for fig in (light, dark):
        assert fig.layout.title.text
        assert len(fig.layout.meta["read"]) > 30 and fig.layout.meta["read"].endswith((".", ")."))
        titles = [axis.title.text for axis in (*fig.select_xaxes(), *fig.select_yaxes())]
        assert sum(bool(title) for title in titles) >= 2
        for trace in shown_traces(fig):
            assert trace.hovertemplate, f"{trace.name} has no hover text"
            assert ":+" not in trace.hovertemplate, f"{trace.name}: plotly would write a hyphen for a minus sign"
        assert len(figure_data(fig)) > 0
        assert fig.layout.paper_bgcolor == "rgba(0,0,0,0)"
    assert light.layout.font.color != dark.layout.font.color
    assert figure_data(light).equals(figure_data(dark))


@pytest.mark.parametrize("name", EVERY)
def test_no_figure_lets_markup_through(name: str) -> None:
    """All text that plotly draws is free of tags but the line breaks and bold type of our own."""
    fig = EVERY[name](False).to_dict()
    drawn: list[str] = []

    def collect(value: object, key: str) -> None:
        if isinstance(value, dict):
            for inner, item in value.items():
                collect(item, inner)
        elif isinstance(value, list | tuple):
            for item in value:
                collect(item, key)
        elif isinstance(value, str) and key in ("text", "ticktext", "hovertext", "x", "y", "name", "label"):
            drawn.append(value)

    collect({**fig, "layout": {k: v for k, v in fig["layout"].items() if k != "template"}}, "")
    for text in drawn:
        bare = text.replace("<br>", "").replace("<b>", "").replace("</b>", "")
        assert "<" not in bare, text


# heat maps


def test_heat_map_cells_are_the_scores() -> None:
    given = edge_scores()
    for log in (True, False):
        fig = heatmap.score_heatmap(given, log=log)
        table = figure_data(fig)
        assert len(table) == GRAPH.n_edges
        for _, row in table.iterrows():
            s, d = GRAPH.source_index(row["source"]), GRAPH.destination_index(row["destination"])
            assert row["score"] == pytest.approx(given.values[s, d], rel=1e-5)
        heat = fig.data[0]
        assert heat.zmin == -heat.zmax
        assert np.nanmax(np.abs(heat.z)) == pytest.approx(heat.zmax, rel=1e-5)
        assert np.array_equal(np.isfinite(heat.z), GRAPH.mask)
        assert heat.colorscale[0][1] == AGAINST and heat.colorscale[-1][1] == SUPPORTS


def test_a_shared_limit_gives_panes_one_scale() -> None:
    fig_a = heatmap.score_heatmap(edge_scores(0), limit=50.0)
    fig_b = heatmap.score_heatmap(edge_scores(1), limit=50.0)
    assert fig_a.data[0].zmax == fig_b.data[0].zmax
    assert fig_a.data[0].colorbar.tickvals == fig_b.data[0].colorbar.tickvals


def test_clicks_land_on_the_strongest_edges() -> None:
    given = edge_scores()
    targets = heatmap.score_heatmap(given, clickable=7).data[1]
    assert [row[0] for row in targets.customdata] == [name for name, _ in given.top(7)]
    assert [f"{unescape(y)}->{unescape(x)}" for x, y in zip(targets.x, targets.y, strict=True)] == [
        row[0] for row in targets.customdata
    ]
    assert targets.mode == "markers" and targets.marker.opacity == 0


def test_unscored_edges_are_blank_and_counted() -> None:
    values = edge_scores().values.copy()
    values[0, :3] = np.nan
    fig = heatmap.score_heatmap(EdgeScores(GRAPH, values))
    assert len(figure_data(fig)) == GRAPH.n_edges - 3
    assert "3 of them not scored" in fig.layout.title.subtitle.text


def test_large_graphs_are_drawn_by_blocks_and_say_so() -> None:
    fig = heatmap.score_heatmap(edge_scores(), max_cells=100)
    assert fig.data[0].z.shape == (1 + 2 * 3, 4 * 3 + 1)
    note = fig.layout.title.subtitle.text.replace("<br>", " ")
    assert "the score of largest size among its edges" in note and str(GRAPH.n_edges) in note


def test_sums_of_sizes_do_not_wear_a_sign_colour() -> None:
    fig = heatmap.block_heatmap(edge_scores(), rule="sum_abs")
    assert fig.data[0].zmin == 0
    assert not {SUPPORTS, AGAINST} & {stop[1] for stop in fig.data[0].colorscale}
    assert figure_data(fig)["sum of |score|"].sum() == pytest.approx(np.abs(edge_values(edge_scores())).sum())
    with pytest.raises(OptionError, match="rule 'mean' is unknown"):
        heatmap.block_heatmap(edge_scores(), rule="mean")  # type: ignore[arg-type]


# distributions


def test_every_nonzero_score_is_in_one_bar_of_its_sign() -> None:
    values = edge_scores().values.copy()
    values[0, 0] = 0.0
    fig = scores.scores_distribution(EdgeScores(GRAPH, values))
    up, down = fig.data
    drawn = values[GRAPH.mask]
    assert np.sum(up.y) == (drawn > 0).sum() and -np.sum(down.y) == (drawn < 0).sum()
    assert up.marker.color == SUPPORTS and down.marker.color == AGAINST
    assert "1 are exactly 0" in fig.layout.title.subtitle.text.replace("<br>", " ")


def test_layer_bars_add_up_to_the_total() -> None:
    given = edge_scores()
    fig = scores.score_by_layer(given)
    assert sum(np.sum(bar.y) for bar in fig.data) == pytest.approx(np.abs(edge_values(given)).sum())
    to_logits = next(bar for bar in fig.data if bar.name == "to logits")
    assert to_logits.y[0] == pytest.approx(abs(given.values[0, -1]))


def test_cumulative_share_ends_at_the_whole() -> None:
    given = edge_scores()
    line = scores.cumulative_share({"eap": given}).data[0]
    sizes = np.sort(np.abs(edge_values(given)))[::-1]
    assert line.x[0] == 1 and line.x[-1] == GRAPH.n_edges and line.y[-1] == pytest.approx(1)
    at = 4
    assert line.y[at] == pytest.approx(sizes[: line.x[at]].sum() / sizes.sum())


# comparison


def test_scatter_sorts_edges_into_the_right_sets() -> None:
    a = edge_scores()
    flipped = a.values.copy()
    strongest = [GRAPH.edge_index(name) for name, _ in a.top(3)]
    flipped[strongest[0]] *= -1
    flipped[strongest[1]] = 0.0
    b = EdgeScores(GRAPH, flipped)
    fig = compare.rank_scatter(a, b, ("eap", "exact"), 3)
    found = {trace.name.split(" (")[0]: [row[0] for row in trace.customdata] for trace in fig.data}
    names = [name for name, _ in a.top(4)]
    assert found == {"both": [names[2]], "only eap": [names[1]], "only exact": [names[3]], "sign flipped": [names[0]]}
    table = figure_data(fig).set_index("edge")
    assert table["score A"][names[0]] == pytest.approx(-table["score B"][names[0]])
    assert table.loc[names[0], "rank A"] == 1
    note = fig.layout.title.subtitle.text.replace("<br>", " ")
    expected = np.corrcoef(edge_values(a), edge_values(b))[0, 1]
    assert f"Pearson {expected:.3g}".replace("-", "−") in note


def test_scatter_draws_the_strongest_of_large_graphs_and_counts_all() -> None:
    graph = Graph(6, 8)
    a, b = (
        EdgeScores(graph, np.where(graph.mask, np.random.default_rng(seed).normal(size=graph.mask.shape), 0.0))
        for seed in (0, 1)
    )
    k = 3000
    assert graph.n_edges > k > compare.MOST_POINTS
    fig = compare.rank_scatter(a, b, ("a", "b"), k, correlation=(0.25, 0.5, 7))
    drawn = {row[0] for trace in fig.data for row in trace.customdata}
    limit = compare.MOST_POINTS
    assert drawn == {name for name, _ in a.top(limit)} | {name for name, _ in b.top(limit)}
    counts = [int(trace.name.split("(")[1].rstrip(")").replace(",", "")) for trace in fig.data]
    assert sum(counts) == len({name for name, _ in a.top(k)} | {name for name, _ in b.top(k)})
    note = fig.layout.title.subtitle.text.replace("<br>", " ")
    assert "drawn: the 2,500 strongest of each" in note and "0.25" in note and "all 7 edges" in note


def test_scatter_axes_share_one_symmetric_scale() -> None:
    fig = compare.rank_scatter(edge_scores(), edge_scores(1), ("eap", "exact"), 10)
    assert fig.layout.xaxis.range == fig.layout.yaxis.range
    assert fig.layout.xaxis.range[0] == -fig.layout.xaxis.range[1]
    by_rank = compare.rank_scatter(edge_scores(), edge_scores(1), ("eap", "exact"), 10, quantity="ranks")
    for trace in by_rank.data:
        assert [row[3] for row in trace.customdata] == list(trace.x)


def test_scores_of_two_graphs_are_not_compared() -> None:
    other = Graph(1, 1)
    small = EdgeScores(other, np.zeros(other.mask.shape))
    with pytest.raises(OptionError, match="different graphs"):
        compare.rank_scatter(edge_scores(), small, ("a", "b"), 3)
    with pytest.raises(OptionError, match="two methods"):
        compare.jaccard_curve({"eap": edge_scores()})


def test_jaccard_curve_of_equal_scores_is_one_and_ends_at_one() -> None:
    given = {"exact": edge_scores(), "eap": edge_scores(), "eap-gp": edge_scores(1)}
    same, other, chance = compare.jaccard_curve(given).data
    assert np.all(np.asarray(same.y) == 1)
    assert other.y[-1] == 1 and min(other.y) < 1
    half = GRAPH.n_edges // 2  # two random halves share a quarter of all edges, a third of their union
    random = compare.jaccard_curve(given, [half, GRAPH.n_edges]).data[-1]
    assert list(random.y) == pytest.approx([1 / 3, 1], rel=0.05) and chance.y[-1] == 1
    assert same.line.color == METHOD_STYLES["eap"].colour and other.line.color == METHOD_STYLES["eap-gp"].colour


# curves


def test_faithfulness_curve_draws_its_values_bands_and_percentages() -> None:
    fig = curves.faithfulness_curves([curve("eap")], n_edges=100, current=10)
    band, line = fig.data[0], fig.data[1]
    assert list(line.x) == [1, 10, 100] and list(line.y) == [0.2, 0.7, 1.0]
    assert np.asarray(band.y) == pytest.approx([0.3, 0.8, 1.1, 0.9, 0.6, 0.1])
    assert [row[:3] for row in line.customdata] == [[1, 0.01, 1], [10, 0.1, 8], [100, 1.0, 100]]
    assert line.line.color == METHOD_STYLES["eap"].colour
    top = fig.layout.xaxis2
    assert dict(zip(top.ticktext, top.tickvals, strict=True))["10 %"] == 10 and top.matches == "x"
    assert {shape.y0 for shape in fig.layout.shapes if shape.y0 == shape.y1} == {0, 1}
    assert any(shape.x0 == 10 == shape.x1 for shape in fig.layout.shapes)


def test_circuits_of_nodes_stand_at_their_edges_in_the_colour_of_their_run() -> None:
    nodes = replace(curve("eap"), nodes=np.array([0, 1, 4, 9]))
    fig = curves.faithfulness_curves([curve("eap-ig"), curve("eap"), nodes], n_edges=100)
    lines = {trace.name: trace for trace in fig.data if trace.name and trace.hovertemplate}
    both = lines["eap"], lines["eap, nodes"]
    assert both[0].line.color == both[1].line.color != lines["eap-ig"].line.color
    assert both[0].line.dash != both[1].line.dash and list(both[1].x) == [1, 10, 100]
    assert [row[5] for row in both[1].customdata] == [1, 4, 9] and both[1].text[0].startswith("1 node with 1 edges")
    (alone,) = (trace for trace in curves.faithfulness_curves([nodes], n_edges=100).data if trace.hovertemplate)
    assert alone.line.color == METHOD_STYLES["eap"].colour


def test_wild_bands_do_not_flatten_the_curve() -> None:
    wild = CurveLine("eap", SIZES, np.array([0, 0.2, 0.7, 1.0]), np.full(4, -500.0), np.full(4, 900.0))
    low, high = curves.faithfulness_curves([wild], n_edges=100).layout.yaxis.range
    assert -1.5 < low < 0 < 1 < high < 2.5


def test_undefined_faithfulness_leaves_a_gap() -> None:
    holed = CurveLine("eap", SIZES, np.array([np.nan, 0.5, np.nan, 1.0]))
    (line,) = (trace for trace in curves.faithfulness_curves([holed], n_edges=100).data if trace.name == "eap")
    assert np.isnan(line.y[1])


def test_flips_of_the_order_stand_beside_the_difference() -> None:
    fig = curves.faithfulness_difference(
        curve("a − b"), n_edges=100, names=("eap-gp", "eap-ig"), flips=np.array([0.0, 0.1, 0.4, np.nan])
    )
    table = figure_data(fig)
    assert table["order flips"].tolist()[:2] == [0.1, 0.4] and table["low"].tolist() == pytest.approx([0.1, 0.6, 0.9])
    line = shown_traces(fig)[0]
    assert list(line.hovertext) == [
        "<br>the order flips in 10 % of the resamples",
        "<br>the order flips in 40 % of the resamples",
        "",
    ]


# paths


def test_projection_draws_the_paths_of_the_pair() -> None:
    given = records()
    plane = project_record(given, 2)
    fig = path.path_projection(given, pair=2, current=3)
    drawn = {trace.name: trace for trace in shown_traces(fig)}
    for kind, name in (("gradpath", "GradPath"), ("straight", "Straight line")):
        assert np.allclose(np.c_[drawn[name].x, drawn[name].y], plane.coordinates[kind])
        assert drawn[name].line.color == PATH_STYLES[kind].colour
        assert [row[:2] for row in drawn[name].customdata] == [[kind, step] for step in range(5)]
        assert [row[2] for row in drawn[name].customdata] == pytest.approx(given[kind].output_distance[:, 2])
    assert np.allclose(np.c_[drawn["ends"].x, drawn["ends"].y], np.array([[0.0, 0.0], [plane.distance, 0.0]]))
    assert fig.layout.yaxis.scaleanchor == "x" and fig.layout.yaxis.scaleratio == 1
    halo = next(trace for trace in fig.data if trace.name == "current step")
    assert np.allclose([halo.x[0], halo.y[0]], plane.coordinates["gradpath"][3])


def test_background_is_drawn_on_the_plane() -> None:
    given = records()
    plane = project_record(given, 0)
    x, y = plane.grid(4)
    z = np.arange(16.0).reshape(4, 4)
    fig = path.path_projection(given, background=Background(x, y, z, "metric"))
    assert np.array_equal(fig.data[0].z, z) and fig.layout.xaxis.range == (x[0], x[-1])


def test_step_numbers_never_pile_up_and_the_ends_keep_theirs() -> None:
    many = records(k=40)
    fig = path.path_projection(many, pair=0)
    drawn = {trace.name: trace for trace in fig.data if trace.name in ("GradPath", "Straight line")}
    numbered = []
    for trace in drawn.values():
        points = np.stack([trace.x, trace.y], axis=1)
        assert trace.text[-1] == "40" and len(trace.text) == 41
        numbered += [points[step] for step, text in enumerate(trace.text) if text]
        assert all(text in ("", str(step)) for step, text in enumerate(trace.text))
    assert len(numbered) < 40
    everything = np.concatenate([np.stack([trace.x, trace.y], axis=1) for trace in drawn.values()])
    span = float((everything.max(axis=0) - everything.min(axis=0)).max())
    gaps = [np.linalg.norm(a - b) for i, a in enumerate(numbered) for b in numbered[:i]]
    assert min(gaps) > 0.02 * span


def test_focus_fills_the_panel_with_one_path() -> None:
    given = records()
    points = project_record(given, 0).coordinates["gradpath"]
    fig = path.path_projection(given, pair=0, focus="gradpath")
    for axis, values in ((fig.layout.xaxis, points[:, 0]), (fig.layout.yaxis, points[:, 1])):
        assert axis.range[0] < values.min() and values.max() < axis.range[1]
    assert fig.layout.xaxis.range[1] - fig.layout.xaxis.range[0] < 1.5 * np.ptp(points, axis=0).max()


def test_on_a_phone_the_panel_takes_the_shape_of_what_it_shows() -> None:
    given = records()
    plane = project_record(given, 0)
    x, y = plane.grid(4)
    terrain = Background(x, y, np.zeros((4, 4)), "metric")
    wide = path.path_projection(given, pair=0)
    for options in ({}, {"focus": "gradpath"}, {"background": terrain}, {"pair": None}):
        fig = path.path_projection(given, **{"pair": 0, "width": 360} | options)
        (left, right), (low, high) = fig.layout.xaxis.range, fig.layout.yaxis.range
        panel = fig.layout.height - fig.layout.margin.t - fig.layout.margin.b
        assert panel == pytest.approx(min(max(248 * (high - low) / (right - left), 100), 420), abs=51)
        assert panel < wide.layout.height - wide.layout.margin.t - wide.layout.margin.b
        for trace in shown_traces(fig):
            if trace.type == "scatter" and trace.name == "GradPath":
                assert left <= min(trace.x) and max(trace.x) <= right and low <= min(trace.y) and max(trace.y) <= high
    bar = path.path_projection(given, pair=0, background=terrain, width=360).data[0].colorbar
    assert bar.orientation == "h" and bar.title.text == "metric"


def test_the_mark_of_the_step_comes_with_its_places_at_all_steps() -> None:
    given = records()
    fig = path.path_projection(given, pair=0, current=2)
    plane = project_record(given, 0)
    ring = next(trace for trace in fig.data if trace.name == "current step")
    kinds = list(plane.coordinates)
    for step, places in enumerate(ring.meta["places"]):
        assert np.allclose(places, [plane.coordinates[kind][step] for kind in kinds])
    assert np.allclose(np.stack([ring.x, ring.y], axis=1), ring.meta["places"][2])


def test_path_curves_show_pairs_mean_and_overshoot() -> None:
    given = records()
    fig = path_curves.path_curves(given, "output_distance", current=2)
    mean = next(trace for trace in fig.data if trace.name == "GradPath")
    assert np.allclose(mean.y, given["gradpath"].output_distance.mean(axis=1))
    assert list(mean.marker.symbol) == ["diamond", "triangle-up", "diamond", "diamond", "diamond"]
    assert "the distance rose in some step for 1 of 3 pairs" in fig.layout.title.subtitle.text.replace("<br>", " ")
    faint = next(trace for trace in fig.data if trace.name == "GradPath, single pairs")
    assert np.allclose(np.asarray(faint.y)[:5], given["gradpath"].output_distance[:, 0])
    assert np.isnan(faint.y[5])


def test_path_curves_relative_to_the_start() -> None:
    fig = path_curves.path_curves(records(), "output_distance", normalised=True)
    straight = next(trace for trace in fig.data if trace.name == "Straight line")
    assert np.allclose(straight.y, np.linspace(10, 1, 5) / 10)
    with pytest.raises(OptionError, match="metric cannot be shown relative"):
        path_curves.path_curves(records(), "metric", normalised=True)
    with pytest.raises(OptionError, match="quantity 'speed' is unknown"):
        path_curves.path_curves(records(), "speed")  # type: ignore[arg-type]


def test_points_without_gradient_leave_a_gap() -> None:
    fig = path_curves.path_curves(records(), "gradient_norm")
    mean = next(trace for trace in fig.data if trace.name == "GradPath")
    assert np.isnan(mean.y[0]) and np.isfinite(mean.y[1:]).all()


def test_the_running_sum_of_an_edge_ends_at_its_score() -> None:
    points = np.array([np.nan, 0.4, -0.1, 0.3])
    fig = path_edge.edge_along_path({"gradpath": points}, "input->a0.h1<q>")
    adds, total = fig.data
    assert adds.type == "bar" and np.array_equal(adds.y, points, equal_nan=True)
    assert total.y[-1] == pytest.approx(0.6) and np.isnan(total.y[0])
    assert "GradPath 0.6" in fig.layout.title.subtitle.text
    sizes = np.array([np.nan, 2.0, 0.1, 1.0])
    above = path_edge.edge_along_path({"gradpath": points}, "input->a0.h1<q>", gradients={"gradpath": sizes}).data[0]
    assert np.array_equal(above.y, sizes, equal_nan=True)


def test_one_pair_stands_out_of_the_curves_of_all() -> None:
    given = records()
    fig = path_curves.path_curves(given, "to_clean", pair=1)
    strong = {trace.name: trace for trace in shown_traces(fig)}
    assert np.allclose(strong["GradPath"].y, given["gradpath"].to_clean[:, 1])
    raised = path_curves.path_curves(given, "output_distance", pair=1)  # only pair 0 overshoots
    assert "triangle-up" not in next(trace for trace in raised.data if trace.name == "GradPath").marker.symbol


def test_edges_without_a_signal_are_counted_over_all_layers() -> None:
    given = records()
    norms = given["straight"].destination_gradient
    norms[2, :, GRAPH.destination_layers == 1] = 0.0
    fig = path_curves.vanished_curve(given, GRAPH, threshold=0.1)
    line = next(trace for trace in fig.data if trace.name == "Straight line")
    into = GRAPH.prefix[GRAPH.destination_layers == 1].sum() / GRAPH.n_edges
    assert line.y == pytest.approx([0, 0, into, 0, 0])
    norms[2, 0, GRAPH.destination_layers == 1] = 1.0
    assert path_curves.vanished_curve(given, GRAPH, threshold=0.1, pair=0).data[1].y[2] == 0
    assert path_curves.vanished_curve(given, GRAPH, threshold=0.1, pair=1).data[1].y[2] == pytest.approx(into)


def test_vanished_and_position_maps_draw_the_record() -> None:
    given = records()
    fig = path_maps.vanished_heatmap(given, GRAPH, current=1)
    for trace, kind in zip(fig.data, given, strict=True):
        assert np.array_equal(trace.z, given[kind].vanished_share(GRAPH).T, equal_nan=True)
    assert (fig.layout.coloraxis.cmin, fig.layout.coloraxis.cmax) == (0, 1)
    moved = path_maps.positions_heatmap(given, 1, list("abcde"))
    points = given["gradpath"].points
    assert points is not None
    assert moved.data[0].z[2, 3] == pytest.approx(np.linalg.norm(points[3, 1, 2] - points[0, 1, 2]))
    given["gradpath"].lengths[1] = 4  # its last real token is then the fourth
    mean = path_maps.positions_heatmap(given, None)
    ends = [np.linalg.norm(points[3, pair, last] - points[0, pair, last]) for pair, last in ((0, 4), (1, 3), (2, 4))]
    assert mean.data[0].z[-1, 3] == pytest.approx(np.mean(ends)) and mean.data[0].y[-1] == "last token"
    with pytest.raises(OptionError, match="pair 0 has 5 tokens, got 2"):
        path_maps.positions_heatmap(given, 0, ["a", "b"])


# evidence


def test_minimality_sorts_edges_and_keeps_their_intervals() -> None:
    effects, low, high = np.array([0.1, 0.4]), np.array([0.0, 0.3]), np.array([0.3, 0.6])
    fig = evidence.minimality(["a", "b"], effects, low=low, high=high, random=(-0.1, 0.1), sampled_of=9)
    bar = fig.data[0]
    assert [row[0] for row in bar.customdata] == ["b", "a"]
    assert np.allclose(bar.error_y.array, [0.2, 0.2]) and np.allclose(bar.error_y.arrayminus, [0.1, 0.1])
    assert (fig.layout.shapes[0].y0, fig.layout.shapes[0].y1) == (-0.1, 0.1)
    assert "2 of 9 kept edges" in fig.layout.title.subtitle.text


def test_attention_is_blank_above_the_diagonal_and_the_pattern_below() -> None:
    heat = attention.attention_map(ATTENTION, list("abcde")).data[0]
    lower = np.tril_indices(5)
    assert np.allclose(heat.z[lower], ATTENTION[lower]) and np.isnan(heat.z[np.triu_indices(5, 1)]).all()


def test_token_bars_keep_their_order_and_are_coloured_by_sign() -> None:
    bar = direct.token_bars([("b", 2.0), ("a", -1.0)], title="t").data[0]
    assert list(bar.x) == [2.0, -1.0] and [row[0] for row in bar.customdata] == ["b", "a"]
    assert list(bar.marker.color) == [fade(SUPPORTS, 0.85), fade(AGAINST, 0.85)]


def test_confusion_draws_its_counts() -> None:
    found, missed, extra = evidence.confusion([ConfusionRow("eap", 3, 2, 1), ConfusionRow("exact", 5, 0, 0)]).data
    assert [list(part.x) for part in (found, missed, extra)] == [[3, 5], [2, 0], [1, 0]]
