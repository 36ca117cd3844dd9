"""The study of unseen targets: its world, one small layout, interruption and the command."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.checks import InputError
from echoscape.cli import main
from echoscape.studies.nlos_ckm.study import measure_parts, table
from echoscape.studies.nlos_ckm.world import (
    echoes_of,
    exact_bound,
    exact_map,
    make_layout,
    reports_of,
)


@pytest.fixture(scope="module")
def layout():
    return make_layout(3, users=400, targets=50)


@pytest.mark.slow
def test_fewer_users_are_the_first_of_more(layout):
    few = make_layout(3, users=20, targets=5)
    np.testing.assert_allclose(few.users.length, layout.users.length[:20], rtol=1e-12)
    np.testing.assert_allclose(few.targets.azimuth, layout.targets.azimuth[:5], atol=1e-12)
    other = make_layout(2, users=20, targets=5)
    assert other.site.scatterer_position.shape != few.site.scatterer_position.shape


def test_users_have_the_exact_maps_paths_but_for_the_sway(layout):
    prior = jax.jit(jax.vmap(exact_map(layout)))(jnp.asarray(layout.users.position))
    rows = np.arange(400)[:, None], layout.users.identity
    late = layout.users.length - np.asarray(prior.length)[rows]
    expected = np.sqrt(np.asarray(prior.covariance)[..., 2, 2][rows])
    # 2000 standardised misses: their spread is known to 1.6 %.
    assert np.std(late / expected) == pytest.approx(1.0, abs=0.05)


def test_wrong_reports_are_as_many_as_asked_and_nobody_is_told(layout):
    reports = reports_of(layout, 200, position_std=0.5, wrong=0.15)
    away = np.linalg.norm(reports.position - layout.users.position[:200], axis=1)
    assert np.sum(away > 3.0) == pytest.approx(30, abs=2)  # one of fifty lands near by chance
    np.testing.assert_array_equal(reports.position_std, 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("paths", [3, 5])
def test_pairs_gain_between_half_of_and_all_the_paths_in_information(layout, paths):
    # Far beyond the jitter: then the delays' own information is compared, between L/2 and L.
    how = {"angle_std": 10.0, "delay_std": 5e-6, "paths": paths}
    one, all_pairs = (exact_bound(layout, pairs=pairs, **how) for pairs in ("reciprocal", "all"))
    gain = (one / all_pairs) ** 2
    assert np.all(gain > 0.5 * paths * (1 - 1e-4))
    assert np.all(gain < paths * (1 + 1e-4))
    assert np.ptp(gain) > 0.1


def test_the_same_draws_are_scaled_by_the_level(layout):
    one = echoes_of(layout.targets, angle_std=0.1, delay_std=1e-9, seed=5)
    two = echoes_of(layout.targets, angle_std=0.2, delay_std=3e-9, seed=5)
    exact = echoes_of(layout.targets, angle_std=0.0, delay_std=0.0, seed=5)
    np.testing.assert_allclose(two.delay - exact.delay, 3 * (one.delay - exact.delay), atol=1e-20)
    np.testing.assert_allclose(
        two.arrival_azimuth - exact.arrival_azimuth,
        2 * (one.arrival_azimuth - exact.arrival_azimuth),
        atol=1e-14,
    )


def test_an_unknown_part_is_refused(tmp_path):
    with pytest.raises(InputError, match="squares"):
        measure_parts(["squares"], tmp_path)


@pytest.mark.slow
def test_the_study_runs_goes_on_and_draws(tmp_path, capsys):
    command = ["reproduce", "nlos-sensing", "--out", str(tmp_path), "--quick", "--quiet", "--json",
               "--parts", "square,learning,city"]  # fmt: skip
    assert main(command) == 0
    lines = json.loads(capsys.readouterr().out)
    first = (tmp_path / "square.jsonl").read_text()
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out) == lines
    assert (tmp_path / "square.jsonl").read_text() == first
    found = {line["method"]: line for line in lines if line["part"] == "square"
             and line["kind"] == "delay" and line["delay"] == 5.0}  # fmt: skip
    # 16 targets, one layout: only what is not close is compared.
    assert found["scatterers"]["rmse"] < 1.5 * found["bound, all"]["rmse"]
    assert found["shortest echo"]["median"] > 10 * found["scatterers"]["median"]
    (city,) = (line for line in lines if line["part"] == "city")
    assert city["median"] < 3.0
    assert found["network, all pairs"]["median"] > 3 * found["scatterers"]["median"]
    for name in ("error_by_delay", "error_by_angle", "error_by_paths", "learning", "city"):
        assert (tmp_path / f"{name}.png").stat().st_size > 10_000


def test_the_table_takes_medians_over_layouts():
    rows = [
        {"kind": "delay", "angle": 0.1, "delay": 5.0, "paths": 5, "method": "a", "rmse": value,
         "median": value / 2, "p90": 2 * value, "beyond_10": 0.0, "layout": k}
        for k, value in enumerate([3.0, 1.0, 8.0, 2.0])
    ]  # fmt: skip
    (line,) = table({"square": rows})
    assert line["rmse"] == 2.5
    assert line["worst_rmse"] == 8.0
    assert line["layouts"] == 4
