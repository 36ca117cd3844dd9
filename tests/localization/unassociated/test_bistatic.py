"""One station's pulse heard by another: paths of two maps, paired."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.checks import InputError
from echoscape.localization import localize
from echoscape.localization.line_of_sight import shortest_echo_direct
from echoscape.localization.moving.particle_filter import TargetStatus, follow
from echoscape.localization.unassociated.bistatic import linearise_pair_at_starts, score_pairs
from echoscape.localization.unassociated.echo_sets import sets_of_targets
from echoscape.localization.unassociated.grid_features import features_of_cells
from echoscape.localization.unassociated.one_way_paths import EchoModel
from echoscape.localization.unassociated.pair_likelihood import (
    _count_pairs,
    _more_pairs,
    select_paths,
)
from echoscape.localization.unassociated.pair_likelihood import (
    evaluate as evaluate_pairs,
)
from echoscape.reports import read_echoes, write_echoes
from echoscape.reports.echo_making import make_echoes
from echoscape.studies.nlos_ckm.multistatic import join_echoes, learn_maps, several
from echoscape.studies.nlos_ckm.square_scene import square_places, square_reports, square_site

MODEL = EchoModel(*map(jnp.asarray, (0.9, 0.1, 0.3, 0.0)))


@pytest.fixture(scope="module")
def world():
    site = several(square_site(4), 2)
    maps = learn_maps(site, 4, 150)
    place = square_places(704, 8)
    key = jax.random.key(8)
    # both ends see the scatterers where they are at that moment
    users = [square_reports(site, place, key, k) for k in range(2)]
    return site, maps, np.asarray(place), users


def heard(world, way, angle_std=0.1, delay_std=5e-9, **options):
    _, _, _, users = world
    out, back = (users[k] for k in way)
    return make_echoes(
        out, jax.random.key(3 + 2 * way[0] + way[1]), angle_std=angle_std, delay_std=delay_std,
        listener=None if way[0] == way[1] else back, **options,
    ).echoes  # fmt: skip


def test_echoes_pair_a_way_out_with_a_way_back(world):
    _, _, _, users = world
    echoes = heard(world, (0, 1), angle_std=1e-9, delay_std=1e-18)
    assert echoes.ways() == [("bs-0", "bs-1")]
    out, back = (user.estimates for user in users)
    lengths = np.asarray(out.delay)[0][:, None] + np.asarray(back.delay)[0][None]
    np.testing.assert_allclose(np.sort(echoes.estimates.delay[0]), np.sort(lengths.ravel()))
    k = int(np.argmin(echoes.estimates.delay[0]))
    i, j = np.unravel_index(np.argmin(lengths), lengths.shape)
    azimuths = echoes.estimates.departure_azimuth[0, k], echoes.estimates.arrival_azimuth[0, k]
    np.testing.assert_allclose(
        azimuths, (out.departure_azimuth[0, i], back.departure_azimuth[0, j]), atol=1e-7
    )


@pytest.mark.slow
def test_a_pair_alone_locates_and_both_ways_locate_better(world):
    _, maps, place, _ = world
    one = localize(heard(world, (0, 1)), maps)
    error = np.linalg.norm((one.best - place)[:, :2], axis=1)
    assert np.median(error) < 1.0
    ways = [(0, 0), (1, 1), (0, 1), (1, 0)]
    all_four = localize(join_echoes([heard(world, way) for way in ways]), maps)
    better = np.linalg.norm((all_four.best - place)[:, :2], axis=1)
    assert np.median(better) < np.median(error)
    assert np.max(better) < 3.0
    # the claim is that of more information, not of one station's
    assert np.median(all_four.spread) < np.median(one.spread)


@pytest.mark.slow
def test_cells_score_as_the_sum_over_all_pairs(world):
    _, maps, place, _ = world
    two = (maps["bs-0"], maps["bs-1"])
    cells = place[:3] + np.array([0.4, -0.7, 0.0])
    features = tuple(features_of_cells(m, cells) for m in two)
    echoes = heard(world, (0, 1))
    _, (sets,) = sets_of_targets(echoes, echoes.ways())
    echo = jax.tree.map(lambda leaf: jnp.asarray(leaf[2]), sets)
    found = score_pairs(features, echo, MODEL, jnp.float32(0.5))
    out, back = ([jax.tree.map(np.float64, f)][0] for f in features)
    e = jax.tree.map(np.asarray, echo)
    span = e.length[e.valid].max() - e.length[e.valid].min() + 100.0
    clutter = (0.1 * e.valid.sum() + 0.1) / ((2 * np.pi * 0.6) ** 2 * span)

    def normal(gap, variance):
        return np.exp(-0.5 * gap**2 / variance) / np.sqrt(2 * np.pi * variance)

    for cell in range(3):
        total = 0.0
        chance = [f.odds[cell] / (1 + f.odds[cell]) for f in (out, back)]
        for n in np.flatnonzero(e.valid):
            intensity = 0.0
            for i in range(len(chance[0])):
                for j in range(len(chance[1])):
                    term = 0.9 * chance[0][i] * chance[1][j]
                    ends = ((out, i, "departure"), (back, j, "arrival"))
                    for f, slot, end in ends:
                        turn = 0.5 / f.length[cell, slot] ** 2
                        for angle in ("azimuth", "zenith"):
                            gap = getattr(e, f"{end}_{angle}")[n] - getattr(f, angle)[cell, slot]
                            gap = (gap + np.pi) % (2 * np.pi) - np.pi
                            spread = getattr(f, f"{angle}_variance")[cell, slot]
                            std = getattr(e, f"{end}_{angle}_std")[n]
                            term *= normal(gap, spread + std**2 + turn)
                    spread = out.length_variance[cell, i] + back.length_variance[cell, j]
                    gap = e.length[n] - out.length[cell, i] - back.length[cell, j]
                    intensity += term * normal(gap, spread + e.length_std[n] ** 2 + 0.5)
            total += np.log1p(intensity / clutter)
        total -= 0.9 * chance[0].sum() * chance[1].sum()
        # each map has eight scatterers and ten slots count
        assert found[cell] == pytest.approx(total, rel=2e-3, abs=0.02)


@pytest.mark.slow
def test_the_gradient_is_that_of_the_likelihood(world):
    _, maps, place, _ = world
    echoes = heard(world, (0, 1))
    _, (sets,) = sets_of_targets(echoes, echoes.ways())
    start = jnp.asarray(place[5] + np.array([0.8, 0.5, 0.0]))
    some = jax.tree.map(lambda leaf: jnp.asarray(leaf[5:6]), sets)
    near = linearise_pair_at_starts(
        (maps["bs-0"], maps["bs-1"]),
        start[None, None],
        some,
        6,
        jnp.asarray(1.0),
    )
    near, echo = jax.tree.map(lambda leaf: leaf[0, 0], near), jax.tree.map(lambda s: s[0], some)
    chosen = jax.jit(select_paths)(near, echo, None, MODEL, jnp.nan, 1.0)
    way = np.asarray(chosen.path.leg)[np.asarray(chosen.exists)]
    assert np.sum(way == 1) >= 3
    assert np.sum(way == 2) >= 3
    evaluate = jax.jit(lambda x: evaluate_pairs(chosen, echo, MODEL, x))
    _, gradient, curvature = evaluate(start)
    step = 0.02
    for axis in range(2):
        ahead, behind = start.at[axis].add(step), start.at[axis].add(-step)
        numeric = (evaluate(ahead)[0] - evaluate(behind)[0]) / (2 * step)
        assert jnp.abs(numeric - gradient[axis]) < 0.01 * jnp.linalg.norm(gradient) + 0.01
    assert (jnp.linalg.eigvalsh(curvature) > -1e-9).all()


def test_senders_survive_a_file(world, tmp_path):
    echoes = join_echoes([heard(world, way) for way in ((1, 1), (0, 1))])
    write_echoes(echoes, tmp_path / "e.parquet")
    again = read_echoes(tmp_path / "e.parquet")
    assert sorted(again.ways()) == [("bs-0", "bs-1"), ("bs-1", "bs-1")]
    assert len(again.target) == 16
    names = np.array(again.station)
    mine = (again.target == 3) & (names[again.sender] == "bs-0")
    assert np.sum(again.estimates.valid[mine]) == 25
    one = dataclasses.replace(heard(world, (1, 1)))
    write_echoes(one, tmp_path / "one.csv")
    assert "sender" not in (tmp_path / "one.csv").read_text()


@pytest.mark.slow
def test_a_pair_is_followed(world):
    site, maps, _, _ = world
    count = 15
    way = np.stack([20 + 0.4 * np.arange(count), 62 - 0.3 * np.arange(count)], axis=1)
    place = jnp.asarray(np.c_[way, np.zeros(count)])
    users = [square_reports(site, place, jax.random.key(5), k) for k in range(2)]
    time = 0.1 * np.arange(count)
    users = [dataclasses.replace(user, time=time) for user in users]
    echoes = make_echoes(
        users[0], jax.random.key(2), angle_std=0.1, delay_std=5e-9, listener=users[1]
    ).echoes
    found = follow(echoes, maps, key=jax.random.key(0))
    error = np.linalg.norm(found.position[5:, :2] - way[5:], axis=1)
    assert np.all(found.status[5:] == TargetStatus.FOLLOWED)
    assert np.sqrt(np.mean(error**2)) < 1.0


def test_what_cannot_be_is_refused(world):
    site, maps, _, users = world
    echoes = heard(world, (0, 1))
    with pytest.raises(InputError, match="station 'bs-1', but the map knows only bs-0"):
        localize(echoes, {"bs-0": maps["bs-0"]})
    with pytest.raises(InputError, match="another station's pulse"):
        shortest_echo_direct(echoes, dict(zip(site.station, site.station_position)))
    with pytest.raises(InputError, match="no echo returns the way it came"):
        heard(world, (0, 1), pairs="reciprocal")
    few = jax.tree.map(lambda leaf: leaf, users[1])
    few = dataclasses.replace(few, position=few.position + 1.0)
    with pytest.raises(InputError, match="the same users in the same order"):
        make_echoes(users[0], jax.random.key(0), angle_std=0.1, delay_std=1e-9, listener=few)


@pytest.mark.slow
def test_pairs_are_counted_as_they_would_be_one_by_one(world):
    _, maps, place, _ = world
    start = jnp.asarray(place[:1])[None]
    echoes = heard(world, (0, 1))
    _, (sets,) = sets_of_targets(echoes, echoes.ways())
    some = jax.tree.map(lambda leaf: jnp.asarray(leaf[:1]), sets)
    near = linearise_pair_at_starts(tuple(maps.values()), start, some, 5, jnp.asarray(1.0))
    path = jax.tree.map(lambda leaf: leaf[0, 0], near)
    exists = jnp.arange(10) < 4  # four ways out, then one way back: not as many
    exists = exists.at[7].set(True)
    for sign in (1, -1):
        counted = _more_pairs(path, exists, sign)
        for slot in np.flatnonzero(np.asarray(exists) == (sign < 0)):
            other = exists.at[slot].set(sign > 0)
            change = _count_pairs(path, other) - _count_pairs(path, exists)
            assert sign * counted[slot] == change
