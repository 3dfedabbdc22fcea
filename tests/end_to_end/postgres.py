"""A PostgreSQL of Debian's packages, in a folder of its own, for as long as a test needs it."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))


def absent() -> str:
    """Why there is no PostgreSQL here; empty where there is one."""
    if not BINARIES:
        return "PostgreSQL of Debian's packages is not installed: apt-get install postgresql"
    if os.getuid() == 0 and not any(user.pw_name == "postgres" for user in pwd.getpwall()):
        return "initdb refuses root, and there is no user postgres"
    return ""


@contextmanager
def postgres() -> Iterator[str]:
    """A server on a free port of this machine; gives the address before the database's name."""
    programs = BINARIES[-1].parent
    user = "postgres" if os.getuid() == 0 else None  # it refuses to be root
    place = Path(tempfile.mkdtemp(prefix="postgres-"))
    if user is not None:
        shutil.chown(place, user)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def run(program: str, *arguments: str) -> None:
        subprocess.run(
            [programs / program, *arguments], user=user, cwd=place, check=True, timeout=120,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    try:
        run("initdb", "-D", "data", "-U", "ada", "--auth=trust", "--no-sync")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={place} -c fsync=off"
        run("pg_ctl", "-D", "data", "-l", "log", "-w", "-o", options, "start")
        try:
            for database in ("mlflow", "study"):
                run("createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "ada", database)
            yield f"postgresql://ada@127.0.0.1:{port}/"
        finally:
            run("pg_ctl", "-D", "data", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(place, ignore_errors=True)
