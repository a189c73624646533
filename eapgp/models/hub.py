"""Fetch a model from the Hugging Face hub: the files that are read, and no other request.

1. the hub is asked which files a revision has (one request); where it does not answer within seconds, the copy of the
   cache is read
2. of each file that is needed and not there yet: size and content (HEAD)
3. each is fetched into the hub library's own cache (blobs by content, snapshots by commit), going on from where an
   earlier try broke off
4. the snapshot's folder is all that is read from then on, so that no library asks the hub for anything else
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import huggingface_hub
from filelock import FileLock, Timeout
from huggingface_hub import constants

from eapgp.errors import ModelError
from eapgp.models.checkpoint import (
    INDEX_FILE,
    PICKLED_INDEX,
    VOCABULARIES,
    WEIGHT_FILES,
    WEIGHTS_FILE,
    shards,
    weight_file,
)
from eapgp.types import Progress

MAIN = "main"
CONFIG_FILES = ("config.json", "generation_config.json")
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "tokenizer.model",
    "spiece.model",
)
PATIENCE_CACHED, PATIENCE = 3.0, 20.0
"""Seconds that the hub has to say which files there are, where the cache holds the model and where it does not."""
STALL = 10.0  # seconds without a byte until a connection counts as broken off
REDIRECTS = 5
TRIES = 3  # in a row that bring no byte
PAUSE = 0.5
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class HubName:
    """A model on the hub: `owner/name`, or `owner/name@revision` at a branch, tag or commit.

    label: what the user calls it, where that is another name.
    """

    repo: str
    revision: str = MAIN
    label: str = field(default="", compare=False)

    @classmethod
    def of(cls, text: str, label: str = "") -> HubName | None:
        """The name read, or None for what is no hub name."""
        repo, at, revision = text.partition("@")
        if not _NAME.fullmatch(repo) or (at and not (revision and revision.isprintable())):
            return None
        return cls(repo, revision or MAIN, label or text)

    def __str__(self) -> str:
        return self.label or self.repo


@dataclass(frozen=True)
class _Remote:
    """One file on the hub: content names its blob in the cache."""

    path: str
    content: str
    size: int


@dataclass(frozen=True)
class _Repository:
    """A model on one hub, and its place in the cache.

    commit: what the revision stands for, once the hub has said so; files: what it has then.
    """

    name: HubName
    endpoint: str
    storage: Path
    commit: str = ""
    files: tuple[str, ...] = ()
    progress: Progress | None = field(default=None, compare=False)

    @property
    def page(self) -> str:
        """Where people read about the model."""
        return f"{self.endpoint}/{self.name.repo}"

    @property
    def info(self) -> str:
        """Address of the list of its files."""
        return f"{self.endpoint}/api/models/{self.name.repo}/revision/{quote(self.name.revision, safe='')}"

    @property
    def ref(self) -> Path:
        """File that says which commit the revision was when it was last fetched."""
        return self.storage / "refs" / self.name.revision

    @property
    def snapshot(self) -> Path:
        """Folder of the commit's files."""
        return self.storage / "snapshots" / self.commit

    def address(self, path: str) -> str:
        """Where a file is fetched."""
        return f"{self.page}/resolve/{self.commit}/{quote(path)}"

    def report(self, phase: str, fraction: float = 0.0) -> None:
        """Tell the caller, who may raise Cancelled."""
        if self.progress is not None:
            self.progress(phase, fraction)


class _SilentHubError(Exception):
    """The hub cannot be reached, or does not answer."""


# ---- what callers use --------------------------------------------------------------------------


def fetch(name: HubName, *, weights: bool = True, pickled: bool = False, progress: Progress | None = None) -> Path:
    """Folder of a hub model's files, fetched as far as the cache lacks them; its name is the commit.

    weights: with them, or the tokenizer alone. pickled: take pickled weights where there are no others; nothing here
    reads them. Errors: ModelError; what `progress` raises stops it, and the next try goes on from there.
    """
    local = cached(name, weights=weights)
    if local is not None and _COMMIT.fullmatch(name.revision):
        return local
    repository = _repository(name, progress)
    try:
        repository = _ask(repository, PATIENCE if local is None else PATIENCE_CACHED)
        return _complete(repository, weights, pickled)
    except _SilentHubError as error:
        if local is not None:
            repository.report("the hub does not answer, reading the copy in the cache")
            return local
        raise ModelError(
            f"model '{name}' could not be fetched from the hub and is not in the local cache: {error}. "
            "Check the name and the network, give a local folder, or use random weights."
        ) from error
    except ModelError:
        if local is not None and not repository.commit:  # gone, or no longer open to this user: what is here stays
            return local
        raise


