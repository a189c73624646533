"""The example notebook runs, and shows what it says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).resolve().parent.parent / "docs" / "notebooks" / "quickstart.ipynb"


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    monkeypatch.setenv("EAPGP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1"))
    notebook: Any = nbformat.read(NOTEBOOK, as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells), "the notebook is kept without outputs"
    nbclient.NotebookClient(notebook, timeout=400, kernel_name="python3").execute(cwd=str(tmp_path))
    shown = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    pages = [output["data"].get("text/html", "") for output in shown if output.output_type != "stream"]
    assert any("Attribution" in page for page in pages)
    assert any("edges" in page and "selected before pruning" in page for page in pages)
    assert any(page.startswith("<iframe sandbox") for page in pages)
    values = [float(output["data"]["text/plain"]) for output in shown if _is_number(output)]
    faithfulness, agreement = values
    assert 0 < faithfulness <= 1.5 and -1 <= agreement <= 1


def _is_number(output: Any) -> bool:
    try:
        float(output["data"]["text/plain"])
    except (KeyError, ValueError):
        return False
    return True
