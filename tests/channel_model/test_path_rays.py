"""A channel of traced paths: exact at the tracer's instants, exact between them, Jones kept."""

import json

import numpy as np
import pytest

from echoscape.channel_model import describe_channel
from echoscape.checks import InputError
from echoscape.cli import main
from echoscape.propagation.traced_route import read_traced_route, traced_table
from echoscape.units import SPEED_OF_LIGHT
from tests.worlds.walls import GROUND, STATION, WALLS, image_path

CARRIER = 3.5e9
SEQUENCES = ([], [WALLS[0]], [WALLS[1], WALLS[2]], [WALLS[3], GROUND])
SCATTERER = np.array([4.0, -3.0, 6.0])


def exact(user):
    """Length, four angles, first and last bounce of every sequence and of one scatterer."""
    rows = []
    for planes in SEQUENCES:
        measured, _, points = image_path(user, planes)
        ends = (points[0], points[-1]) if len(points) else (user, user)
        rows.append((measured, np.array(ends), len(planes)))
    back, out = SCATTERER - user, SCATTERER - STATION
    legs = np.linalg.norm(back), np.linalg.norm(out)
    angles = [
        angle
        for v, n in zip((back, out), legs)
        for angle in (np.arctan2(v[1], v[0]), np.arccos(v[2] / n))
    ]
    rows.append((np.array([sum(legs), *angles]), np.tile(SCATTERER, (2, 1)), 1))
    return rows


def spreads(user):
    """What amplitudes fall with: the length of paths by way of walls, both legs to a scatterer."""
    length = [row[0][0] for row in exact(user)]
    length[-1] = np.linalg.norm(SCATTERER - user) * np.linalg.norm(SCATTERER - STATION)
    return np.array(length)


def traced(jones, instants=12):
    """Trace a straight walk; the third path is missing at first."""
    rng = np.random.default_rng(4)
    time = 0.5 * np.arange(instants)
    velocity = np.array([0.9, 0.5, 0.0])
    position = np.array([-9.0, -17.0, 1.3]) + time[:, None] * velocity
    change = rng.normal(size=(5, 2, 2)) + 1j * rng.normal(size=(5, 2, 2))
    rows, count, spread = [], [], []
    for k in range(instants):
        found = [(p, *row) for p, row in enumerate(exact(position[k])) if p != 2 or k > 3]
        rows += [found[i] for i in rng.permutation(len(found))]
        spread += [spreads(position[k])[row[0]] for row in rows[-len(found) :]]
        count.append(len(found))
    measured = np.array([row[1] for row in rows])
    amplitude = change[[row[0] for row in rows]] / np.array(spread)[:, None, None]
    table = {
        "t": time, "pos": position, "vel": np.tile(velocity, (instants, 1)), "tx_pos": STATION,
        "offset": np.concatenate([[0], np.cumsum(count)]),
        "tau_ns": measured[:, 0] / SPEED_OF_LIGHT * 1e9,
        "aoa": measured[:, 1], "eoa": np.pi / 2 - measured[:, 2],
        "aod": measured[:, 3], "eod": np.pi / 2 - measured[:, 4],
        "nb": np.array([row[3] for row in rows]),
        "vert": np.array([row[2] for row in rows]),
    }  # fmt: skip
    if jones:
        return table | {"A_re": amplitude.real, "A_im": amplitude.imag}, change
    return table | {"a_re": amplitude[:, 0, 0].real, "a_im": amplitude[:, 0, 0].imag}, change


