"""Known weaknesses of the packages that are installed here, asked of pip-audit: `make audit`.

pip-audit gets an environment of its own, so that it changes nothing here. It asks the package index first, then the OSV
database. Exit code 0: packages were looked up, and none has a known weakness. 1: some have, each in a line. 2: not
audited, since pip-audit could not be installed, or neither source could be reached or knew any package; the line says
which, within ten minutes.
"""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import tempfile
import venv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from eapgp.errors import one_line

CLEAN, WEAK, NOT_AUDITED = 0, 1, 2
SOURCES = ("pypi", "osv")
PATIENCE = 180.0
"""Seconds for an installation or for all questions to one source."""


def main() -> int:
    """Audit the packages of this interpreter's environment."""
    with tempfile.TemporaryDirectory(prefix="eapgp-audit-") as folder:
        try:
            program = install(Path(folder))
        except (OSError, subprocess.SubprocessError) as error:
            return _not_audited(f"pip-audit could not be installed ({_last_line(error)})")
        problems = []
        for source in SOURCES:
            try:
                answers = ask(program, source, Path(sysconfig.get_path("purelib")))
                if any("vulns" in one for one in answers):
                    return report(answers, source)
                problems.append(f"{source}: none of {len(answers)} packages could be looked up")
            except (OSError, subprocess.SubprocessError) as error:
                problems.append(f"{source}: {_last_line(error)}")
    return _not_audited(f"its sources could not be reached ({'; '.join(problems)})")


def install(folder: Path) -> Path:
    """pip-audit in an environment of its own. Errors: OSError, SubprocessError."""
    venv.create(folder, with_pip=True)
    scripts = folder / ("Scripts" if sys.platform == "win32" else "bin")
    pip = [str(scripts / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "1"]
    subprocess.run([*pip, "pip-audit"], check=True, capture_output=True, text=True, timeout=PATIENCE)
    return scripts / "pip-audit"


def ask(program: Path, source: str, packages: Path) -> list[dict[str, Any]]:
    """What a source says of each package of a folder. Errors: OSError, SubprocessError where it does not answer."""
    line = [str(program), "--path", str(packages), "--format", "json", "--progress-spinner", "off", "--timeout", "20"]
    done = subprocess.run(
        [*line, "--vulnerability-service", source], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    try:
        return list(json.loads(done.stdout)["dependencies"])
    except (ValueError, KeyError, TypeError):
        raise subprocess.CalledProcessError(done.returncode, line, done.stdout, done.stderr) from None


def report(answers: Sequence[dict[str, Any]], source: str) -> int:
    """Say what is weak, and which packages the source does not know; the exit code."""
    lines = list(weaknesses(answers))
    unknown = [str(one.get("name")) for one in answers if "vulns" not in one]
    for line in lines:
        sys.stdout.write(f"{line}\n")
    count = f"{len(lines)} known weaknesses" if lines else "no known weakness"
    rest = f"; not looked up: {', '.join(unknown)}" if unknown else ""
    sys.stdout.write(f"{len(answers) - len(unknown)} packages by {source}: {count}{rest}\n")
    return WEAK if lines else CLEAN


def weaknesses(answers: Sequence[dict[str, Any]]) -> Iterator[str]:
    """A line for each known weakness of a package: which, in what version, what mends it."""
    for package in answers:
        for one in package.get("vulns", ()):
            mended = ", ".join(one.get("fix_versions") or ()) or "no version yet"
            yield f"{package['name']} {package['version']}: {one['id']}, mended in {mended}"


def _not_audited(reason: str) -> int:
    sys.stdout.write(f"NOT AUDITED: {reason}\n")
    return NOT_AUDITED


def _last_line(error: BaseException) -> str:
    """The last thing that a program said, else the error's first line."""
    said = (getattr(error, "stderr", "") or "").strip().splitlines()
    return said[-1][:300] if said else one_line(error)


if __name__ == "__main__":
    sys.exit(main())