def cached(name: HubName, *, weights: bool = True) -> Path | None:
    """Folder of a model that was fetched before, without asking the hub; None where something of it is missing."""
    repository = _repository(name, None)
    commit = name.revision
    if not _COMMIT.fullmatch(commit):
        try:
            commit = repository.ref.read_text(encoding="utf-8").strip()
        except OSError:
            return None
    folder = replace(repository, commit=commit).snapshot
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    whole = "config.json" in names and (WEIGHTS_FILE in names or _has_shards(folder, names)) if weights else True
    return folder if whole and names & set(VOCABULARIES) else None


def _has_shards(folder: Path, names: set[str]) -> bool:
    return INDEX_FILE in names and set(shards(folder / INDEX_FILE)) <= names


# ---- asking ------------------------------------------------------------------------------------


def _repository(name: HubName, progress: Progress | None) -> _Repository:
    endpoint = os.environ.get("HF_ENDPOINT", constants.ENDPOINT).rstrip("/")
    folder = "models--" + name.repo.replace("/", "--")
    return _Repository(name, endpoint, Path(constants.HF_HUB_CACHE) / folder, progress=progress)


def _headers(url: str, repository: _Repository) -> dict[str, str]:
    """Own headers: the hub library's would first ask an address of its own which programs there are to be told of."""
    headers = {"user-agent": "eapgp", "accept-encoding": "identity"}
    token = huggingface_hub.get_token() if urlsplit(url).netloc == urlsplit(repository.endpoint).netloc else None
    return headers | ({"authorization": f"Bearer {token}"} if token else {})


def _ask(repository: _Repository, seconds: float) -> _Repository:
    """The repository with its commit and files.

    Errors: ModelError for what the hub refuses, _SilentHubError.
    """
    answer = _within(
        seconds,
        repository,
        lambda: _session().get(
            repository.info, headers=_headers(repository.info, repository), timeout=seconds, follow_redirects=True
        ),
    )
    if answer.status_code == 404 and "X-Error-Code" not in answer.headers:
        return _ask_by_file(repository)  # a mirror that passes on files only
    _check_status(repository, answer)
    try:
        body = answer.json()
        files = tuple(str(entry["rfilename"]) for entry in body["siblings"])
        commit = str(body["sha"])
    except (ValueError, KeyError, TypeError) as error:
        raise _SilentHubError(f"{repository.endpoint} gave an answer that is no hub's") from error
    return replace(repository, commit=_checked_commit(repository, commit), files=files)


def _ask_by_file(repository: _Repository) -> _Repository:
    """The same from a mirror that lists no files: each that may be there is asked for."""
    at_revision = replace(repository, commit=quote(repository.name.revision, safe=""))
    commit = _head(at_revision, CONFIG_FILES[0]).headers.get("X-Repo-Commit", "")
    at_commit = replace(repository, commit=_checked_commit(repository, commit))
    files = []
    for path in (*CONFIG_FILES, *TOKENIZER_FILES, *WEIGHT_FILES):
        repository.report("asking the hub")
        with contextlib.suppress(ModelError):
            _head(at_commit, path)
            files.append(path)
    return replace(at_commit, files=tuple(files))


def _checked_commit(repository: _Repository, commit: str) -> str:
    """The commit, which is a folder's name in the cache."""
    if not re.fullmatch(r"[\w-]+", commit):
        raise _SilentHubError(f"{repository.endpoint} gave {commit!r} as a commit")
    return commit


def _session() -> Any:
    """The hub library's client: proxies, certificates and offline mode are those of the user."""
    return huggingface_hub.get_session()


def _within(seconds: float, repository: _Repository, call: Callable[[], Any]) -> Any:
    """The call's value; a name that does not resolve and a server that trickles are waited for no longer than this."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(call())
        except Exception as error:
            outcome.append(error)

    worker = threading.Thread(target=run, name="eapgp-hub", daemon=True)
    worker.start()
    until = time.monotonic() + seconds
    while worker.is_alive() and time.monotonic() < until:
        repository.report("asking the hub")
        worker.join(0.1)
    if not outcome:
        raise _SilentHubError(f"{repository.endpoint} did not answer within {seconds:.0f} s")
    if isinstance(outcome[0], Exception):
        raise _SilentHubError(_reason(outcome[0])) from outcome[0]
    return outcome[0]


def _is_network(error: Exception) -> bool:
    """Whether an error is the hub library's client's; its module has other names in other versions (httpx, httpx2)."""
    return type(error).__module__.startswith("httpx")


def _reason(error: Exception) -> str:
    """An error's first line, without the full stop."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")


