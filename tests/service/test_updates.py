"""A map of a store that grows by the reports since its last version."""

import dataclasses

import numpy as np
import pytest

from echoscape.checks import InputError
from echoscape.service import tasks
from echoscape.service.messages import JobRequest
from echoscape.store import Store, add_reports, list_maps
from tests.worlds.mirrors import street_reports


def at_time(reports, time):
    return dataclasses.replace(reports, time=np.full(len(reports), float(time)))


@pytest.mark.slow
def test_a_map_grows_by_the_reports_since_its_version_and_is_fitted_again_in_time(tmp_path):
    url = f"sqlite:///{tmp_path / 'site.db'}"
    store = Store.create(url)
    errors = {"angle_std": 0.003, "delay_std": 3e-10}
    add_reports(store, at_time(street_reports(count=40, seed=3, **errors), 10.0), "walk")
    asked = {"map": "street"}
    with pytest.raises(InputError, match="no map 'street' to update; fit it first"):
        tasks.update(url, asked)
    tasks.fit(url, asked)
    with pytest.raises(InputError, match="no report is newer than version 1 of map 'street'"):
        tasks.update(url, asked)
    add_reports(store, at_time(street_reports(count=12, seed=5, **errors), 20.0), "walk")
    add_reports(store, at_time(street_reports(count=5, seed=6, **errors), 9.0), "late")
    found = tasks.update(url, asked | {"refit_every": 1})
    assert found == {
        "map": "street", "version": 2, "reports": 12, "late": 5, "vanished": 0, "appeared": 0
    }  # fmt: skip
    newest = list_maps(store)[-1]
    assert (newest.version, newest.parent, newest.report_count, newest.last_report) == (
        2,
        1,
        52,
        57,
    )
    again = tasks.update(url, asked | {"refit_every": 1})
    assert again == {"map": "street", "version": 3, "reports": 57}
    assert list_maps(store)[-1].parent is None


def test_jobs_that_update_take_their_own_settings_only():
    JobRequest(kind="update", map="street", false_alarm=0.01, per_reports=1500, refit_every=10)
    for kind, stray in (("update", {"model": "scatterers"}), ("fit", {"false_alarm": 0.1})):
        with pytest.raises(ValueError, match=f"kind '{kind}' takes no {next(iter(stray))}"):
            JobRequest(kind=kind, map="street", **stray)
