"""Make the files of `echoscape examples`, with which every line of the README runs as it stands.

A courtyard of small scatterers, `site.toml`, gives what its station, users and targets would
measure, over one bounce each, also as ray tracers write it; a walk round a corner of the packaged
city, traced by images, gives the observations.  Nothing in these files was measured or comes from
elsewhere.
"""

import pathlib

import jax
import numpy as np
import pyarrow as pa
from pyarrow import csv, parquet

from echoscape.propagation import scatter
from echoscape.reports import Reports, export_reports
from echoscape.scene import Site
from echoscape.studies.isac_channel.world import sample_route
from echoscape.units import SPEED_OF_LIGHT

OUT = pathlib.Path(__file__).resolve().parents[1] / "src/echoscape/sample/files"
ANGLE_STD, LENGTH_STD = 0.01, 0.15  # of what users report [rad, m]


def measured(site: Site, place: np.ndarray, rng: np.random.Generator, exact: bool = False):
    """List the paths of every place: rows of place, four angles, length, power, strongest first."""
    paths = jax.vmap(lambda x: scatter(site, x, with_line_of_sight=False))(place)
    columns = [paths.departure_azimuth, paths.departure_zenith, paths.arrival_azimuth]
    columns += [paths.arrival_zenith, SPEED_OF_LIGHT * paths.delay]
    values = np.stack([np.asarray(column) for column in columns], axis=-1)
    power = np.abs(np.asarray(paths.gain)) ** 2
    if not exact:
        values = values + rng.normal(size=values.shape) * [*[ANGLE_STD] * 4, LENGTH_STD]
    order = np.argsort(-power, axis=1)
    row = np.repeat(np.arange(len(place)), power.shape[1])
    column = order.ravel()
    return row, values[row, column], power[row, column]


def angles(values: np.ndarray) -> dict[str, np.ndarray]:
    """Name the columns of angles, azimuths wrapped."""
    return {
        "departure_azimuth": np.angle(np.exp(1j * values[:, 0])),
        "departure_zenith": values[:, 1],
        "arrival_azimuth": np.angle(np.exp(1j * values[:, 2])),
        "arrival_zenith": values[:, 3],
    }


def reports(site: Site, place: np.ndarray, rng: np.random.Generator, exact: bool) -> pa.Table:
    """Lay reports out as the table that `echoscape map fit` reads."""
    row, values, power = measured(site, place, rng, exact)
    columns = {"report": row, "station": ["roof"] * len(row)}
    columns |= {f"station_{a}": [float(site.station_position[0, i])] * len(row)
                for i, a in enumerate("xyz")}  # fmt: skip
    columns |= {axis: place[row, i] for i, axis in enumerate("xyz")}
    columns |= angles(values)
    return pa.table(columns | {"delay": values[:, 4] / SPEED_OF_LIGHT, "power": power})


def campaign(site: Site, place: np.ndarray, rng: np.random.Generator) -> pa.Table:
    """Lay reports out as a sounder's list: metres, degrees, decibels."""
    row, values, power = measured(site, place, rng)
    columns = {"pose": row} | {f"rx_{a}": place[row, i] for i, a in enumerate("xyz")}
    columns |= {f"tx_{a}": [float(site.station_position[0, i])] * len(row)
                for i, a in enumerate("xyz")}  # fmt: skip
    columns |= {"tx_heading": [0.0] * len(row), "rx_heading": [0.0] * len(row)}
    columns |= {"aod_deg": np.degrees(values[:, 0]), "aoa_deg": np.degrees(values[:, 2])}
    columns |= {"aod_zenith_deg": np.degrees(values[:, 1])}
    columns |= {"aoa_zenith_deg": np.degrees(values[:, 3])}
    return pa.table(columns | {"length_m": values[:, 4], "power_db": 10 * np.log10(power)})


