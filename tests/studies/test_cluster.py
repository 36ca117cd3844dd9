"""Several workers give the rows of one process, to the bit, and a killed one costs its point."""

import os
import pathlib
import signal

import jax
import jax.numpy as jnp
import pytest

from echoscape.checks import InputError
from echoscape.studies.cluster import spread_over
from echoscape.studies.sweep import read_sweep, sweep

distributed = pytest.importorskip("distributed")


def invert(setting):
    """Solve linear equations and sum up much, by which other threads or settings would show."""
    a = jax.random.normal(jax.random.key(setting["seed"]), (60, 60))
    much = jax.random.normal(jax.random.key(setting["seed"]), (5000, 33))
    total = jax.jit(lambda much: jnp.sum(jnp.sin(much), axis=0).sum())(much)
    value = float(jnp.sum(jnp.linalg.solve(a, jnp.sin(a))))
    return [{"value": value, "total": float(total), "x64": str(a.dtype)}]


def die_once(setting):
    """Be killed at the first try of the second seed."""
    mark = pathlib.Path(setting["folder"]) / "died"
    if setting["seed"] == 1 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return invert(setting)


def refuse(setting):
    """Refuse every point."""
    raise InputError(f"seed {setting['seed']} makes no sense")


@pytest.fixture(scope="module")
def two():
    with spread_over(workers=2) as spread:
        yield spread


@pytest.mark.slow
def test_rows_are_those_of_one_process_though_a_worker_is_killed(two, tmp_path):
    settings = [{"seed": seed, "folder": str(tmp_path)} for seed in range(5)]
    file = tmp_path / "rows.jsonl"
    rows = sweep(settings, die_once, file, spread=two)
    assert (tmp_path / "died").exists()
    assert rows == sweep(settings, invert)
    assert {row["x64"] for row in rows} == {"float64"}
    assert len(read_sweep(file)) == 5
    told = []
    assert sweep(settings, refuse, file, lambda *words: told.append(words), two) == rows
    assert told == [(5, 5, "")]  # everything is there: nothing is asked


@pytest.mark.slow
def test_a_refused_point_stops_the_sweep_with_its_sentence(two):
    with pytest.raises(InputError, match="seed 3 makes no sense"):
        sweep([{"seed": 3}], refuse, spread=two)


def test_one_process_needs_nothing():
    with spread_over() as spread:
        assert spread is None


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"workers": 0}, "between 1 and 1024"),
        ({"workers": 2, "scheduler": "tcp://127.0.0.1:1"}, "not both"),
        ({"scheduler": "nonsense://a"}, "dask scheduler"),
    ],
)
def test_what_cannot_be_is_refused(given, words):
    with pytest.raises(InputError, match=words), spread_over(**given):
        pass


def test_a_scheduler_that_is_away_is_named(monkeypatch):
    from echoscape.studies import cluster

    monkeypatch.setattr(cluster, "_PATIENCE", 0.2)
    with (
        pytest.raises(InputError, match=r"tcp://127\.0\.0\.1:9' cannot be used"),
        spread_over(scheduler="tcp://127.0.0.1:9"),
    ):
        pass
