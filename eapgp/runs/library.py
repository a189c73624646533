"""The run library: all runs below one folder.

    HOME/runs/<id>/           finished runs; a folder appears here whole, by one rename
    HOME/tmp/<id>--host--pid  runs being written
    HOME/trash/<id>--<time>   deleted runs, until `gc`

Several processes may use one library at the same time.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from platformdirs import user_data_path

from eapgp.attribution.result import Attribution
from eapgp.errors import NotSavedError, RunError, one_line
from eapgp.places import expanded
from eapgp.prompts.pairs import PromptSet
from eapgp.runs.archive import read_archive, write_archive
from eapgp.runs.bundled import check_changeable, find_bundled
from eapgp.runs.files import (
    REPAIR,
    folder_size,
    is_left_over,
    locked,
    remove_folder,
    sync_folder,
    temporary_folder,
    twice,
)
from eapgp.runs.info import RunInfo, info_of
from eapgp.runs.run import RUN_FILE, Run, fill_run, is_partial, open_run, read_run, write_run
from eapgp.runs.spec import RunSpec, request_key

HOME_VARIABLE = "EAPGP_HOME"
SHORTEST_PREFIX = 4
DAY = 24 * 3600.0


def default_home() -> Path:
    """`$EAPGP_HOME`, else the user's data folder."""
    named = os.environ.get(HOME_VARIABLE)
    if named:
        return expanded(named)
    return user_data_path("eapgp", appauthor=False)


# `RunLibrary.list` hides the builtin inside the class.
Paths = list[Path]
Infos = list[RunInfo]
Runs = list[Run]
Problems = list[tuple[Path, str]]
Names = list[str]