def _check_status(repository: _Repository, answer: Any) -> None:
    """Errors: ModelError for what the hub refuses, _SilentHubError for what it cannot do now."""
    status, code = int(answer.status_code), answer.headers.get("X-Error-Code", "")
    if status < 400:
        return
    name, how = repository.name, "log in with 'hf auth login' or set HF_TOKEN"
    if code == "GatedRepo" or status == 403:
        raise ModelError(
            f"model '{name}' is gated, and the hub does not give it to you ({status}): accept its terms on "
            f"{repository.page}, {how}, and run this again."
        )
    if code == "RevisionNotFound":
        raise ModelError(
            f"model '{name.repo}' has no revision {name.revision!r}: expected a branch, tag or commit of "
            f"{repository.page}."
        )
    if status in (401, 404):
        raise ModelError(
            f"model '{name.repo}' could not be fetched: the hub has none of that name, or it is private or gated "
            f"({status}). Check the name; for a private or gated one accept its terms on {repository.page} and {how}."
        )
    raise _SilentHubError(f"{repository.endpoint} answered {status}")


def _head(repository: _Repository, path: str) -> Any:
    """What the hub says of a file before it is fetched. Errors: as `_check_status`."""
    url = repository.address(path)
    for _ in range(REDIRECTS):
        try:
            answer = _session().head(url, headers=_headers(url, repository), timeout=STALL, follow_redirects=False)
        except Exception as error:
            if not _is_network(error):
                raise
            raise _SilentHubError(_reason(error)) from error
        _check_status(repository, answer)
        target = urljoin(url, answer.headers.get("Location", url))
        if target == url or urlsplit(target).netloc != urlsplit(url).netloc or "X-Linked-Etag" in answer.headers:
            return answer  # what lies on another server is described by the hub's own answer
        url = target
    raise _SilentHubError(f"{repository.endpoint} sends from one address of {path} to the next")


def _remote(repository: _Repository, path: str) -> _Remote:
    headers = _head(repository, path).headers
    content = (headers.get("X-Linked-Etag") or headers.get("ETag") or "").removeprefix("W/").strip('"')
    size = headers.get("X-Linked-Size") or headers.get("Content-Length") or ""
    if not re.fullmatch(r"[\w.-]+", content) or not size.isdigit():
        raise _SilentHubError(f"{repository.endpoint} does not say what {path} is (no ETag or size)")
    return _Remote(path, content, int(size))


# ---- fetching ----------------------------------------------------------------------------------


def _complete(repository: _Repository, weights: bool, pickled: bool) -> Path:
    """Fetch what the snapshot lacks; only then does the revision stand for it."""
    wanted = [path for path in (*CONFIG_FILES, *TOKENIZER_FILES) if path in repository.files]
    if weights:
        file = weight_file(str(repository.name), repository.files, pickled=pickled)
        if file in (INDEX_FILE, PICKLED_INDEX):
            _fetch_all(repository, [file])
            wanted += shards(repository.snapshot / file)
        else:
            wanted.append(file)
    _fetch_all(repository, wanted)
    repository.ref.parent.mkdir(parents=True, exist_ok=True)
    if repository.name.revision != repository.commit:
        repository.ref.write_text(repository.commit, encoding="utf-8")
    return repository.snapshot


def _fetch_all(repository: _Repository, paths: Sequence[str]) -> None:
    missing = [path for path in paths if not (repository.snapshot / path).exists()]
    remotes = [_remote(repository, path) for path in missing]
    total = sum(remote.size for remote in remotes)
    phase = f"fetching {repository.name} ({total / 1e6:,.1f} MB)"
    try:
        for place in ("blobs", "snapshots"):
            (repository.storage / place).mkdir(parents=True, exist_ok=True)
        repository.snapshot.mkdir(exist_ok=True)
        _check_room(repository, remotes)
        before = 0
        for remote in remotes:

            def received(n_bytes: int, before: int = before) -> None:
                repository.report(phase, min(1.0, (before + n_bytes) / max(total, 1)))

            _fetch_one(repository, remote, received)
            before += remote.size
    except OSError as error:
        raise ModelError(
            f"{repository.storage}: expected a cache that can be written and has room, got {error.strerror or error}; "
            "free space, or set HF_HOME to another folder."
        ) from error


def _blob(repository: _Repository, remote: _Remote) -> Path:
    return repository.storage / "blobs" / remote.content