@pytest.mark.slow
@pytest.mark.parametrize("jones", [False, True])
def test_coefficients_are_the_tracers_at_and_between_its_instants(
    tmp_path, capsys, jones, monkeypatch
):
    monkeypatch.setattr(
        "echoscape.cli.channel._PART", 5
    )  # of 23 instants, so that parts are padded
    table, change = traced(jones)
    np.savez(tmp_path / "route.npz", **table)
    arguments = ["channel", str(tmp_path / "route.npz"), "--out", str(tmp_path / "channel.npz"),
                 "--carrier", str(CARRIER), "--rate", "4", "--json"]  # fmt: skip
    assert main([*arguments, *(["--polarised"] if jones else [])]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["paths"] == 5
    assert told["departure error, 99 % below [degree]"] < 1e-3
    with np.load(tmp_path / "channel.npz") as file:
        made = {name: file[name] for name in file.files}
    assert made["a"].shape == (1, 2 if jones else 1, 1, 2 if jones else 1, 5, 23)
    # quarter seconds: every second instant is the tracer's, the others nobody traced
    for k, when in enumerate(made["time"]):
        user = table["pos"][0] + when * table["vel"][0]
        truth = exact(user)
        late = np.array([row[0][0] for row in truth]) / SPEED_OF_LIGHT
        order = np.argsort(late)
        assert np.allclose(np.sort(made["delay"][k]), late[order], atol=1e-15)
        if 1.5 < when < 2.0:
            continue  # the third path is on its way
        scale = np.exp(-2j * np.pi * CARRIER * late) / spreads(user)
        wanted = change * scale[:, None, None]
        wanted[2] *= when >= 2.0
        wanted = wanted if jones else wanted[:, :1, :1]
        found = made["a"][0, :, 0, :, np.argsort(made["delay"][k]), k]
        assert np.allclose(found, wanted[order], atol=1e-9)


@pytest.mark.slow
def test_grid_and_statistics_of_the_command_are_those_of_the_library(tmp_path, capsys):
    np.savez(tmp_path / "route.npz", **traced(False)[0])
    base = ["channel", str(tmp_path / "route.npz"), "--carrier", str(CARRIER), "--rate", "40",
            "--times", "2,5", "--receive", "1x2", "--json"]  # fmt: skip
    out, grid, stats = (tmp_path / name for name in ("c.npz", "g.npz", "s.json"))
    more = ["--subcarriers", "32", "--spacing", "1e6", "--squint"]
    assert main([*base, *more, "--out", str(out), "--grid", str(grid), "--statistics", str(stats),
                 "--window", "0.5"]) == 0  # fmt: skip
    told = json.loads(capsys.readouterr().out)
    offset = 1e6 * (np.arange(32) - 16)
    with np.load(grid) as file, np.load(out) as made:
        response = file["h_freq"][0, 0, :, 0]
        cycles = made["element_delay"][:, 1, 0, :, None] * offset
        exact = np.einsum("pt,tpf->tf", made["a"][0, 1, 0, 0], np.exp(-2j * np.pi * cycles))
        assert np.allclose(response[1, 0], exact, atol=1e-9 * np.abs(exact).max())
        assert made["tau"].shape == (1, 2, 1, 1, 5)
    found = json.loads(stats.read_text())
    exact = describe_channel(response.transpose(2, 0, 1, 3), np.arange(121) / 40, 1e6, 0.5)
    assert found["crossings"] == pytest.approx(exact["crossings"])
    assert np.allclose(found["correlation"], exact["correlation"])
    assert np.array(found["stationarity_distance"]).shape == (6, 6)
    assert told["coherence bandwidth [MHz]"] == round(1e-6 * found["coherence_bandwidth"], 4)
    for options, message in (
        ([], "give at least one of --out, --grid and --statistics to write"),
        (["--grid", str(tmp_path / "g.csv")], "g.csv must end in .npz"),
        (["--statistics", str(tmp_path / "s.csv")], "--statistics needs a name that ends in .json"),
        (["--out", str(out), "--grid", str(out)], "need different names"),
        (["--statistics", str(stats), "--window", "9"], "a window must hold two samples"),
    ):
        assert main([*base, *options]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.slow
def test_the_commands_forms_clusters_targets_and_antennas(tmp_path, capsys):
    table, _ = traced(False)
    np.savez(tmp_path / "route.npz", **table)
    (tmp_path / "cars.csv").write_text(
        "target,time,x,y,z,type\n"
        + "".join(f"{n},{t},{4 + n + t},{-9 + n},1,vehicle\n" for n in (0, 1) for t in range(7))
    )
    out = tmp_path / "c.npz"
    base = ["channel", str(tmp_path / "route.npz"), "--carrier", str(CARRIER), "--times", "2,5",
            "--out", str(out), "--json"]  # fmt: skip

    def make(*options):
        assert main([*base, *options]) == 0, capsys.readouterr().err
        told = json.loads(capsys.readouterr().out)
        with np.load(out) as file:
            return told, {name: file[name] for name in ("a", "delay", "time")}

    # at the tracer's instants both forms are its paths; images stay exact between them
    _, plain = make("--rate", "2")
    _, form = make("--rate", "2", "--form", "bounces")
    order = [np.argsort(made["delay"], axis=1) for made in (plain, form)]
    for made, rows in zip((plain, form), order):
        made["sorted"] = np.take_along_axis(made["a"][0, 0, 0, 0].T, rows, axis=1)
    assert np.allclose(form["sorted"], plain["sorted"], atol=1e-9)
    told, bundle = make("--rate", "2", "--rays", "4", "--diffuse", "0.2", "--seed", "5")
    assert told["paths"] == 1 + 4 * 8  # the line of sight alone
    power = [np.sum(np.abs(made["a"]) ** 2) for made in (plain, bundle)]
    assert power[1] == pytest.approx(power[0], rel=0.1)  # as much as rays within spread
    told, more = make("--rate", "2", "--targets", str(tmp_path / "cars.csv"))
    assert told["paths"] == 7
    known = (table["pos"][4], STATION, np.array([6.0, -9.0, 1.0]))
    legs = np.linalg.norm(known[2] - known[1]) + np.linalg.norm(known[2] - known[0])
    assert more["delay"][0, 5] == pytest.approx(legs / SPEED_OF_LIGHT, rel=1e-9)
    looks = ["--receive-look", "motion", "--transmit-look", "0.3,0.1"]
    ends = ["--transmit-antenna", "isotropic,VH", "--receive-antenna", "dipole"]
    told, aerial = make("--rate", "2", *ends, *looks)
    assert told["antennas"] == "1 by 2"
    assert aerial["a"].shape[1:4] == (1, 1, 2)
    assert np.abs(aerial["a"]).max() < 1.3 * np.abs(plain["a"]).max()
    for options, message in (
        (["--diffuse", "0.2"], "--diffuse is a share of clusters; give their --rays"),
        (["--rays", "20", "--form", "bounces"], "--rays and --targets need --form images"),
        (["--rays", "20", "--angle-spread", "5"], "azimuth_spread of a cluster must lie between"),
        (["--transmit-antenna", "horn"], "there is no antenna pattern 'horn'"),
        (["--transmit-look", "40,5"], "azimuth within 2 pi and tilt within pi/2"),
        (["--receive-look", "90,0,0"], "are these degrees?"),
        (["--receive-look", "north"], "--receive-look (or motion) needs three numbers"),
    ):
        assert main([*base, *options]) == 2
        assert message in capsys.readouterr().err
    table.pop("vert")
    np.savez(tmp_path / "route.npz", **table)
    assert main([*base, "--form", "bounces"]) == 2
    assert "the paper's form needs nb and vert" in capsys.readouterr().err


def test_a_table_reads_back_as_it_was_written():
    route = read_traced_route(traced(True)[0], CARRIER)
    again = read_traced_route(traced_table(route), CARRIER)
    for name in ("time", "position", "velocity", "station", "jones"):
        assert np.allclose(getattr(route, name), getattr(again, name), atol=1e-12), name
    for name in vars(route.paths):
        one, two = getattr(route.paths, name), getattr(again.paths, name)
        assert (one is None) == (two is None)
        assert one is None or np.allclose(one, two, atol=1e-12), name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"t": None}, "has no array 't'"),
        ({"tx_pos": None}, "has no tx_pos, where the station is; give --station"),
        ({"t": -0.5 * np.arange(12)}, "at least two times that rise"),
        ({"aod": np.full(56, 90.0)}, "if these are degrees, multiply them by pi.180"),
        ({"offset": np.arange(5)}, "rising numbers in offset"),
        ({"tau_ns": np.full(56, np.nan)}, "tau_ns must be finite numbers"),
    ],
)
def test_what_is_no_route_is_refused(change, message):
    table = {**traced(False)[0], **change}
    with pytest.raises(InputError, match=message):
        read_traced_route({k: v for k, v in table.items() if v is not None}, CARRIER)
