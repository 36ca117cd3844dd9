"""Every layout says the same: one scene, written as each tool writes it, comes back as reports."""

import dataclasses
import json
import math
import pathlib

import numpy as np
import pytest
from scipy.io import savemat

from echoscape.checks import InputError
from echoscape.cli import main
from echoscape.reports import ImportOptions, import_reports, read_reports
from echoscape.reports.importing.importer import find_layout
from echoscape.units import SPEED_OF_LIGHT
from tests.worlds.direct_paths import make_reports

WIDTH = 4


@pytest.fixture(scope="module")
def scene():
    """Two stations, users in and out of sight, one in outage at both."""
    reports = make_reports(11, 9, 0.6, WIDTH - 1, 2)
    valid = reports.estimates.valid.copy()
    valid[reports.report == 4] = False
    return dataclasses.replace(reports, estimates=dataclasses.replace(
        reports.estimates, valid=valid
    ))  # fmt: skip


def compare(got, scene, angle=1e-5, length=1e-4):
    """Compare report by report, paths by their strength; stations by their place."""
    assert len(got.report) == len(scene.report)
    assert len(got.station) == len(scene.station)
    users = np.unique(got.report)
    for row in range(len(got.report)):
        station = got.station_position[got.station_index[row]]
        near = np.abs(scene.station_position - station).max(axis=1).argmin()
        user = int(np.searchsorted(users, got.report[row]))
        (k,) = np.flatnonzero((scene.report == user) & (scene.station_index == near))
        np.testing.assert_allclose(got.position[row], scene.position[k], atol=1e-4)
        want, have = scene.estimates[k], got.estimates[row]
        order = np.flatnonzero(want.valid)[np.argsort(-want.power[want.valid], kind="stable")]
        assert have.valid.sum() == len(order)
        at = np.arange(len(order))
        for end in ("departure", "arrival"):
            for part in ("azimuth", "zenith"):
                name = f"{end}_{part}"
                off = getattr(have, name)[at] - getattr(want, name)[order]
                assert np.abs((off + math.pi) % (2 * math.pi) - math.pi).max(initial=0) < angle
        off = (have.delay[at] - want.delay[order]) * SPEED_OF_LIGHT
        assert np.abs(off).max(initial=0) < length
        np.testing.assert_allclose(have.power[at], want.power[order], rtol=1e-4)


def of(scene, station):
    """Arrays over the users of one station."""
    rows = np.flatnonzero(scene.station_index == station)
    return rows[np.argsort(scene.report[rows])], scene.estimates


def write_deepmimo(scene, folder, angle=np.float64):
    for s in range(2):
        rows, paths = of(scene, s)
        hide = np.where(paths.valid[rows], 0.0, np.nan)
        arrays = {
            "aod_az": np.degrees(paths.departure_azimuth[rows]) + hide,
            "aod_el": np.degrees(paths.departure_zenith[rows]) + hide,
            "aoa_az": np.degrees(paths.arrival_azimuth[rows]) + hide,
            "aoa_el": np.degrees(paths.arrival_zenith[rows]) + hide,
            "delay": paths.delay[rows] + hide,
            "power": 10 * np.log10(np.maximum(paths.power[rows], 1e-40)) + hide,
        }
        for name, values in arrays.items():
            np.savez(folder / f"{name}_t001_tx{s:03}_r000.npz", **{name: values})
        np.savez(folder / f"rx_pos_t001_tx{s:03}_r000.npz", rx_pos=scene.position[rows])
        place = scene.station_position[s : s + 1]
        np.savez(folder / f"tx_pos_t001_tx{s:03}_r000.npz", tx_pos=place)
        np.savez(folder / f"delay_t001_tx{s:03}_r001.npz", delay=arrays["delay"][:1])
    sets = {"txrx_set_0": {"id": 0, "is_tx": False, "is_rx": True},
            "txrx_set_1": {"id": 1, "is_tx": True, "is_rx": True}}  # fmt: skip
    (folder / "params.json").write_text(json.dumps({"txrx_sets": sets}))
    return folder


