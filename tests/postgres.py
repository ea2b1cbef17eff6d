"""A real PostgreSQL server in a temporary folder, on a free loopback port, which tests can stop and restart."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

SUPERUSER = "urfb"


class Server:
    """A server in which each test creates its own database."""

    def __init__(self, programs: Path) -> None:
        """Create the server's files and start it. It refuses to run as root, so root runs it as the user nobody."""
        self.programs = programs
        self.user = "nobody" if os.geteuid() == 0 else None
        self.folder = Path(tempfile.mkdtemp(prefix="urfb-postgres-"))
        if self.user is not None:
            shutil.chown(self.folder, self.user)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._run("initdb", "--username", SUPERUSER, "--auth", "trust", "--no-sync", "--encoding", "UTF8")
        self.databases = 0
        self.start()

    @classmethod
    def find(cls) -> Path | None:
        """Return the folder of the server's programs, or None if it is not installed."""
        versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
        program = str(versions[-1]) if versions else shutil.which("initdb")
        return Path(program).parent if program else None

    def start(self) -> None:
        """Start the server and wait until it answers."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
        self._run("pg_ctl", "start", "--wait", "--silent", "--log", str(self.folder / "log"), "--options", options)

    def stop(self, how: str = "fast") -> None:
        """Stop the server; 'immediate' is like a crash."""
        self._run("pg_ctl", "stop", "--wait", "--silent", "--mode", how)

    def close(self) -> None:
        """Stop the server and remove its files."""
        self.stop("immediate")
        shutil.rmtree(self.folder)

    def database(self) -> str:
        """Return the URL of a new, empty database."""
        self.databases += 1
        name = f"test{self.databases}"
        arguments = ["--host", "127.0.0.1", "--port", str(self.port), "--username", SUPERUSER, name]
        subprocess.run([self.programs / "createdb", *arguments], check=True, capture_output=True)
        return f"postgresql://{SUPERUSER}:secret@127.0.0.1:{self.port}/{name}"

    def _run(self, program: str, *arguments: str) -> None:
        command = [self.programs / program, "--pgdata", self.folder / "data", *arguments]
        # Its output must not go to a pipe, because the server would keep the pipe open.
        subprocess.run(command, check=True, user=self.user, cwd="/", stdout=subprocess.DEVNULL)
