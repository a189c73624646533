"""A SLURM cluster of one node on this machine: munged, slurmctld and slurmd of its own, in one folder, on free ports.

Debian's `slurm-wlm` and `munge`; for root alone, since the daemons are. No accounting, no control groups. What another
SLURM of this machine does is left alone.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PACKAGES = ("slurm-wlm", "munge")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel")
PATIENCE = 60.0  # seconds for a daemon, or for a state that is waited for
CONFIGURATION = """
ClusterName=eapgp
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser=root
SlurmdUser=root
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SchedulerParameters=sched_interval=1
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
KillWait=5
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def unavailable(*, install: bool = False) -> str:
    """Why no cluster can be had here, or "". install: with Debian's packages, where they are missing."""
    if os.name != "posix" or os.geteuid() != 0:
        return "SLURM's daemons are started by root alone"
    if install and any(shutil.which(name) is None for name in PROGRAMS) and shutil.which("apt-get"):
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        for line in (["update"], ["install", "-y", "--no-install-recommends", *PACKAGES]):
            subprocess.run(["apt-get", "-qq", *line], env=environment, capture_output=True, check=False, timeout=600)
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    return f"{missing[0]} is not installed (Debian's {' and '.join(PACKAGES)})" if missing else ""


@dataclass
class Cluster:
    """The running daemons. environment: what commands and sweeps need to find them."""

    folder: Path
    environment: dict[str, str]
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, *line: str) -> None:
        """Start a daemon, which stays in the foreground for its process to be ours."""
        with (self.folder / f"{name}.out").open("ab") as log:
            self.daemons[name] = subprocess.Popen([name, *line], env=self.environment, stdout=log, stderr=log)

    def start_node(self) -> None:
        """Start slurmd and wait until work may come."""
        self.start("slurmd", "-D", "-f", self.environment["SLURM_CONF"], "-N", socket.gethostname())
        self.wait_for("idle", "mixed", "allocated", what=("sinfo", "--noheader", "--format=%T"))

    def kill_node(self) -> None:
        """SIGKILL to slurmd; the steps that it started are processes of their own."""
        self.daemons["slurmd"].kill()
        self.daemons.pop("slurmd").wait()

    def ask(self, *line: str) -> str:
        """What a command of SLURM answers; "" where it fails."""
        return subprocess.run(line, env=self.environment, capture_output=True, text=True, check=False).stdout

    def wait_for(self, *states: str, what: tuple[str, ...]) -> None:
        """Until an answer is one of these. Errors: TimeoutError."""
        until = time.monotonic() + PATIENCE
        while (answer := self.ask(*what).strip()) not in states:
            if time.monotonic() > until:
                raise TimeoutError(f"{' '.join(what)}: {answer!r} for {PATIENCE:.0f} s; see {self.folder}")
            time.sleep(0.2)

    def tasks(self) -> dict[str, str]:
        """State by id of the tasks that the queue still tells of."""
        lines = self.ask("squeue", "--noheader", "--array", "--states=all", "--format=%i|%T").splitlines()
        return dict(line.split("|") for line in lines)


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """A cluster below a folder until the block ends. Errors: TimeoutError where it does not come up."""
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    ports = [free_port(), free_port()]
    configuration = folder / "slurm.conf"
    configuration.write_text(
        CONFIGURATION.format(host=socket.gethostname(), folder=folder, controller=ports[0], node=ports[1])
    )
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o600)
    one = Cluster(folder, dict(os.environ) | {"SLURM_CONF": str(configuration)})
    places = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    try:
        one.start("munged", "--foreground", "--force", *(f"--{k}={folder}/munge.{v}" for k, v in places.items()))
        one.start("slurmctld", "-D", "-f", str(configuration))
        one.start_node()
        yield one
    finally:
        one.ask("scancel", "--full", "--user=root")
        for daemon in reversed(one.daemons.values()):
            daemon.terminate()
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()


def free_port() -> int:
    """A port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])
