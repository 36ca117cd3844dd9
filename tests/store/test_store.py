"""What is kept comes back to the bit, once, whole, and by station, time and area."""

import dataclasses
import json

import numpy as np
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from echoscape.checks import InputError
from echoscape.reports import Echoes, Observations, Reports
from echoscape.store import (
    Privacy,
    Retention,
    Store,
    add_echoes,
    add_fixes,
    add_observations,
    add_reports,
    check_store,
    compact,
    count_rows,
    find_echoes,
    find_fixes,
    find_observations,
    find_reports,
    prune,
    station_spans,
    store_size,
)
from echoscape.store.packing import COLUMNS
from echoscape.store.tables import APPENDED, METADATA, REPORTS


def reports(count=40, paths=4, seed=0, station=("north", "süd"), first=0):
    """Reports at oblique places of two stations; some outages, some paths without arrivals."""
    rng = np.random.default_rng(seed)
    valid = np.arange(paths) < rng.integers(0, paths + 1, (count, 1))
    arrival = rng.uniform(-3, 3, (count, paths))
    return Reports.from_arrays(
        position=np.c_[rng.uniform(-300, 900, (count, 2)), rng.uniform(1, 40, count)],
        position_std=rng.uniform(0, 2, count),
        station_position={"north": (3.25, -7.5, 24.0), "süd": (-90.0, 410.0, 31.0)},
        station=[station[i] for i in rng.integers(0, len(station), count)],
        departure_azimuth=rng.uniform(-3, 3, (count, paths)),
        departure_azimuth_std=rng.uniform(0.001, 0.1, (count, paths)),
        departure_zenith=rng.uniform(0.1, 3, (count, paths)),
        departure_zenith_std=0.02,
        arrival_azimuth=arrival,
        arrival_azimuth_std=np.where(rng.random((count, paths)) < 0.3, np.inf, 0.03),
        length=rng.uniform(1300, 1700, (count, paths)),
        length_std=0.3,
        power=10 ** rng.uniform(-13, -8, (count, paths)),
        time=rng.uniform(0, 3 * 86400, count),
        report=np.arange(first, first + count),
        valid=valid,
    )


def same_paths(left, right):
    valid = np.asarray(left.valid)
    most = valid.shape[1]
    assert not np.asarray(right.valid)[:, most:].any()
    for name in COLUMNS:
        a = np.asarray(getattr(left, name))[valid]
        b = np.asarray(getattr(right, name))[:, :most][valid]
        assert a.tobytes() == b.tobytes(), name


@pytest.fixture
def store(url):
    opened = Store.create(url)
    yield opened
    opened.close()


def test_reports_come_back_to_the_bit_and_only_once(store):
    given = reports()
    assert add_reports(store, given, "walk") == (40, 0)
    found = find_reports(store)
    np.testing.assert_array_equal(found.estimates.valid.sum(1), given.estimates.valid.sum(1))
    same_paths(found.estimates, given.estimates)
    for name in ("position", "position_std", "time"):
        np.testing.assert_array_equal(getattr(found, name), getattr(given, name))
    names = np.array(found.station)[found.station_index]
    np.testing.assert_array_equal(names, np.array(given.station)[given.station_index])
    at = {n: p.tolist() for n, p in zip(found.station, found.station_position)}
    assert at == {n: p.tolist() for n, p in zip(given.station, given.station_position)}
    # the same again, alone, in another order, and beside new ones
    assert add_reports(store, given[[7]], "walk") == (0, 1)
    assert add_reports(store, given[::-1], "walk") == (0, 40)
    other = dataclasses.replace(given[:3], time=given.time[:3] + 1.0)
    assert add_reports(store, other, "walk") == (3, 0)
    assert count_rows(store)["reports"] == 43
    assert len(find_reports(store, after=40)) == 3
    assert len(find_reports(store, limit=5)) == 5


