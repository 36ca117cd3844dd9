"""The sample's walk: near places follow one another, and everything goes through the doors."""

from types import SimpleNamespace

import numpy as np
import pytest

from echoscape.service import SampleWalk
from echoscape.service.sample_walk import nearest_first
from echoscape.store import Store, count_rows, find_reports, list_files
from echoscape.store.jobs import begin_job, end_job


def test_a_walk_goes_from_near_to_near():
    place = np.array([[0.0, 0, 0], [9, 1, 0], [1, 0, 0], [3, 0, 0], [10, 0, 0]])
    assert nearest_first(place).tolist() == [0, 2, 3, 1, 4]


class Doors:
    """A service that learns maps at once and counts the targets that it is asked for."""

    is_ending = False

    def __init__(self, store):
        self.store, self.targets, self.counts = store, [], []

    def wait(self, seconds):
        self.is_ending = len(self.targets) >= 3
        return self.is_ending

    def count(self, name, more):
        self.counts.append((name, more))

    def wake(self):
        job = begin_job(self.store)
        assert (job.kind, job.request["map"]) == ("fit", "sample")
        end_job(self.store, job.number, "done", {})

    def locate(self, echoes, name):
        self.targets.append(len(echoes))
        return SimpleNamespace(fixes=[SimpleNamespace(target=4, status="located")])


def test_users_report_and_targets_are_located(tmp_path):
    store = Store.create(str(tmp_path / "site.db"))
    said = []
    doors = Doors(store)
    SampleWalk(said.append, pace=0.0)(doors)
    assert len(doors.targets) == 3
    assert count_rows(store)["reports"] == 300 + 3 * 5
    assert [file.kind for file in list_files(store)] == ["mesh"]
    time = find_reports(store).time
    assert (np.diff(time) >= 0).all()
    assert time[-1] > 1.7e9  # now
    assert any("appears (located)" in line for line in said)
    store.close()


def test_a_walk_that_cannot_go_on_says_why(tmp_path):
    store = Store.create(str(tmp_path / "site.db"))
    doors = Doors(store)
    doors.wake = lambda: end_job(store, begin_job(store).number, "failed", "no walls")
    said = []
    SampleWalk(said.append)(doors)
    assert "no walls" in said[-1]
    store.close()


@pytest.mark.parametrize("place", [np.zeros((1, 3)), np.zeros((3, 3))])
def test_equal_places_are_each_visited(place):
    assert sorted(nearest_first(place).tolist()) == list(range(len(place)))
