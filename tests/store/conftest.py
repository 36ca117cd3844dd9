"""Both databases: a file of SQLite, and a PostgreSQL that the tests start on loopback."""

import os
import pathlib
import pwd
import shutil
import socket
import subprocess
import tempfile

import pytest


def _postgres_binaries():
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found += [pathlib.Path(p) for p in [shutil.which("initdb")] if p]
    return found[-1].parent if found else None


@pytest.fixture(scope="session")
def postgres_server():
    """Address of an empty PostgreSQL; the server refuses to run as root, so another user does."""
    binaries = _postgres_binaries()
    if binaries is None:
        pytest.skip("needs PostgreSQL's server")
    pytest.importorskip("psycopg")
    as_user, owner = [], None
    if os.geteuid() == 0:
        try:
            owner = pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("needs a user `postgres` where tests run as root")
        as_user = ["runuser", "-u", "postgres", "--"]
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        if owner is not None:
            os.chown(folder, owner.pw_uid, owner.pw_gid)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]

        def run(*words):
            subprocess.run(
                [*as_user, *map(str, words)], check=True, cwd="/",
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip

        data = f"{folder}/data"
        run(binaries / "initdb", "-D", data, "-U", "echoscape", "-A", "trust", "-E", "UTF8")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -k {folder} -c fsync=off"
        run(binaries / "pg_ctl", "-D", data, "-w", "-o", options, "-l", f"{folder}/log", "start")
        try:
            yield f"postgresql://echoscape@127.0.0.1:{port}"
        finally:
            run(binaries / "pg_ctl", "-D", data, "-m", "immediate", "stop")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """Address of a store that is not made yet."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'site.db'}"
        return
    import psycopg
    from psycopg import sql

    server = request.getfixturevalue("postgres_server")
    name = "t" + os.urandom(6).hex()
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    yield f"{server}/{name}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))
