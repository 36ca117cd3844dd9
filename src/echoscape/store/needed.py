"""Is the extra `store` there: one sentence if it is not.

Takes nothing.
Gives nothing; imported before anything that needs the extra.
"""

import importlib.util

from echoscape.checks import InputError

if not all(importlib.util.find_spec(name) for name in ("sqlalchemy", "alembic")):
    raise InputError("a store needs the extra `store`: pip install 'echoscape[store]'")