def observations(seconds: float, rng: np.random.Generator) -> pa.Table:
    """Observe a walk through the packaged city; only its start is known."""
    route, _ = sample_route(seconds)
    instant, path = np.nonzero(route.power > 0)
    seen = rng.random(len(instant)) > 0.1
    instant, path = instant[seen], path[seen]
    std = np.array([0.3, *np.radians([1.0, 1.0, 0.5, 0.5])])
    length, *rest = (route.path[instant, path] + std * rng.normal(size=(len(instant), 5))).T
    start = np.where((instant == 0)[:, None], route.position[:1], np.nan)
    columns = {"time": route.time[instant]}
    columns |= angles(np.stack([*rest[2:], *rest[:2]], axis=-1))
    columns |= {"delay": length / SPEED_OF_LIGHT, "power": route.power[instant, path]}
    for name, deviation in (("arrival", std[1]), ("departure", std[3])):
        for angle in ("azimuth", "zenith"):
            columns[f"{name}_{angle}_std"] = np.full(len(instant), deviation)
    columns["delay_std"] = np.full(len(instant), std[0] / SPEED_OF_LIGHT)
    columns |= {f"user_{a}": pa.array(start[:, i], from_pandas=True) for i, a in enumerate("xyz")}
    return pa.table(columns)


def traced(site: Site, place: np.ndarray, strongest: int = 5) -> Reports:
    """Trace the line of sight and single bounces to users of which every ninth hears nothing."""
    paths = jax.vmap(lambda x: scatter(site, x))(place)
    power = np.abs(np.asarray(paths.gain)) ** 2
    order = np.argsort(-power, axis=1)[:, :strongest]
    take = lambda leaf: np.take_along_axis(np.asarray(leaf), order, axis=1)  # noqa: E731
    heard = np.arange(len(place)) % 9 != 8
    return Reports.from_arrays(
        position=place, station_position=np.asarray(site.station_position[0]), station="roof",
        departure_azimuth=take(paths.departure_azimuth),
        departure_zenith=take(paths.departure_zenith),
        arrival_azimuth=take(paths.arrival_azimuth), arrival_zenith=take(paths.arrival_zenith),
        delay=take(paths.delay), power=take(power),
        valid=np.broadcast_to(heard[:, None], order.shape),
    )  # fmt: skip


def write_insite(reports: Reports, folder: pathlib.Path, sent: float = 10.0) -> None:
    """Write reports as Wireless InSite does, with phases, for `sent` dBm at the transmitter."""
    folder.mkdir(exist_ok=True)
    paths, station = reports.estimates, reports.station_position[0]
    lines = ["# Receivers, then for each: paths, received power, mean delay, delay spread", ""]
    lines[1] = str(len(reports))
    loss = ["# <receiver> <X(m)> <Y(m)> <Z(m)> <Distance(m)> <Path Loss(dB)>"]
    for row, user in enumerate(reports.position):
        where = " ".join(f"{value:.6f}" for value in user)
        own = np.flatnonzero(paths.valid[row])
        gain = float(paths.power[row][own].sum())
        far = np.linalg.norm(user - station)
        loss.append(f"{row + 1} {where} {far:.4f} {-10 * np.log10(gain) if gain else 250.0:.4f}")
        lines.append(f"{row + 1} {len(own)}")
        if len(own):
            lines.append(f"{sent + 10 * np.log10(gain):.4f} {paths.delay[row][own].mean():.6e} 0")
        for number, path in enumerate(own.tolist(), 1):
            bounced = paths.length[row, path] > far + 1e-6
            degrees = np.degrees([
                paths.arrival_zenith[row, path], paths.arrival_azimuth[row, path],
                paths.departure_zenith[row, path], paths.departure_azimuth[row, path],
            ])  # fmt: skip
            power = sent + 10 * np.log10(paths.power[row, path])
            phase = -360 * 28e9 * paths.delay[row, path] % 360
            numbers = [power, phase, paths.delay[row, path], *degrees]
            lines.append(" ".join([f"{number} {int(bounced)}", *(f"{n:.9g}" for n in numbers)]))
            trail = [station, user]
            if bounced:
                trail.insert(1, bounce_of(paths, row, path, station, user))
            lines.append("Tx-D-Rx" if bounced else "Tx-Rx")
            lines += [" ".join(f"{value:.6f}" for value in point) for point in trail]
    (folder / "yard.paths.t001_01.r002.p2m").write_text("\n".join(lines) + "\n")
    (folder / "yard.pl.t001_01.r002.p2m").write_text("\n".join(loss) + "\n")
    (folder / "yard.txrx").write_text(f"begin_<transmitter>\npower {sent:.5f}\nend_<transmitter>\n")


