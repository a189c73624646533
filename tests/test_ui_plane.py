"""The background of the Path page: what the grid says at a path's own points is what the path's record says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from eapgp.figures.path import path_projection
from eapgp.figures.projection import mean_projection, project_record
from eapgp.runs import RunLibrary, RunSpec, compute_run, open_run
from eapgp.runs.info import RunInfo
from eapgp.runs.run import Run
from eapgp.ui.jobs.workshop import Workshop
from eapgp.ui.library import consent
from eapgp.ui.library.landscape import PICTURE, stored_picture
from eapgp.ui.path import edge
from eapgp.ui.path.plane import Plane, picture_values, plane_of, plane_work
from tools.training.examples import FOLDER


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    spec = RunSpec(task="ioi", n_pairs=3, method="eap-ig", options={"steps": 4})
    return compute_run(spec, library=RunLibrary(tmp_path_factory.mktemp("home")))


@pytest.mark.parametrize("objective", ["all", "last"])
def test_the_plane_agrees_with_the_records_of_the_straight_line(run: Run, objective: str) -> None:
    """The straight line lies in the plane of its pair: the grid is laid through its points."""
    records = {"straight": run.attribution().paths["straight"]}
    record, pair = records["straight"], 1
    projection = project_record(records, pair)
    x = projection.coordinates["straight"][:, 0]
    order = np.argsort(x)
    y = np.array([0.0, 0.1])
    grid = Plane(x[order], y, ((pair, projection, 1.0),))
    found = plane_work(Workshop(), "live", run, grid, objective=objective)(lambda phase, share: None)
    assert np.allclose(found["metric"].z[0], record.metric[order, pair], rtol=1e-3, atol=1e-3)
    if objective == "all":
        assert np.allclose(found["distance"].z[0], record.output_distance[order, pair], rtol=1e-3, atol=1e-2)
    else:
        assert (found["distance"].z[0] <= record.output_distance[order, pair] + 1e-2).all()
    at_corrupted = found["distance"].z[0].argmin()
    assert grid.x[at_corrupted] == pytest.approx(projection.distance, rel=1e-5)
    assert found["distance"].z[0].min() < 1e-3 * found["distance"].z[0].max()


def test_the_plane_of_the_average_is_in_units_of_each_pair(run: Run) -> None:
    records = {"straight": run.attribution().paths["straight"]}
    plane = plane_of(records, None, None)
    assert [pair for pair, _, _ in plane.parts] == [0, 1, 2]
    ends = Plane(np.array([0.0, 1.0]), np.array([0.0, 0.5]), plane.parts)
    found = plane_work(Workshop(), "live", run, ends, objective="all")(lambda phase, share: None)
    result = run.attribution()
    expected = [result.metric_clean.mean(), result.metric_corrupted.mean()]
    assert np.allclose(found["metric"].z[0], expected, atol=1e-3)
    assert "mean of 3 pairs" in found["metric"].label


def test_a_stored_picture_is_the_picture_of_the_points(run: Run, tmp_path_factory: pytest.TempPathFactory) -> None:
    gradpath = RunSpec(task="ioi", n_pairs=3, method="eap-gp", options={"steps": 4})
    other = compute_run(gradpath, library=RunLibrary(tmp_path_factory.mktemp("gradpath")))
    records = {"gradpath": other.attribution().paths["gradpath"], "straight": run.attribution().paths["straight"]}
    model = Workshop().model_of("live", other, lambda phase, share: None)
    other.add_evaluation(PICTURE, picture_values(model, other, records, objective="all"))
    picture = stored_picture(other)
    assert picture is not None and stored_picture(run) is None
    averaged = mean_projection([project_record(records, pair) for pair in range(3)])
    for kind, mean in averaged.mean.items():
        assert np.allclose(picture.projection.mean[kind], mean, atol=1e-3)
    for window in ("all", "gradpath"):
        plane = plane_of(records, None, None if window == "all" else window)
        found = plane_work(Workshop(), "live", other, plane, objective="all")(lambda phase, share: None)
        for name, background in found.items():
            stored = picture.backgrounds[window][name]
            assert stored.label == background.label
            assert np.allclose(stored.z, background.z, rtol=1e-2, atol=1e-2 * np.abs(background.z).max())
    bare = {kind: replace(record, points=None) for kind, record in records.items()}
    for pair in (None, 1):
        figure = path_projection(bare, pair=pair, averaged=picture.projection)
        drawn = next(trace for trace in figure.data if trace.name == "GradPath")
        points = averaged.mean["gradpath"] if pair is None else averaged.coordinates["gradpath"][pair]
        assert np.allclose(np.stack([drawn.x, drawn.y], axis=1), points, atol=1e-3)


@pytest.mark.parametrize(("total", "remarked"), [(0.2503, True), (0.25301, False)])
def test_sums_that_miss_the_score_are_explained(
    total: float, remarked: bool, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(edge.st, "caption", said.append)
    monkeypatch.setattr(edge.results, "path_sources", lambda card: {"gradpath": card})
    monkeypatch.setattr(edge.results, "attribution", lambda card: run.attribution())
    monkeypatch.setattr(edge, "score_of", lambda scores, name: 0.253)
    edge._check(RunInfo(run), {"gradpath": np.array([0.0, total])}, "m0->logits")
    assert f"{total:+.4g}"[:6] in said[0] and ("computed anew" in said[0]) == remarked


def test_what_came_with_a_run_is_read_and_a_long_computation_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without weights: the strongest edge's points lie beside the bundled run, another edge's take minutes."""
    names = {"gradpath": "smollm2-135m-ioi-eap-gp-relative", "straight": "smollm2-135m-ioi-eap-ig"}
    sources = {kind: RunInfo(open_run(FOLDER / name), example=True) for kind, name in names.items()}
    card = sources["gradpath"]
    records = {kind: one for source in sources.values() for kind, one in source.run.attribution().paths.items()}
    asked: list[float] = []
    monkeypatch.setattr(edge.results, "path_sources", lambda _: sources)
    monkeypatch.setattr(edge, "may_run", lambda *_, seconds, **__: asked.append(seconds))
    (strongest, score), (other, _) = card.run.scores().top(2)
    adds = edge._added(card, records, None, strongest)
    assert not asked and set(adds) == set(names) and adds["gradpath"].sum() == pytest.approx(score, rel=0.01)
    assert edge._added(card, records, None, other) == {} and asked[0] > consent.UNASKED
    assert edge._added(card, records, 0, strongest) == {} and asked[1] == pytest.approx(asked[0] / card.n_pairs)
    sources["straight"] = replace(sources["straight"], example=False)
    assert edge._added(card, records, None, strongest) == {}, "an own run's points may be others"
