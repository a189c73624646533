"""A model hub on loopback that speaks the hub's protocol: a model's info, and files with ETag, redirects and ranges.

Small files are sent from /resolve; large ones (LFS) answer there with a redirect to another host name, as the hub does.
Every request is written down.
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

LARGE = ".safetensors"


@dataclass
class Hub:
    """What the server has, and how it behaves.

    files: (owner/name, revision) → name of a file → its bytes. gated: models that only this token opens.
    cut_after: connections that send a large file end after so many bytes, `cuts` times (-1: always).
    slowly: seconds before each piece. info: whether it lists a model's files.
    """

    files: dict[tuple[str, str], dict[str, bytes]] = field(default_factory=dict)
    gated: dict[str, str] = field(default_factory=dict)
    cut_after: int = 0
    cuts: int = 0
    slowly: float = 0.0
    info: bool = True
    broken: int = 0
    requests: list[tuple[str, str]] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)
    tokens: list[tuple[str, str]] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def add(
        self, name: str, folder: Path, *, revision: str = "main", without: tuple[str, ...] = (), **more: bytes
    ) -> None:
        """Offer a folder as a model. more: files beside (`adapter_config__json` for adapter_config.json)."""
        held = {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name not in without}
        self.files[name, revision] = held | {key.replace("__", "."): value for key, value in more.items()}

    def commit(self, name: str, revision: str) -> str:
        """Name of a revision's content."""
        held = self.files[name, revision]
        return hashlib.sha1(
            json.dumps({k: hashlib.sha256(v).hexdigest() for k, v in held.items()}).encode()
        ).hexdigest()

    def at(self, name: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """Commit and files of a branch or commit."""
        for (model, branch), held in self.files.items():
            commit = self.commit(model, branch)
            if model == name and revision in (branch, commit):
                return commit, held
        return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        hub, path = self.hub, urlsplit(self.path).path
        hub.requests.append((self.command, path))
        hub.tokens.append((self.headers["host"], self.headers.get("authorization", "")))
        if hub.broken:
            return self._refuse(hub.broken, "")
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/revision/(.+)", path):
            return self._info(match[1], unquote(match[2])) if hub.info else self._refuse(404, "")
        if match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            return self._file(match[1], unquote(match[2]), unquote(match[3]))
        if match := re.fullmatch(r"/blobs/([^/]+/[^/]+)/([^/]+)/(.+)", path):
            return self._send(hub.at(match[1], match[2])[1][match[3]], {})  # type: ignore[index]
        return self._refuse(404, "")

    def _info(self, name: str, revision: str) -> None:
        there = self.hub.at(name, revision)
        if there is None:
            return self._no_such(name)
        body = {"id": name, "sha": there[0], "siblings": [{"rfilename": file} for file in there[1]]}
        return self._send(json.dumps(body).encode(), {"Content-Type": "application/json"})

    def _no_such(self, name: str) -> None:
        known = any(model == name for model, _ in self.hub.files)
        self._refuse(404, "RevisionNotFound") if known else self._refuse(401, "RepoNotFound")

    def _file(self, name: str, revision: str, file: str) -> None:
        there = self.hub.at(name, revision)
        token = self.hub.gated.get(name)
        if there is None:
            return self._no_such(name)
        if token is not None and self.headers.get("authorization") != f"Bearer {token}":
            return self._refuse(403 if "authorization" in self.headers else 401, "GatedRepo")
        commit, held = there
        if file not in held:
            return self._refuse(404, "EntryNotFound", {"X-Repo-Commit": commit})
        body, about = held[file], {"X-Repo-Commit": commit}
        if not file.endswith(LARGE):
            return self._send(body, about | {"ETag": f'"{hashlib.sha1(body).hexdigest()}"'})
        about |= {
            "Location": f"http://localhost:{self.hub.port}/blobs/{name}/{commit}/{file}",
            "X-Linked-Etag": f'"{hashlib.sha256(body).hexdigest()}"',
            "X-Linked-Size": str(len(body)),
        }
        return self._send(b"", about, status=302)

    def _refuse(self, status: int, code: str, about: dict[str, str] | None = None) -> None:
        self._send(b"", (about or {}) | ({"X-Error-Code": code} if code else {}), status=status)

    def _send(self, body: bytes, about: dict[str, str], *, status: int = 200) -> None:
        hub, at = self.hub, 0
        if status == 200 and (asked := self.headers.get("range")):
            hub.ranges.append(asked)
            at, status = int(asked.removeprefix("bytes=").rstrip("-")), 206
            about = about | {"Content-Range": f"bytes {at}-{len(body) - 1}/{len(body)}"}
        self.send_response(status)
        for key, value in (about | {"Content-Length": str(len(body) - at)}).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        rest = body[at:]
        if self.path.startswith("/blobs/") and hub.cut_after and hub.cuts:
            hub.cuts -= 1
            rest, self.close_connection = rest[: hub.cut_after], True
        for start in range(0, len(rest), 2**14):
            time.sleep(hub.slowly)
            try:
                self.wfile.write(rest[start : start + 2**14])
            except OSError:
                self.close_connection = True
                return


@contextmanager
def hub_server() -> Iterator[Hub]:
    """A hub that listens until the block ends."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def silent_server() -> Iterator[str]:
    """Address of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def refusing_address() -> str:
    """Address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    return f"http://127.0.0.1:{port}"