def write_deepmimo_3(scene, folder):
    for s in range(2):
        rows, paths = of(scene, s)
        cells = np.empty(len(rows), object)
        for k, row in enumerate(rows):
            on = paths.valid[row]
            cells[k] = {
                "DoD_phi": np.degrees(paths.departure_azimuth[row][on]),
                "DoD_theta": np.degrees(paths.departure_zenith[row][on]),
                "DoA_phi": np.degrees(paths.arrival_azimuth[row][on]),
                "DoA_theta": np.degrees(paths.arrival_zenith[row][on]),
                "ToA": paths.delay[row][on],
                "power": 10 * np.log10(paths.power[row][on]) + 12.0,
            }
        savemat(folder / f"BS{s + 1}_UE_0-9.mat", {
            "channels": cells, "rx_locs": scene.position[rows],
            "tx_loc": scene.station_position[s],
        })  # fmt: skip
    savemat(folder / "params.mat", {"transmit_power": 12.0, "version": 3})
    return folder


def write_insite(scene, folder, phase=True, travel=False):
    for s in range(2):
        rows, paths = of(scene, s)
        place = scene.station_position[s]
        lines = ["# <number of receivers>", str(len(rows))]
        pl = ["# <rx> <X(m)> <Y(m)> <Z (m)> <Distance(m)> <PathLoss(dB)>"]
        for k, row in enumerate(rows):
            user = scene.position[row]
            pl.append(f"{k + 1} {user[0]:.9g} {user[1]:.9g} {user[2]:.9g} 1.0 250.0")
            on = np.flatnonzero(paths.valid[row])
            lines.append(f"{k + 1} {len(on)}")
            if not len(on):
                continue
            lines.append("-80.0 1e-7 1e-8")
            for n, p in enumerate(on):
                zenith, azimuth = paths.arrival_zenith[row, p], paths.arrival_azimuth[row, p]
                flat = np.sin(zenith)
                look = np.array([flat * np.cos(azimuth), flat * np.sin(azimuth), np.cos(zenith)])
                if travel:
                    zenith, azimuth = math.pi - zenith, azimuth + math.pi
                numbers = [
                    10 * np.log10(paths.power[row, p]) + 3.0, *([11.5] if phase else []),
                    paths.delay[row, p], np.degrees(zenith), np.degrees(azimuth),
                    np.degrees(paths.departure_zenith[row, p]),
                    np.degrees(paths.departure_azimuth[row, p]),
                ]  # fmt: skip
                lines.append(
                    " ".join([str(n + 1), str(int(p > 0)), *(f"{v:.12g}" for v in numbers)])
                )
                trail = [place, user + 5 * look, user] if p else [place, user]
                lines.append("Tx-R-Rx" if p else "Tx-Rx")
                lines += [" ".join(f"{v:.9g}" for v in point) for point in trail]
        name = f"town.paths.t{s + 1:03}_01.r002.p2m"
        (folder / name).write_text("\n".join(lines) + "\n")
        (folder / name.replace(".paths.", ".pl.")).write_text("\n".join(pl) + "\n")
    (folder / "town.txrx").write_text("begin_<transmitter>\npower 3.00000\nend_<transmitter>\n")
    return folder


def write_sionna(scene, file):
    users = len(np.unique(scene.report))
    shape = (users, 2, WIDTH)
    paths, index = scene.estimates, np.zeros((users, 2), int)
    index[scene.report, scene.station_index] = np.arange(len(scene.report))
    take = {name: getattr(paths, name)[index] for name in (
        "departure_azimuth", "departure_zenith", "arrival_azimuth", "arrival_zenith", "delay",
        "power", "valid",
    )}  # fmt: skip
    assert take["delay"].shape == shape
    amplitude = np.sqrt(take["power"])[:, None, :, None] * np.exp(0.7j)
    np.savez(
        file, a=amplitude, tau=np.where(take["valid"], take["delay"], -1), valid=take["valid"],
        phi_t=take["departure_azimuth"], theta_t=take["departure_zenith"],
        phi_r=take["arrival_azimuth"], theta_r=take["arrival_zenith"],
        sources=scene.station_position.T, targets=scene.position[index[:, 0]].T,
    )  # fmt: skip
    return file