class RunLibrary:
    """The runs below one home folder. Holds no state but the place."""

    def __init__(self, home: str | Path | None = None) -> None:
        self.home = expanded(home) if home is not None else default_home()
        self.runs = self.home / "runs"
        self.temporary = self.home / "tmp"
        self.trash = self.home / "trash"

    def key(self, request: Mapping[str, Any]) -> str:
        """Name of the run that answers a request."""
        return request_key(request)

    def find(self, request: Mapping[str, Any]) -> Run | None:
        """The stored run that answers a request, else None.

        A run that kept its per-pair scores also answers a request that did not ask for them.
        A damaged run answers nothing.
        """
        wanted = [request]
        if request.get("keep_pairs") is False:
            wanted.append({**request, "keep_pairs": True})
        for candidate in wanted:
            run = self._whole(request_key(candidate))
            if run is not None:
                return Run(run.path, run.record, cached=True)
        return None

    def _whole(self, key: str) -> Run | None:
        try:
            return open_sound(self.runs / key)
        except RunError:
            return None

    def save(
        self,
        attribution: Attribution,
        request: Mapping[str, Any],
        prompts: PromptSet,
        *,
        device: str = "",
        spec: RunSpec | None = None,
        replace: bool = False,
    ) -> Run:
        """Store a result under its request's name, whole or not at all.

        If the run is there already, from another process, this copy is dropped and that one
        returned; with `replace` the older one goes to the trash. Errors: NotSavedError, which holds the result, where
        it cannot be written.
        """
        return Unsaved(self, attribution, request, prompts, device, spec, replace).save()

    def check_writable(self) -> None:
        """Raise unless a run can be stored; ask before an hour of computing.

        Errors: RunError naming the folder and what is in the way.
        """
        remove_folder(self.make_temporary("check"))

    def make_temporary(self, label: str) -> Path:
        """A new folder for a run that is being written. Errors: RunError where none can be made."""
        try:
            self.runs.mkdir(parents=True, exist_ok=True)
            if not os.access(self.runs, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            return temporary_folder(self.temporary, label)
        except OSError as error:
            raise RunError(
                f"{self.home}: expected a folder that can be written, got {error.strerror}; "
                f"set {HOME_VARIABLE} to another."
            ) from None

    def adopt(self, folder: Path, *, replace: bool = False) -> Run:
        """Move a finished run folder of the same file system into the library."""
        run = open_run(folder)
        target = self.runs / run.id
        folder.chmod(0o755)
        sync_folder(folder)
        self.runs.mkdir(parents=True, exist_ok=True)
        for _ in range(20):
            try:
                folder.rename(target)
                sync_folder(self.runs)
                return Run(target, run.record)
            except OSError:
                if not target.exists():
                    raise
            present = self._whole(run.id)
            if present is not None and not replace:
                return Run(target, present.record, cached=True)
            with contextlib.suppress(RunError), locked(target):  # what is being written into it is finished first
                self._to_trash(target)
            replace = False
        raise RunError(f"{target}: expected to store a run there, another process keeps replacing it; try again.")

    def list(self, query: str | None = None) -> Infos:
        """What is told of the readable runs, newest first; `query` as in `RunInfo.matches`."""
        infos = []
        for folder in self.folders():
            with contextlib.suppress(RunError):
                infos.append(info_of(open_sound(folder)))
        if query:
            infos = [info for info in infos if info.matches(query)]
        return sorted(infos, key=lambda info: (info.created, info.id), reverse=True)

    def problems(self) -> Problems:
        """Run folders that cannot be read or were altered, with the reason."""
        return [(folder, problem) for folder in self.folders() if (problem := self.problem(folder))]

    def problem(self, folder: Path) -> str:
        """Why a run folder cannot be read or was altered; empty where nothing is wrong with it."""
        try:
            info_of(open_sound(folder))
        except RunError as error:
            return str(error)
        return ""

    def folders(self) -> Paths:
        """The folders of the library's runs, readable or not."""
        try:
            return sorted(path for path in self.runs.iterdir() if path.is_dir())
        except FileNotFoundError:
            return []

    def open(self, text: str | Path) -> Run:
        """The run with this id, id prefix (4 digits or more), name or path; a bundled one where the library has none.

        Errors: RunError if there is none, or more than one.
        """
        name = str(text)
        if os.sep in name or (Path(name) / RUN_FILE).is_file():
            return open_run(expanded(name))
        if name and (self.runs / name).is_dir() and name not in (".", ".."):
            return open_run(self.runs / name)
        matches = [open_run(path) for path in self._named(name)] or find_bundled(name, SHORTEST_PREFIX)
        if len(matches) == 1:
            return matches[0]
        if matches:
            ids = ", ".join(run.id for run in matches[:4])
            raise RunError(f"run {name!r}: expected one run, got {len(matches)} ({ids}); give more of the id.")
        raise RunError(
            f"run {name!r}: expected an id, a name or a run folder, found none in {self.runs}; "
            "eapgp runs list shows what there is."
        )

    def _named(self, name: str) -> Paths:
        by_prefix = [path for path in self.folders() if len(name) >= SHORTEST_PREFIX and path.name.startswith(name)]
        return by_prefix or [summary.path for summary in self.list() if name and summary.name == name]

    def rename(self, text: str | Path, name: str) -> Run:
        """Give a run a name; "" takes it away. The run itself stays as it is."""
        run = self._own(text)
        run.set_meta(name=name)
        return run

    def note(self, text: str | Path, note: str) -> Run:
        """Give a run a note."""
        run = self._own(text)
        run.set_meta(note=note)
        return run

    def _own(self, text: str | Path) -> Run:
        run = self.open(text)
        check_changeable(run)
        return run

    def delete(self, text: str | Path) -> str:
        """Move a run to the trash (also a damaged one, by its full id); its id.

        Errors: RunError if it is not in this library.
        """
        folder = self.runs / str(text)
        if os.sep in str(text) or str(text) in ("", ".", "..") or not folder.is_dir():
            folder = self.open(text).path
        if folder.absolute().parent != self.runs.absolute():
            raise RunError(f"{folder}: expected a run of the library {self.runs}; delete other folders by hand.")
        self._to_trash(folder)
        return folder.name

    def _to_trash(self, folder: Path) -> None:
        self.trash.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            folder.rename(self.trash / f"{folder.name}--{time.time_ns()}")

    def deleted(self) -> Names:
        """Ids of the runs in the trash, newest first."""
        return [*dict.fromkeys(path.name.partition("--")[0] for path in self._trashed())]

    def _trashed(self) -> Paths:
        if not self.trash.is_dir():
            return []
        return sorted(self.trash.iterdir(), key=lambda path: path.name.rpartition("--")[2], reverse=True)

    def undelete(self, text: str) -> Path:
        """Bring the newest deleted run of this id or prefix back, as it was (a damaged one too); its folder.

        Errors: RunError if there is none, or the library has that run again.
        """
        deleted = [path for path in self._trashed() if path.name.startswith(text) and len(text) >= SHORTEST_PREFIX]
        if not deleted:
            raise RunError(f"run {text!r}: expected a run in the trash, found none in {self.trash}.")
        key = deleted[0].name.partition("--")[0]
        target = self.runs / key
        if target.exists():
            raise RunError(f"run {key}: expected it to be in the trash only, the library has it again; nothing to do.")
        self.runs.mkdir(parents=True, exist_ok=True)
        deleted[0].rename(target)
        return target

    def gc(self, *, older_than: float = DAY) -> dict[str, int]:
        """Empty the trash and remove what killed processes left; counts of folders and bytes.

        What a live process of this machine is writing stays; what an unknown one writes stays
        for `older_than` seconds.
        """
        folders = self._trashed()
        if self.temporary.is_dir():
            folders += [path for path in self.temporary.iterdir() if is_left_over(path, older_than=older_than)]
        freed = sum(folder_size(path) for path in folders)
        for path in folders:
            remove_folder(path)
        return {"removed": len(folders), "bytes": freed + self._remove_partial(older_than)}

    def _remove_partial(self, older_than: float) -> int:
        freed = 0
        for folder in self.folders():
            for path in folder.iterdir():
                with contextlib.suppress(OSError):
                    about = path.stat()
                    if is_partial(path.name) and time.time() - about.st_mtime > older_than:
                        path.unlink()
                        freed += about.st_size
        return freed

    def disk_use(self) -> dict[str, int]:
        """Number of runs, and bytes of runs, of the trash, of unfinished runs, and free on the disk."""
        place = self.home
        while not place.exists() and place != place.parent:
            place = place.parent
        return {
            "runs": len(self.folders()),
            "bytes": folder_size(self.runs),
            "trash_bytes": folder_size(self.trash),
            "unfinished_bytes": folder_size(self.temporary),
            "free_bytes": shutil.disk_usage(place).free,
        }

    def export(self, text: str | Path, target: str | Path) -> Path:
        """Write one run, with its evaluations and note, to a zip file."""
        return write_archive([self.open(text)], Path(target))

    def import_(self, source: str | Path) -> Runs:
        """Add the runs of a zip file; those that the library has already stay as they are (`cached` tells which).

        Errors: RunError or FormatError if the file is unsafe or damaged; then nothing is added.
        """
        temporary = self.make_temporary("import")
        try:
            return [self.adopt(folder) for folder in read_archive(Path(source), temporary)]
        finally:
            remove_folder(temporary)


@dataclass(frozen=True)
class Unsaved:
    """A result on its way into a library; where it cannot be written it stays in memory, to be saved later."""

    library: RunLibrary
    attribution: Attribution
    request: Mapping[str, Any]
    prompts: PromptSet
    device: str
    spec: RunSpec | None
    replace: bool

    def save(self) -> Run:
        """Store it in its library. Errors: NotSavedError."""
        temporary: Path | None = None
        try:
            temporary = self.library.make_temporary(request_key(self.request))
            fill_run(temporary, self.attribution, self.request, self.prompts, device=self.device, spec=self.spec)
            return self.library.adopt(temporary, replace=self.replace)
        except (OSError, RunError) as error:
            raise NotSavedError(
                f"{self.library.runs}: the result is computed but could not be stored, {_reason(error)}; "
                f"free space (eapgp runs gc empties the trash) or set {HOME_VARIABLE} to another "
                "folder, and save again.",
                self,
                getattr(error, "errno", None),
            ) from None
        finally:
            if temporary is not None:
                remove_folder(temporary)

    def save_to(self, folder: Path) -> Run:
        """Store it in a folder of its own, as `write_run`."""
        return write_run(folder, self.attribution, self.request, self.prompts, device=self.device, spec=self.spec)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"got {error.strerror}"
    return f"got {one_line(error)}"


def open_sound(folder: Path, *, bundled: bool = False) -> Run:
    """A run whose scores and prompts are as they were stored, and which lies under its id unless it is a bundled one.

    Errors: RunError.
    """

    def read() -> Run:
        run = read_run(folder)
        if not bundled and run.id != folder.name:
            raise RunError(f"{folder}: expected run {folder.name} in that folder, got {run.id}; {REPAIR}")
        run.check()
        return run

    return twice(read, folder)
