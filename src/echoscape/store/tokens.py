"""Tokens: who may use a service on this store, and for what.

Takes a name and scopes.
Gives a token once; afterwards only whether one is right.
"""

import datetime
import hashlib
import hmac
import secrets
from collections.abc import Collection

import sqlalchemy as sa

from echoscape.checks import InputError, unknown_name
from echoscape.store.database import Store
from echoscape.store.tables import TOKENS

SCOPES = ("ingest", "read", "admin")
"""What a token may allow: sending data, reading and locating, everything."""


def make_token(store: Store, name: str, scopes: Collection[str]) -> str:
    """Make a token, and replace the one of the same name.

    Args:
        store: Where its digest is kept.
        name: Whose it is.
        scopes: Some of `SCOPES`.

    Returns:
        The token; it cannot be had again.
    """
    for scope in scopes:
        if scope not in SCOPES:
            raise unknown_name("scope", scope, SCOPES)
    if not scopes:
        raise InputError(f"a token needs one scope at least, of {', '.join(SCOPES)}")
    token = secrets.token_urlsafe(32)
    row = {
        "name": name,
        "digest": _digest(token),
        "scopes": " ".join(sorted(set(scopes))),
        "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    with store.writing() as connection:
        connection.execute(sa.delete(TOKENS).where(TOKENS.c.name == name))
        connection.execute(sa.insert(TOKENS).values(**row))
    return token


def scopes_of(store: Store, token: str) -> frozenset[str]:
    """Tell what a token allows; nothing if it is none of this store's.

    All digests are compared, each in constant time.
    """
    digest = _digest(token)
    allowed: frozenset[str] = frozenset()
    with store.reading() as connection:
        for known, scopes in connection.execute(sa.select(TOKENS.c.digest, TOKENS.c.scopes)):
            if hmac.compare_digest(known, digest):
                allowed = frozenset(scopes.split())
    return allowed


def revoke_token(store: Store, name: str) -> None:
    """Forget a token.

    Raises:
        InputError: There is none of this name.
    """
    with store.writing() as connection:
        gone = connection.execute(sa.delete(TOKENS).where(TOKENS.c.name == name))
    if not gone.rowcount:
        raise InputError(f"there is no token of the name {name!r}")


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