def _partial(repository: _Repository, remote: _Remote) -> Path:
    """What came of a file so far; not the hub library's own name, since it throws away what it finds."""
    return _blob(repository, remote).with_name(f"{remote.content}.eapgp-partial")


def _check_room(repository: _Repository, remotes: Iterable[_Remote]) -> None:
    """Errors: ModelError where the disk lacks room for what is still to come."""
    free, needed = shutil.disk_usage(repository.storage).free, 0
    for remote in remotes:
        if not _blob(repository, remote).exists():
            needed += remote.size
            with contextlib.suppress(OSError):
                needed -= _partial(repository, remote).stat().st_size
    if needed > free:
        raise ModelError(
            f"model '{repository.name}': expected {needed / 1e6:,.0f} MB of free disk in {repository.storage}, "
            f"got {free / 1e6:,.0f} MB; free space, or set HF_HOME to a folder on another disk."
        )


def _fetch_one(repository: _Repository, remote: _Remote, received: Callable[[int], None]) -> None:
    """One file into the cache; a second process waits for the first and finds it there."""
    locks = repository.storage.parent / ".locks" / repository.storage.name
    locks.mkdir(parents=True, exist_ok=True)
    lock, blob = FileLock(locks / f"{remote.content}.lock"), _blob(repository, remote)
    while True:
        received(0)
        with contextlib.suppress(Timeout):
            lock.acquire(timeout=0.5)
            break
    try:
        if not blob.exists():
            _download(repository, remote, received)
            _partial(repository, remote).replace(blob)
    finally:
        lock.release()
    received(remote.size)
    _link(blob, repository.snapshot / remote.path)


def _link(blob: Path, place: Path) -> None:
    """The snapshot's file is a link to the content, as the hub library has it; a copy where links are not allowed."""
    with contextlib.suppress(FileExistsError):
        try:
            place.symlink_to(os.path.relpath(blob, place.parent))
        except (OSError, NotImplementedError) as error:
            if isinstance(error, FileExistsError):
                raise
            shutil.copyfile(blob, place)


def _download(repository: _Repository, remote: _Remote, received: Callable[[int], None]) -> None:
    """Bring the partial file to its size, with new connections as long as each brings something.

    Errors: ModelError where it broke off, or is not what the hub said.
    """
    partial = _partial(repository, remote)
    partial.touch()
    failures, reason = 0, ""
    while (have := partial.stat().st_size) < remote.size:
        try:
            _receive(repository, remote, have, received)
            reason = "the connection ended early"
        except Exception as error:
            if not (_is_network(error) or isinstance(error, _SilentHubError)):
                raise
            reason = _reason(error)
        failures = 0 if partial.stat().st_size > have else failures + 1
        if failures >= TRIES:
            raise ModelError(
                f"model '{repository.name}': {remote.path} broke off after {partial.stat().st_size / 1e6:,.1f} of "
                f"{remote.size / 1e6:,.1f} MB ({reason}); run this again, and it goes on from there."
            )
        if failures:
            time.sleep(PAUSE)
    _check_content(repository, remote, partial, received)


def _receive(repository: _Repository, remote: _Remote, have: int, received: Callable[[int], None]) -> None:
    """Append what one connection brings."""
    url = repository.address(remote.path)
    headers = _headers(url, repository) | ({"range": f"bytes={have}-"} if have else {})
    with _session().stream("GET", url, headers=headers, timeout=STALL, follow_redirects=True) as answer:
        _check_status(repository, answer)
        at = have if answer.status_code == 206 else 0  # a server may send all of it again
        with _partial(repository, remote).open("r+b") as file:
            file.truncate(at)
            file.seek(at)
            for chunk in answer.iter_bytes():  # as they come: what is held back would be lost at a break
                file.write(chunk)
                at += len(chunk)
                received(at)
                if at > remote.size:
                    break


def _check_content(repository: _Repository, remote: _Remote, partial: Path, received: Callable[[int], None]) -> None:
    """Large files are named by their SHA-256; a file put together from several tries is held against it."""
    right = partial.stat().st_size == remote.size
    if right and _SHA256.fullmatch(remote.content):
        digest = hashlib.sha256()
        with partial.open("rb") as file:
            while block := file.read(2**24):
                digest.update(block)
                received(remote.size)
        right = digest.hexdigest() == remote.content
    if not right:
        partial.unlink()
        raise ModelError(
            f"model '{repository.name}': {remote.path} is not what the hub says it is (size or SHA-256 differ); "
            "it was thrown away: run this again."
        )
