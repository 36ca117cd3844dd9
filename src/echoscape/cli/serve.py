"""`echoscape serve`: a store that answers over HTTP, and a page of the live site.

Takes the address of a store.
Gives a service on this machine until it is stopped.
"""

import socket
from typing import Annotated

import cyclopts

from echoscape.cli.console import compile_sooner, compiled_folder, print_line, print_warning
from echoscape.cli.options import Port


def serve(
    *,
    store: str = "sqlite:///site.db",
    host: str = "127.0.0.1",
    port: Port = 8750,
    origin: str = "site",
    update_every: float | None = None,
    refit_every: int = 24,
    false_alarm: float = 0.01,
    sample: Annotated[bool, cyclopts.Parameter(negative="")] = False,
    new_token: bool = False,
) -> None:
    """Serve a store: take reports and echoes, give maps and fixes, until Ctrl-C.

    Open the printed page in a browser: it shows the live site. The first start makes the store and
    prints a token, which cannot be had again; programs give it as `Authorization: Bearer TOKEN`.
    What the interface offers is described at /v1/openapi.json.

    Args:
        store: Address of the store, as for `echoscape store`.
        host: Address to listen at; this machine alone by default.
        port: Port; 0 for any that is free.
        origin: What coordinates count from, as fixes name it.
        update_every: Add new reports to each map so often, without being asked [min].
        refit_every: After so many of these updates, fit all reports again, as the reference.
        false_alarm: Probability that an update calls a point vanished that is still there, within
            1,500 reports.
        sample: Let users walk through a sample city and targets move there, to see it all at work.
        new_token: Make a new token in place of the one named `admin`.
    """
    from echoscape.extras import need

    need("service", "serving")
    from echoscape.checks import InputError

    if update_every is not None and not 0.1 <= update_every < 1e6:
        raise InputError(f"--update-every must be at least 0.1, in min; got {update_every:g}")
    import os

    import sqlalchemy as sa
    import uvicorn

    from echoscape.service import SampleWalk, Upkeep, make_application
    from echoscape.store import Store
    from echoscape.store.tables import TOKENS
    from echoscape.store.tokens import make_token

    if update_every is None and sample:
        update_every = 1.0
    upkeep = Upkeep(update_every and 60.0 * update_every, refit_every, false_alarm)
    opened = Store.create(store)
    listening = _listen(host, port)
    at = f"http://{host}:{listening.getsockname()[1]}"
    with opened.reading() as connection:
        known = connection.scalar(sa.select(sa.func.count()).select_from(TOKENS))
    print_line(f"{opened} at {at}/v1/health")
    if new_token or not known:
        print_line(f"token, shown this once: {make_token(opened, 'admin', ['admin'])}")
    print_line(f"page: {at}/#token={make_token(opened, 'page', ['read'])}")
    if host not in ("127.0.0.1", "::1", "localhost"):
        print_warning(
            "other machines can reach this service, and what they send is not encrypted; put it "
            "behind a proxy that is"
        )
    compile_sooner()  # the workers inherit it
    folder = compiled_folder()
    if folder is not None:
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder))
    application = make_application(opened, store, origin=origin, upkeep=upkeep)
    if sample:
        application.state.service.feed = SampleWalk(print_line)
    settings = uvicorn.Config(
        application, log_level="warning", server_header=False,
        timeout_graceful_shutdown=5,
    )  # fmt: skip
    uvicorn.Server(settings).run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    from echoscape.checks import InputError

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise InputError(
            f"cannot listen at {host}:{port}: {error.strerror}; choose another --port, or 0 for "
            "any that is free"
        ) from error
    return listening