def write_wide(scene, file):
    header = ["rx_id", "bs_id", "rx_x", "rx_y", "rx_z", "tx_x", "tx_y", "tx_z", "n_path"]
    for k in range(1, WIDTH + 1):
        header += [f"path_loss_{k}", f"delay_{k}", f"aod_{k}", f"zod_{k}", f"aoa_{k}", f"zoa_{k}"]
    lines, paths = [",".join(header)], scene.estimates
    for row in range(len(scene.report)):
        on = np.flatnonzero(paths.valid[row])
        s = scene.station_index[row]
        cells = [scene.report[row], f"roof {s}", *scene.position[row], *scene.station_position[s]]
        cells.append(len(on))
        for p in on:
            cells += [
                -10 * np.log10(paths.power[row, p]), paths.delay[row, p],
                *np.degrees([paths.departure_azimuth[row, p], paths.departure_zenith[row, p],
                             paths.arrival_azimuth[row, p], paths.arrival_zenith[row, p]]),
            ]  # fmt: skip
        cells += [0] * (len(header) - len(cells))
        lines.append(",".join(str(cell) for cell in cells))
    file.write_text("\n".join(lines) + "\n")
    return file


def test_deepmimo_version_4(scene, tmp_path):
    found = import_reports(write_deepmimo(scene, tmp_path))
    assert found.layout == "deepmimo"
    assert found.reports.station == ("tx-0", "tx-1")
    compare(found.reports, scene)
    assert found.findings() == ()


def test_deepmimo_version_3(scene, tmp_path):
    found = import_reports(write_deepmimo_3(scene, tmp_path))
    compare(found.reports, scene)
    (tmp_path / "params.mat").unlink()
    with pytest.raises(InputError, match="what was transmitted; give --transmit-power"):
        import_reports(tmp_path)
    compare(import_reports(tmp_path, None, ImportOptions(transmit_power=12.0)).reports, scene)


@pytest.mark.parametrize("phase", [True, False])
@pytest.mark.parametrize("travel", [True, False])
def test_wireless_insite(scene, tmp_path, phase, travel):
    found = import_reports(write_insite(scene, tmp_path, phase, travel))
    assert found.layout == "wireless-insite"
    compare(found.reports, scene)
    assert travel == any("turned round" in note.taken for note in found.notes)
    assert found.findings() == ()


def test_wireless_insite_needs_what_it_cannot_know(scene, tmp_path):
    write_insite(scene, tmp_path)
    (tmp_path / "town.txrx").unlink()
    with pytest.raises(InputError, match="received powers, and a gain is needed"):
        import_reports(tmp_path)
    options = ImportOptions(transmit_power=3.0)
    compare(import_reports(tmp_path, None, options).reports, scene)
    (tmp_path / "town.pl.t001_01.r002.p2m").unlink()
    with pytest.raises(InputError, match=r"receiver 5 has no path, and where it stands is in no"):
        import_reports(tmp_path, None, options)
    file = tmp_path / "town.paths.t002_01.r002.p2m"
    file.write_text("\n".join(file.read_text().splitlines()[:-4]))
    with pytest.raises(InputError, match="cut short or no paths file"):
        import_reports(file, None, options)


def test_saved_paths_of_sionna(scene, tmp_path):
    found = import_reports(write_sionna(scene, tmp_path / "paths.npz"))
    assert found.layout == "sionna"
    compare(found.reports, scene)


