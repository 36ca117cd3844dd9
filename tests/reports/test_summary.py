"""The summary counts, and warns of what is possible but probably wrong."""

import dataclasses

import numpy as np
import pytest

from echoscape.reports import summarize_reports
from echoscape.sample import load_sample


def edit(reports, **changes):
    estimates = dataclasses.replace(reports.estimates, **changes)
    return dataclasses.replace(reports, estimates=estimates)


@pytest.fixture(scope="module")
def reports():
    return load_sample().reports


def test_the_summary_counts(reports):
    summary = summarize_reports(reports)
    assert summary.reports == len(reports.report)
    assert summary.outages == int((~reports.estimates.valid.any(axis=1)).sum()) > 0
    assert summary.paths == int(reports.estimates.valid.sum())
    assert summary.stations == {"bs": summary.reports}
    assert summary.paths_per_report["most"] == 12
    assert summary.extent["z"] == (1.5, 1.5)
    assert summary.arrival_angles == 1.0
    assert summary.stated_errors == 0.0


def test_a_few_short_delays_are_counted_beyond_their_stated_errors(reports):
    length = reports.estimates.length.copy()
    row = int(np.flatnonzero(reports.estimates.valid.any(axis=1))[5])
    length[row, 0] = 0.5 * np.linalg.norm(reports.position[row] - reports.station_position[0])
    wrong = edit(reports, length=length)
    (warning,) = summarize_reports(wrong).warnings
    assert f"1 paths of 0.1% of the reports (first: report {reports.report[row]})" in warning
    generous = edit(wrong, length_std=np.full(length.shape, 300.0))
    assert summarize_reports(generous).warnings == ()
    unsure = dataclasses.replace(wrong, position_std=np.full(len(length), 100.0))
    assert summarize_reports(unsure).warnings == ()


def test_normalised_delays_are_recognised(reports):
    valid, length = reports.estimates.valid, reports.estimates.length
    first = np.where(valid, length, np.inf).min(axis=1, keepdims=True)
    shifted = np.where(valid, length - np.where(np.isfinite(first), first, 0), 0)
    warnings = summarize_reports(edit(reports, length=shifted)).warnings
    assert any("normalize_delays=False" in warning for warning in warnings)


def test_no_path_at_all_is_said(reports):
    empty = edit(reports, valid=np.zeros_like(reports.estimates.valid))
    summary = summarize_reports(empty)
    assert summary.warnings == ("no report has any path, so there is nothing to learn",)
    assert summary.delay is None
    assert dataclasses.asdict(summary)["paths_per_report"]["median"] == 0
