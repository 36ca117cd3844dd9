"""Somebody to serve: users of the sample city who report, and targets that are heard.

The first reports make a map.  Then a few users report each second and one target is heard by its
echoes, each near the one before; all of it through the same doors as anybody's.

Takes a `Service`.
Gives reports, jobs and fixes in its store until the service ends.
"""

import dataclasses
import logging
import time
from collections.abc import Callable
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from echoscape.checks import InputError
from echoscape.sample import load_sample
from echoscape.store import add_file, add_reports, count_rows, list_maps
from echoscape.store.jobs import add_job, find_job

if TYPE_CHECKING:
    from echoscape.service.running import Service

MAP = "sample"
"""Name of the map, and source of the reports."""
_FIRST = 300  # reports that the first map is fitted to
_TOGETHER = 5  # reports a second
_log = logging.getLogger("echoscape.service")


class SampleWalk:
    """Feeds a service until it ends; see the module."""

    def __init__(self, say: Callable[[str], None] = lambda _: None, pace: float = 1.0):
        """Prepare the walk.

        Args:
            say: Called with what happens, in one line each.
            pace: Time between two targets [s].
        """
        self._say, self._pace = say, pace

    def __call__(self, service: "Service") -> None:
        """Walk until the service ends."""
        try:
            self._walk(service)
        except Exception as error:
            if not service.is_ending:
                _log.exception("the sample's walk has ended")
                self._say(f"the sample's walk has ended: {error}")

    def _walk(self, service: "Service") -> None:
        import jax

        from echoscape.reports.echo_making import make_echoes
        from echoscape.reports.messages import stream_of
        from echoscape.reports.table import table_from_echoes

        sample = load_sample()
        users = sample.reports
        order = nearest_first(np.asarray(users.position)[_FIRST:]) + _FIRST
        if all(version.name != MAP for version in list_maps(service.store)):
            self._begin(service, users[np.arange(_FIRST)])
        sent = max(count_rows(service.store)["reports"] - _FIRST, 0)
        targets = sample.targets[nearest_first(np.asarray(sample.targets.position))]
        heard = make_echoes(targets, jax.random.key(0), angle_std=0.02, delay_std=2e-9).echoes
        number = 0
        while not service.wait(self._pace):
            some = order[sent : sent + _TOGETHER]
            if len(some):
                now = np.full(len(some), time.time())
                add_reports(service.store, dataclasses.replace(users[some], time=now), MAP)
                service.count("reports_added", len(some))
                sent += len(some)
            one = heard[np.array([number % len(heard)])]
            fixes = service.locate(stream_of(table_from_echoes(one)), MAP)
            if number == 0:
                status = fixes.fixes[0].status
                self._say(f"target {fixes.fixes[0].target} appears ({status}); more follow")
            number += 1

    def _begin(self, service: "Service", users) -> None:
        """Keep the buildings and the first reports, and wait for the map that they make."""
        with resources.as_file(resources.files("echoscape.sample") / "scene.npz") as path:
            add_file(service.store, path, "mesh")
        now = np.full(len(users), time.time())
        add_reports(service.store, dataclasses.replace(users, time=now), MAP)
        self._say(f"{len(users)} users of the sample city have reported; a map is being learnt")
        job = add_job(service.store, "fit", {"map": MAP, "source": MAP})
        service.wake()
        while not service.wait(0.5):
            state = find_job(service.store, job.number)
            if state is None or state.state == "failed":
                raise InputError(f"the sample's map: {state and state.result}")
            if state.state == "done":
                self._say("the map is learnt; the first target is being located")
                return


def nearest_first(place: Float[np.ndarray, "user 3"]) -> Int[np.ndarray, " user"]:
    """Order places so that each comes after a near one, as on a walk.

    Args:
        place: Where users are [m].
    """
    left = np.ones(len(place), bool)
    order = np.zeros(len(place), int)
    for i in range(1, len(place)):
        left[order[i - 1]] = False
        away = np.sum((place - place[order[i - 1]]) ** 2, axis=1)
        order[i] = np.argmin(np.where(left, away, np.inf))
    return order