def bounce_of(paths, row: int, path: int, station: np.ndarray, user: np.ndarray) -> np.ndarray:
    """Place the single bounce of a path, where both of its ends point."""
    azimuth, zenith = (getattr(paths, f"departure_{part}")[row, path] for part in
                       ("azimuth", "zenith"))  # fmt: skip
    flat = np.sin(zenith)
    out = np.array([flat * np.cos(azimuth), flat * np.sin(azimuth), np.cos(zenith)])
    length, away = paths.length[row, path], user - station
    return station + out * (length**2 - away @ away) / (2 * (length - out @ away))


def places(site: Site, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw places at 1.5 m height, well inside the bounds."""
    low, high = np.asarray(site.bounds)[:, :2] + [[2.0], [-2.0]]
    return np.concatenate([rng.uniform(low, high, (count, 2)), np.full((count, 1), 1.5)], axis=1)


def main() -> None:
    """Write all files."""
    jax.config.update("jax_enable_x64", True)
    rng = np.random.default_rng(1)
    site = Site.from_toml(OUT / "site.toml")
    users, others, targets = (places(site, count, rng) for count in (240, 40, 12))
    parquet.write_table(reports(site, users, rng, False), OUT / "users.parquet")
    parquet.write_table(reports(site, others, rng, False), OUT / "held_out.parquet")
    parquet.write_table(reports(site, targets, rng, True), OUT / "targets.parquet")
    along = np.linspace([-20.0, -12.0, 1.5], [18.0, 14.0, 1.5], 30)
    csv.write_csv(campaign(site, along, rng), OUT / "campaign.csv")
    walk = np.linspace([-12.0, 6.0, 1.5], [10.0, -8.0, 1.5], 26)
    table = reports(site, walk, rng, True)
    time = 1.0 * np.asarray(table["report"])
    parquet.write_table(table.append_column("time", pa.array(time)), OUT / "walk.parquet")
    parquet.write_table(observations(12.0, rng), OUT / "observations.parquet")
    names = [f"{axis}" for axis in "xyz"]
    where = {"target": np.arange(4)} | dict(zip(names, targets[:4].T))
    csv.write_csv(pa.table(where), OUT / "targets.csv")
    truth = {"time": 1.0 * np.arange(26)} | dict(zip(names, walk.T))
    csv.write_csv(pa.table(truth), OUT / "walk_truth.csv")
    write_traced(site)
    write_readings(np.random.default_rng(2))


def write_readings(rng: np.random.Generator) -> None:
    """Write received powers of four transmitters at 60 places of a room: log-distance, 2 dB."""
    sent = np.array([[0.5, 0.4, 2.5], [11.3, 0.7, 2.4], [11.6, 7.5, 2.5], [0.3, 7.2, 2.6]])
    place = rng.uniform([0.0, 0.0], [12.0, 8.0], (60, 2)).round(2)
    away = np.linalg.norm(sent[None, :, :] - np.c_[place, np.full(60, 1.2)][:, None, :], axis=2)
    level = (-40.0 - 22.0 * np.log10(away) + rng.normal(0.0, 2.0, away.shape)).round(1)
    columns = {"x": place[:, 0], "y": place[:, 1]}
    columns |= {f"rssi_{i + 1}": level[:, i] for i in range(4)}
    csv.write_csv(pa.table(columns), OUT / "readings.csv")
    where = {axis: sent[:, i] for i, axis in enumerate("xyz")}
    csv.write_csv(pa.table({"id": [1, 2, 3, 4]} | where), OUT / "transmitters.csv")


def write_traced(site: Site) -> None:
    """Write what two ray tracers would say of the courtyard."""
    found = traced(site, places(site, 60, np.random.default_rng(2)))
    write_insite(found, OUT / "insite")
    export_reports(found, "deepmimo", OUT / "deepmimo", carrier=28e9)


if __name__ == "__main__":
    main()