def test_a_batch_is_kept_whole_or_not_at_all(store):
    add_reports(store, reports(8), "walk")
    moved = dataclasses.replace(
        reports(8, seed=1), station_position=reports(8).station_position + 0.01 * np.eye(3)[1]
    )
    with pytest.raises(InputError, match=r"'north' stands at \(3.25, -7.5, 24\) m in the store"):
        add_reports(store, moved, "walk")
    with pytest.raises(InputError, match="16 bytes"):
        add_reports(store, reports(2, seed=5), "walk", [b"a" * 16, b"b"])
    with pytest.raises(InputError, match="one key: got 1 for 2"):
        add_reports(store, reports(2, seed=5), "walk", [b"a" * 16])
    assert count_rows(store)["reports"] == 8
    assert count_rows(store)["sources"] == 1


@pytest.mark.parametrize(
    "area",
    [(-100, 50, 233, 400), (-300, -300, 900, 900), (31.9, -1e6, 32.1, 1e6), (-1e7, -5, 1e7, 5)],
)
def test_areas_times_stations_and_sources_are_found(store, area):
    first, second = reports(300, seed=2), reports(200, seed=3, first=300)
    add_reports(store, first, "walk")
    add_reports(store, second, "drive")
    west, south, east, north = area
    span = (0.3e5, 1.9e5)

    def matching(given):
        x, y = given.position[:, 0], given.position[:, 1]
        inside = (x >= west) & (x <= east) & (y >= south) & (y <= north)
        inside &= (given.time >= span[0]) & (given.time <= span[1])
        return inside & (np.array(given.station)[given.station_index] == "süd")

    wanted = sum(matching(given).sum() for given in (first, second))
    alone = matching(second).sum()
    if wanted == 0:
        with pytest.raises(InputError, match="holds no reports of that station"):
            find_reports(store, station="süd", time=span, area=area)
        return
    found = find_reports(store, station="süd", time=span, area=area)
    assert len(found) == wanted
    assert found.station == ("süd",)
    if alone:
        assert (
            len(find_reports(store, station="süd", time=span, area=area, source="drive")) == alone
        )
    spans = {s.station: s for s in station_spans(store)}
    assert spans["north"].count + spans["süd"].count == 500


def test_words_and_spans_that_are_wrong_are_refused(store):
    add_reports(store, reports(5), "walk")
    with pytest.raises(InputError, match=r"station of the store 'noth'.*north"):
        find_reports(store, station="noth")
    with pytest.raises(InputError, match=r"source of the store 'walks'.*walk"):
        find_reports(store, source="walks")
    with pytest.raises(InputError, match="first time"):
        find_reports(store, time=(5.0, 1.0))
    with pytest.raises(InputError, match="west, south, east, north"):
        find_reports(store, area=(5.0, 0.0, 1.0, 9.0))
    with pytest.raises(InputError, match="from the origin"):
        find_reports(store, area=(0.0, 0.0, 1e30, 9.0))


