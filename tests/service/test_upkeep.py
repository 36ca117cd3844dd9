"""Maps are updated when reports came and it is time, once for the same reports."""

import pytest

from echoscape.checks import InputError
from echoscape.service import Upkeep
from echoscape.store import Store, add_map, add_reports
from echoscape.store.jobs import add_job, begin_job, count_waiting, end_job, last_fit
from tests.store.test_store import reports


@pytest.fixture
def store(tmp_path):
    made = Store.create(str(tmp_path / "site.db"))
    folder = tmp_path / "map"
    folder.mkdir()
    (folder / "manifest.json").write_text("{}")
    add_reports(made, reports(10, seed=1), "walk")
    add_map(made, folder, "city", report_count=10, last_report=10)
    yield made
    made.close()


def looking(store, **more):
    upkeep = Upkeep(every=1e-9, **more)
    upkeep.store = store
    return upkeep


def end(store):
    job = begin_job(store)
    end_job(store, job.number, "done", {})
    return job


def test_only_new_reports_make_a_job(store):
    upkeep = looking(store, refit_every=7, false_alarm=0.05)
    assert upkeep.look() == []
    add_reports(store, reports(3, seed=2), "walk")
    assert upkeep.look() == ["city"]
    job = end(store)
    assert (job.kind, job.request) == (
        "update", {"map": "city", "refit_every": 7, "false_alarm": 0.05},
    )  # fmt: skip
    assert upkeep.look() == []  # the same reports are not tried again
    add_reports(store, reports(3, seed=4), "walk")
    assert upkeep.look() == ["city"]
    add_reports(store, reports(3, seed=5), "walk")
    assert upkeep.look() == []  # while a job waits, none is added
    assert count_waiting(store) == 1


def test_a_map_is_updated_by_the_reports_it_was_fitted_to(store):
    for name, source in (("city", "bus"), ("city", "walk"), ("other", "bus")):
        add_job(store, "fit", {"map": name, "source": source, "since": 3.0})
        end(store)
    assert last_fit(store, "city")["source"] == "walk"
    assert last_fit(store, "nowhere") == {}
    add_reports(store, reports(3, seed=2), "walk")
    assert looking(store).look() == ["city"]
    assert end(store).request["source"] == "walk"


def test_it_waits_for_its_time_and_for_being_asked(store):
    add_reports(store, reports(3, seed=2), "walk")
    for every in (None, 1e6):
        upkeep = Upkeep(every=every)
        upkeep.store = store
        assert upkeep.look() == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"every": 0.0}, "above 0"),
        ({"refit_every": 0}, "at least 1 update"),
        ({"false_alarm": 1.0}, "between 0 and 1"),
    ],
)
def test_what_makes_no_sense_is_refused(given, words):
    with pytest.raises(InputError, match=words):
        Upkeep(**given)
