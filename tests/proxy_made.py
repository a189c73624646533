"""nginx with docs/nginx.conf, whose places and ports alone are others."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.browser.conftest import free_port

ROOT = Path(__file__).resolve().parent.parent
USER, PASSWORD = "anna", "secret"


@contextmanager
def nginx_before(port: int, folder: Path) -> Iterator[int]:
    """The port on which nginx serves, over TLS, what listens on `port`; skips the test where it cannot be had."""
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.skip("no nginx: install it (Debian: apt-get install nginx-light)")
    if shutil.which("openssl") is None:
        pytest.skip("no openssl, which makes the certificate")
    served = free_port()
    whole = _configuration(folder, behind=port, served=served)
    checked = subprocess.run([program, "-t", "-c", str(whole)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert "warn" not in checked.stderr
    nginx = subprocess.Popen([program, "-c", str(whole)], stderr=subprocess.DEVNULL)
    try:
        _wait_for(served)
        yield served
    finally:
        nginx.terminate()
        nginx.wait(10)


def _configuration(folder: Path, *, behind: int, served: int) -> Path:
    certificate, key, users = (folder / name for name in ("cert.pem", "key.pem", "users"))
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    subprocess.run([*made, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    users.write_text(f"{USER}:{{PLAIN}}{PASSWORD}\n")
    folder.chmod(0o755)
    text = (ROOT / "docs" / "nginx.conf").read_text(encoding="utf-8")
    changes = {
        "127.0.0.1:8501": f"127.0.0.1:{behind}",
        "listen 80;": f"listen 127.0.0.1:{free_port()};",
        "listen 443 ssl;": f"listen 127.0.0.1:{served} ssl;",
        "/etc/ssl/certs/circuits.example.org.pem": str(certificate),
        "/etc/ssl/private/circuits.example.org.key": str(key),
        "/etc/nginx/eapgp.users": str(users),
    }
    for was, now in changes.items():
        assert was in text
        text = text.replace(was, now)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    whole = folder / "nginx.conf"
    user = "user root;" if os.getuid() == 0 else ""
    whole.write_text(
        f"{user} pid {folder}/pid; daemon off; error_log {folder}/error.log; events {{}}\n"
        f"http {{ access_log off; {temporary}\n{text}\n}}\n"
    )
    return whole


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("nginx does not listen")
