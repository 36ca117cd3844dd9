"""Maps that keep themselves up to date: reports that came since the last version make the next.

Every so often each map that has new reports gets a job of kind `update`: points are confirmed, are
seen to be gone or appear.  After some updates all reports are fitted again, as the reference.

Takes a `Store`.
Gives jobs.
"""

import dataclasses
import time

from echoscape.checks import InputError
from echoscape.store import Store, list_maps, newest_report
from echoscape.store.jobs import add_job, count_waiting, last_fit


@dataclasses.dataclass
class Upkeep:
    """When maps are updated without being asked."""

    every: float | None = None
    """Time between two looks at the maps [s]; None for never."""
    refit_every: int = 24
    """After so many updates all reports are fitted again [1]."""
    false_alarm: float = 0.01
    """Probability that a point that is still there is called vanished in `update_map`'s 1,500
    reports [1]."""
    store: Store | None = dataclasses.field(default=None, repr=False)
    """Whose maps; the service that uses it sets it."""

    def __post_init__(self) -> None:
        if self.every is not None and not self.every > 0:
            raise InputError(f"maps are updated every so many s, above 0; got {self.every:g}")
        if self.refit_every < 1:
            raise InputError(f"refit_every must be at least 1 update; got {self.refit_every}")
        if not 0 < self.false_alarm < 1:
            raise InputError(f"false_alarm must lie between 0 and 1; got {self.false_alarm:g}")
        self._next = time.monotonic() + (self.every or 0.0)
        self._tried: dict[str, int] = {}

    def look(self) -> list[str]:
        """Enter a job for every map with new reports, if it is time; names those maps."""
        if self.every is None or self.store is None or time.monotonic() < self._next:
            return []
        self._next = time.monotonic() + self.every
        if count_waiting(self.store):
            return []
        newest = newest_report(self.store)
        known = {version.name: version.last_report for version in list_maps(self.store)}
        due = []
        for name, last in known.items():
            # reports that no update can use, of earlier times for example, are tried once
            if newest > max(last, self._tried.get(name, 0)):
                self._tried[name] = newest
                due.append(name)
        for name in due:
            fitted = last_fit(self.store, name)
            chosen = {word: fitted[word] for word in ("station", "source") if word in fitted}
            request = {"map": name, "refit_every": self.refit_every, **chosen}
            add_job(self.store, "update", {**request, "false_alarm": self.false_alarm})
        return due
