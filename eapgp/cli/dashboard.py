"""`eapgp app`: the dashboard."""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from eapgp.cli.command import HomeOption, command
from eapgp.cli.output import Output, Reply
from eapgp.errors import ComputationError, InputError
from eapgp.places import PUBLIC_VARIABLE, bundled
from eapgp.runs.library import HOME_VARIABLE

DEFAULT_PORT = 8501
PUBLIC_OPTIONS = {  # whatever a file of settings says
    "server.enableXsrfProtection": "true",
    "server.xsrfCookieSameSite": "strict",
    "server.enableCORS": "true",
    "server.maxUploadSize": "10",
    "client.showErrorDetails": "none",
    "client.toolbarMode": "viewer",
}
PATIENCE = 10  # seconds that the server gets to stop by itself; a computation in one of its threads may hold it up


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    examples = ("eapgp app", "eapgp app --port 8600 --no-browser", "eapgp app --public --no-browser")

    @command(app, "app", examples=examples, panel="Look")
    def dashboard(
        out: Output,
        port: Annotated[
            int, typer.Option(min=1, max=65535, envvar="EAPGP_PORT", help="Port on this machine.")
        ] = DEFAULT_PORT,
        no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open a browser window.")] = False,
        address: Annotated[str, typer.Option(help="Address to listen on; the default is this machine only.")] = (
            "localhost"
        ),
        public: Annotated[
            bool,
            typer.Option(
                "--public",
                envvar=PUBLIC_VARIABLE,
                help="For strangers: listed models only, each visitor's runs apart, limits on jobs (docs/serving.md).",
            ),
        ] = False,
        home: HomeOption = None,
    ) -> Reply:
        """Open the dashboard on the bundled model; Ctrl-C stops it."""
        line = app_command(port=port, address=address, browser=not no_browser, public=public)
        check_port(address, port)
        environment = dict(os.environ) | ({HOME_VARIABLE: str(home.absolute())} if home else {})
        environment[PUBLIC_VARIABLE] = "1" if public else "0"
        if not public and not is_this_machine(address):
            out.message(
                f"--address {address} without --public: whoever reaches this machine may read, compute and delete "
                "everything here and name any folder; give --public for strangers."
            )
        out.message(f"the dashboard is at http://{address}:{port} (Ctrl-C stops it)")
        stopped = run_until_stopped(line, environment, cwd=app_file().parent)
        return Reply({"url": f"http://{address}:{port}", "stopped": stopped}, None)


def app_file() -> Path:
    """The dashboard's entry file: in the repository, or inside an installed wheel.

    Errors: InputError if neither is there.
    """
    file = bundled("app.py")
    if file is None:
        raise InputError("the dashboard's files are missing: expected app.py beside the package; install again.")
    return file


def is_this_machine(address: str) -> bool:
    """Whether only this machine reaches an address."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def app_command(*, port: int, address: str, browser: bool, public: bool = False) -> list[str]:
    """The Streamlit call; nothing is reported to anyone.

    browser: open a window where the machine has a display. Streamlit decides that; told to on a machine without,
    it would start a browser in the terminal and wait for its end.

    Errors: InputError if Streamlit is not installed.
    """
    if importlib.util.find_spec("streamlit") is None:
        raise InputError(
            "the dashboard needs Streamlit, which is not installed; install it with 'pip install streamlit'."
        )
    options = {
        "server.port": port,
        "server.address": address,
        **({} if browser else {"server.headless": "true"}),
        "server.fileWatcherType": "none",
        "browser.gatherUsageStats": "false",
        **(PUBLIC_OPTIONS if public else {}),
    }
    head = [sys.executable, "-m", "streamlit", "run", str(app_file())]
    return head + [part for key, value in options.items() for part in (f"--{key}", str(value))]


def check_port(address: str, port: int) -> None:
    """Raise where something listens on the port, naming one that is free, and for an address of another machine.

    Errors: InputError.
    """
    _check_address(address)
    if not _taken(address, port):
        return
    free = next((other for other in range(port + 1, min(port + 100, 65535) + 1) if not _taken(address, other)), None)
    advice = f"give --port {free}" if free else "give another with --port"
    raise InputError(f"port {port} on {address} is taken, perhaps by another dashboard; open that one, or {advice}.")


def _check_address(address: str) -> None:
    try:
        places = socket.getaddrinfo(address, None, type=socket.SOCK_STREAM)
        with socket.socket(places[0][0], socket.SOCK_STREAM) as probe:
            probe.bind((places[0][4][0], 0))
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"--address {address}: expected an address of this machine, got {reason}; "
            "localhost is this machine only, 0.0.0.0 every network it is in."
        ) from None


def _taken(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=0.5):
            return True
    except OSError:
        return False


def run_until_stopped(line: list[str], environment: dict[str, str], *, cwd: Path) -> bool:
    """Run the server until it ends, Ctrl-C or SIGTERM, which end it too; it gets time to stop by itself.

    Errors: ComputationError if it ends with an error.
    """
    with (
        _terminated_as_interrupted() as termination,
        subprocess.Popen(line, env=environment, cwd=cwd, stdout=sys.stderr) as server,
    ):
        try:
            termination.arm()
            code = server.wait()
        except KeyboardInterrupt:
            _stop(server)
            return True
    if code not in (0, -signal.SIGINT, -signal.SIGTERM, 130):
        raise ComputationError(f"the dashboard ended with exit code {code}; its messages above say why.")
    return True


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        server.kill()


class _Termination:
    """SIGTERM as a KeyboardInterrupt, once, and not before `arm`.

    An exception raised while the server is being started would leave it without anybody who knows its process.
    """

    def __init__(self) -> None:
        self.armed = self.asked = False

    def __call__(self, *_: object) -> None:
        first, self.asked = not self.asked, True
        if self.armed and first:
            raise KeyboardInterrupt

    def arm(self) -> None:
        """From now on SIGTERM interrupts; one that came before does so now."""
        self.armed = True
        if self.asked:
            raise KeyboardInterrupt


@contextmanager
def _terminated_as_interrupted() -> Iterator[_Termination]:
    termination = _Termination()
    before = signal.signal(signal.SIGTERM, termination)
    try:
        yield termination
    finally:
        signal.signal(signal.SIGTERM, before)