def test_saved_paths_of_sionna_need_arrays_of_one_shape(scene, tmp_path):
    file = write_sionna(scene, tmp_path / "paths.npz")
    with np.load(file) as stored:
        arrays = dict(stored)

    def refused(sentence, **changes):
        np.savez(file, **(arrays | changes))
        with pytest.raises(InputError, match=sentence):
            import_reports(file, "sionna")

    refused("a must have", a=arrays["a"][..., :2])
    refused("theta_t must have the shape", theta_t=arrays["theta_t"][..., :2])
    refused("valid must be true or false", valid=arrays["valid"].astype(float))
    refused("3 sources do not fit 2 devices", sources=np.zeros((3, 3)))
    refused("tau must be real numbers", tau=arrays["tau"].astype("U8"))


def test_one_row_a_user(scene, tmp_path):
    found = import_reports(write_wide(scene, tmp_path / "wide.csv"))
    assert found.layout == "point-data"
    assert found.reports.station == ("roof 0", "roof 1")
    compare(found.reports, scene)


def test_what_is_imported_can_be_read_again(scene, tmp_path, capsys):
    out = tmp_path / "reports.parquet"
    source = write_wide(scene, tmp_path / "wide.csv")
    words = [
        "reports",
        "import",
        str(source),
        "--out",
        str(out),
        "--station",
        "a",
        "--station",
        "b",
    ]
    assert main(words) == 0
    told = capsys.readouterr()
    assert "a loss" in told.out
    assert told.err == ""
    compare(read_reports(out), scene)
    assert read_reports(out).station == ("a", "b")


def test_a_layout_must_be_known_and_a_folder_recognised(tmp_path):
    with pytest.raises(InputError, match="there is no layout 'deepmino'; did you mean 'deepmimo'"):
        find_layout(tmp_path, "deepmino")
    with pytest.raises(InputError, match="a folder of no known layout; known are deepmimo"):
        find_layout(tmp_path)
    with pytest.raises(FileNotFoundError, match="paths to import were needed"):
        import_reports(tmp_path / "none.csv")


def write_long(scene, file, strength):
    """Write one row a path; outages have a row with empty cells."""
    rows = [f"rx_id,cell,rx_x,rx_y,rx_z,tx_x,tx_y,tx_z,toa_ns,aod,zod,aoa,zoa,{strength}"]
    paths = scene.estimates
    for row in range(len(scene.report)):
        s = scene.station_index[row]
        start = [scene.report[row], f"roof {s}", *scene.position[row], *scene.station_position[s]]
        on = np.flatnonzero(paths.valid[row])
        if not len(on):
            rows.append(",".join(map(str, [*start, *[""] * 6])))
        for p in on:
            gain = 10 * np.log10(paths.power[row, p])
            told = {"path_loss_dB": -gain, "rx_power_dBm": gain + 23.0, "pl": -gain}[strength]
            angles = np.degrees([
                paths.departure_azimuth[row, p], paths.departure_zenith[row, p],
                paths.arrival_azimuth[row, p], paths.arrival_zenith[row, p],
            ])  # fmt: skip
            rows.append(",".join(map(str, [*start, paths.delay[row, p] * 1e9, *angles, told])))
    file.write_text("\n".join(rows) + "\n")
    return file


@pytest.mark.parametrize("strength", ["path_loss_dB", "rx_power_dBm", "pl"])
def test_one_row_a_path_of_several_stations(scene, tmp_path, strength):
    source = write_long(scene, tmp_path / "long.csv", strength)
    options = ImportOptions()
    if strength == "rx_power_dBm":
        with pytest.raises(InputError, match=r"a received power, .*--transmit-power"):
            import_reports(source)
        options = ImportOptions(transmit_power=23.0)
    found = import_reports(source, None, options)
    assert found.layout == "measured"
    assert found.reports.station == ("roof 0", "roof 1")
    compare(found.reports, scene)
    told = {note.quantity: note.taken for note in found.notes}
    assert "23 dBm stated" in told["power"] if "dBm" in strength else "a loss" in told["power"]


