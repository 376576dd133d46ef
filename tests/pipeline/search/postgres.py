"""A real PostgreSQL in a temporary folder, on a port of loopback."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

USER, PASSWORD = "searcher", "correct-horse"


def programs() -> Path | None:
    """Where PostgreSQL's programs are: on the path, or where Debian puts them."""
    if found := shutil.which("initdb"):
        return Path(found).parent
    return max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name), default=None)


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """URL of a database, with its password."""
    found = programs()
    if found is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'fairnas[postgres]'")
    data, secret = folder / "data", folder / "password"
    secret.write_text(PASSWORD)
    # It refuses to run as root.
    user: list[str] = []
    if os.geteuid() == 0:
        known = {entry.pw_name for entry in pwd.getpwall()}
        name = "postgres" if "postgres" in known else "nobody"
        shutil.chown(folder, name)
        shutil.chown(secret, name)
        for parent in folder.parents:  # pytest's own temporary folders
            if parent.stat().st_uid == 0 and parent.stat().st_mode & 0o77 == 0:
                parent.chmod(0o711)
        user = ["setpriv", f"--reuid={name}", "--clear-groups", "--"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def call(program: str, *arguments: str) -> None:
        subprocess.run([*user, str(found / program), *arguments], check=True, capture_output=True, cwd=folder)

    call("initdb", "-D", str(data), "-U", USER, "--pwfile", str(secret), "--auth=scram-sha-256", "--no-sync")
    options = f"-c port={port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
    call("pg_ctl", "-D", str(data), "-o", options, "-l", str(folder / "log"), "-w", "start")
    try:
        yield f"postgresql+psycopg://{USER}:{PASSWORD}@127.0.0.1:{port}/postgres"
    finally:
        call("pg_ctl", "-D", str(data), "-m", "immediate", "-w", "stop")