def test_echoes_observations_and_fixes_come_back(store):
    rng = np.random.default_rng(4)
    angle = rng.uniform(0.2, 2.9, (4, 6, 3))
    echoes = Echoes.from_arrays(
        departure_azimuth=angle[0], arrival_azimuth=angle[1], departure_zenith=angle[2],
        arrival_zenith=angle[3], length=rng.uniform(90, 700, (6, 3)), length_std=0.3,
        power=rng.uniform(1e-15, 1e-12, (6, 3)), departure_azimuth_std=0.02,
        arrival_azimuth_std=0.02, departure_zenith_std=0.03, arrival_zenith_std=0.03,
        target=[5, 6, 7, 8, 9, 11], station=["a", "a", "b", "b", "a", "b"],
        time=rng.uniform(0, 9, 6),
    )  # fmt: skip
    assert add_echoes(store, echoes, "radar") == (6, 0)
    assert add_echoes(store, echoes, "radar") == (0, 6)
    found = find_echoes(store)
    same_paths(found.estimates, echoes.estimates)
    np.testing.assert_array_equal(found.target, echoes.target)
    assert found.ways() == echoes.ways()
    assert find_echoes(store, station="b").target.tolist() == [7, 8, 11]
    bistatic = dataclasses.replace(echoes, sender_index=1 - echoes.station_index)
    assert add_echoes(store, bistatic, "radar") == (6, 0)
    assert find_echoes(store).ways() == [("a", "a"), ("a", "b"), ("b", "a"), ("b", "b")]

    walk = Observations.from_arrays(
        time=np.arange(5) * 0.1, departure_azimuth=angle[0, :5], departure_zenith=angle[1, :5],
        arrival_azimuth=angle[2, :5], arrival_zenith=angle[3, :5], power=np.full((5, 3), 1e-9),
        length=rng.uniform(90, 700, (5, 3)), length_std=0.3, angle_std=0.01,
    )  # fmt: skip
    known = np.arange(5) == 0
    place = np.where(known[:, None], [1.0, 2.0, 1.5], 0.0)
    walk = dataclasses.replace(walk, user_position=place, user_known=known)
    assert add_observations(store, walk, "first walk", "a") == (5, 0)
    assert add_observations(store, walk, "first walk", "a") == (0, 5)
    back = find_observations(store, "first walk")
    same_paths(back.estimates, walk.estimates)
    assert back.user_known.tolist() == [True, False, False, False, False]
    assert back.user_position[0].tolist() == [1.0, 2.0, 1.5]

    columns = {
        "target": np.array([7, 3, 3, 5]), "rank": np.array([0, 0, 1, 0]),
        "x": np.array([10.3, 16.0, 5.0, 0.0]), "y": np.array([20.4, 18.0, 2.0, 0.0]),
        "z": np.ones(4), "status": np.array(["located", "ambiguous", "ambiguous", "no_echo"]),
        "cov_xx": np.array([1.0, np.nan, 4.0, 1.0]),
    }  # fmt: skip
    assert add_fixes(store, columns, "radar", 12.0) == (2, 0)
    assert add_fixes(store, columns, "radar", 12.0) == (0, 2)
    fixes = find_fixes(store, time=(11.0, 13.0))
    assert fixes["target"].tolist() == [7, 3]
    assert fixes["x"].tolist() == [10.3, 16.0]
    assert fixes["status"].tolist() == ["located", "ambiguous"]
    assert fixes["cov_xx"][0] == 1.0
    assert np.isnan(fixes["cov_xx"][1])
    assert check_store(store) == []


def test_migrations_make_the_schema(store):
    with store.reading() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, METADATA) == []


def test_a_store_is_made_once_and_opened_after(url):
    with pytest.raises(InputError, match="echoscape store init"):
        Store.open(url)
    made = Store.create(url)
    add_reports(made, reports(3), "walk")
    again = Store.create(url)
    assert again.secret == made.secret
    assert count_rows(Store.open(url))["reports"] == 3
    with pytest.raises(InputError, match="exists with the privacy nothing forgotten"):
        Store.create(url, Privacy(round_to=5.0))
    with made.writing() as connection:
        connection.execute(sa.text("update alembic_version set version_num = '9999'"))
    for opening in (Store.open, Store.create):
        with pytest.raises(InputError, match="newer version than this package"):
            opening(url)


def test_what_is_no_store_is_refused(tmp_path, postgres_server):
    for address, words in (
        ("mysql://host/name", "SQLite or PostgreSQL"),
        ("sqlite:///", "store init|holds no store"),
        ("postgresql://me:secret@127.0.0.1:1/site", "cannot be used.*is the server running"),
        (f"{postgres_server}/nowhere", "cannot be used"),
    ):
        with pytest.raises(InputError, match=words) as refusal:
            Store.open(address)
        assert "secret" not in str(refusal.value)
    text = tmp_path / "notes.txt"
    text.write_text("no database at all, " * 100)
    with pytest.raises(InputError, match="not a database"):
        Store.open(str(text))
    with pytest.raises(InputError, match="choose another folder"):
        Store.create("/proc/none/site.db")


@pytest.mark.parametrize("address", ["si\udcffte.db", "sqlite:///si\udcffte.db"])
def test_an_address_that_is_no_text_is_refused(address):
    with pytest.raises(InputError, match=r"must be text in UTF-8; got .*\\udcff"):
        Store.open(address)