def test_tables_of_whole_links_are_refused(tmp_path):
    text = "TX_ID,RX_ID,TX_x,TX_y,RX_x,RX_y,Omni_PL_dB,Omni_DS_ns,Omni_ASA_deg\n"
    text += "1,1,0,0,30.5,4,101.2,41.0,33.1\n1,2,0,0,55.5,-4,120.2,12.0,8.1\n"
    (tmp_path / "links.csv").write_text(text)
    with pytest.raises(InputError, match=r"no column for path length \[m\] or delay"):
        import_reports(tmp_path / "links.csv")


def test_receivers_without_paths_stand_where_the_project_says(scene, tmp_path):
    write_insite(scene, tmp_path)
    for file in tmp_path.glob("*.pl.*"):
        file.unlink()
    places = scene.position[of(scene, 0)[0]]
    blocks = "".join(
        f"begin_<location>\nnVertices 1\n{x:.6f} {y:.6f} {z:.6f}\nend_<location>\n"
        for x, y, z in places
    )
    project = "begin_<points> users\n{}end_<points>\nbegin_<transmitter>\npower 3.00000\n"
    (tmp_path / "town.txrx").write_text(project.format(blocks))
    compare(import_reports(tmp_path).reports, scene)
    moved = blocks.replace("nVertices 1\n", "nVertices 1\n1", 1)
    (tmp_path / "town.txrx").write_text(project.format(moved))
    with pytest.raises(InputError, match=r"in no points of a \.txrx file that agree"):
        import_reports(tmp_path)


def test_deepmimo_with_transmitters_in_sets_of_their_own(scene, tmp_path):
    write_deepmimo(scene, tmp_path)
    for file in list(tmp_path.glob("*_t001_tx001_*")):
        file.rename(tmp_path / file.name.replace("t001_tx001", "t002_tx000"))
    found = import_reports(tmp_path)
    assert found.reports.station == ("tx-1-0", "tx-2-0")
    compare(found.reports, scene)
    named = ImportOptions(station=("north", "south"))
    assert import_reports(tmp_path, None, named).reports.station == ("north", "south")


def test_deepmimo_may_list_all_transmitters_in_each_file(scene, tmp_path):
    write_deepmimo(scene, tmp_path)
    for s in range(2):
        np.savez(tmp_path / f"tx_pos_t001_tx{s:03}_r000.npz", tx_pos=scene.station_position)
    compare(import_reports(tmp_path).reports, scene)


@pytest.mark.parametrize("write", [
    write_deepmimo, write_insite, lambda scene, folder: write_sionna(scene, folder / "p.npz"),
    lambda scene, folder: write_wide(scene, folder / "wide.csv"),
    lambda scene, folder: write_long(scene, folder / "long.csv", "pl"),
])  # fmt: skip
def test_every_layout_says_what_it_took(scene, tmp_path, write):
    told = " ".join(note.quantity for note in import_reports(write(scene, tmp_path)).notes)
    for words in (("angles", "azimuth"), ("delay",), ("power",), ("station",)):
        assert any(word in told for word in words)


def test_the_examples_of_two_ray_tracers_say_the_same():
    folder = pathlib.Path(__file__).parents[3] / "src/echoscape/sample/files"
    insite, deepmimo = (import_reports(folder / name) for name in ("insite", "deepmimo"))
    assert (insite.layout, deepmimo.layout) == ("wireless-insite", "deepmimo")
    assert insite.findings() == deepmimo.findings() == ()
    one, other = (each.reports[np.lexsort(np.round(each.reports.position.T, 4))]
                  for each in (insite, deepmimo))  # fmt: skip
    assert len(one) == len(other) == 60
    assert (~one.estimates.valid.any(axis=1)).sum() == 6
    np.testing.assert_array_equal(one.estimates.valid, other.estimates.valid)
    np.testing.assert_allclose(one.position, other.position, atol=1e-5)
    np.testing.assert_allclose(one.estimates.length, other.estimates.length, atol=1e-4)
    np.testing.assert_allclose(one.estimates.power, other.estimates.power, rtol=1e-4)