def test_privacy_forgets_and_says_how_much(url):
    store = Store.create(url, Privacy(anonymous=True, round_to=12.0, jitter_std=3.0))
    given = reports(400, seed=6)
    add_reports(store, given, "walk")
    assert add_reports(store, given, "walk") == (0, 400)
    found = find_reports(store)
    error = (found.position - given.position)[:, :2]
    claimed = np.hypot(3.0, 12.0 / np.sqrt(12.0))
    np.testing.assert_allclose(found.position_std**2 - given.position_std**2, claimed**2)
    # 800 coordinates: the deviation is known to 2.5 %
    assert abs(error.std() / claimed - 1) < 0.1
    np.testing.assert_array_equal(found.position[:, 2], given.position[:, 2])
    with store.reading() as connection:
        assert set(connection.scalars(sa.select(REPORTS.c.number))) == {0}


def test_places_are_rounded_to_the_centres_of_squares(tmp_path):
    store = Store.create(str(tmp_path / "a.db"), Privacy(round_to=12.0))
    given = reports(50, seed=7)
    add_reports(store, given, "walk")
    found = find_reports(store)
    np.testing.assert_allclose(np.mod(found.position[:, :2], 12.0), 6.0)
    assert np.abs(found.position - given.position)[:, :2].max() <= 6.0


def test_keys_of_two_stores_differ(tmp_path):
    keys = []
    for name in "ab":
        store = Store.create(str(tmp_path / f"{name}.db"))
        add_reports(store, reports(3), "walk")
        with store.reading() as connection:
            keys.append(set(connection.scalars(sa.select(REPORTS.c.key))))
    assert not keys[0] & keys[1]


def _flipped(value):
    if isinstance(value, int):
        return value ^ 1
    if isinstance(value, float):
        return float((np.float64(value).view(np.uint64) ^ np.uint64(1)).view(np.float64))
    if isinstance(value, str):
        return chr(ord(value[0]) ^ 1) + value[1:]
    return bytes([bytes(value)[0] ^ 1]) + bytes(value)[1:]


@pytest.mark.slow
def test_one_flipped_bit_in_any_cell_is_found(store):
    test_echoes_observations_and_fixes_come_back(store)
    add_reports(store, reports(9, station=("north",)), "walk")
    references = {"station", "sender", "source", "map"}
    tried = 0
    for table in APPENDED:
        for column in table.columns:
            if column.name in {"id", *references}:
                continue
            with store.reading() as connection:
                row = connection.execute(
                    sa.select(table).where(column.is_not(None)).limit(1)
                ).one_or_none()
            if row is None:
                continue
            good = row._mapping[column.name]
            change = sa.update(table).where(table.c.id == row.id)
            with store.writing() as connection:
                connection.execute(change.values({column.name: _flipped(good)}))
            assert check_store(store) == [
                f"row {row.id} of {table.name} is not what was kept: its checksum differs"
            ]
            with store.writing() as connection:
                connection.execute(change.values({column.name: good}))
            tried += 1
    assert check_store(store) == []
    assert tried >= 30


def test_old_rows_and_surplus_ones_go(store):
    given = reports(400, seed=8)
    near = dataclasses.replace(
        given, position=np.c_[np.mod(given.position[:, :2], 60.0), given.position[:, 2]]
    )
    add_reports(store, near, "walk")
    gone = prune(store, Retention(before=86400.0))
    assert gone["reports"] == (near.time < 86400.0).sum()
    rest = near[near.time >= 86400.0]
    prune(store, Retention(keep_per_cell=7))
    cell = np.floor(rest.position[:, :2] / 32.0).astype(int)
    wanted = []
    for group in {
        (*c, s) for c, s in zip(cell.tolist(), rest.station_index.tolist()) for c in [tuple(c)]
    }:
        inside = (cell == group[:2]).all(1) & (rest.station_index == group[2])
        wanted += sorted(rest.time[inside])[-7:]
    assert sorted(find_reports(store).time) == sorted(wanted)
    before, after = compact(store)
    assert after <= before
    assert store_size(store) == after
    assert check_store(store) == []


def test_settings_are_text_that_can_be_read(store):
    with store.reading() as connection:
        rows = dict(connection.execute(sa.text("select name, value from settings")).all())
    assert json.loads(rows["privacy"]) == {"anonymous": False, "round_to": 0.0, "jitter_std": 0.0}
