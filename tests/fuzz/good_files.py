"""One good file of every kind that the package reads, to be spoiled.

Takes a folder.
Gives the files in it.
"""

import importlib.util
import json

import numpy as np
import pyarrow as pa
from scipy.io import savemat

from echoscape.cli import main
from echoscape.files import write_npz
from echoscape.files.tabular import write_columns
from echoscape.reports.exporting.sigmf import write_sigmf
from tests.reports.importing import test_aodt, test_layouts
from tests.worlds.direct_paths import make_reports

ARRAYS = "arrays.safetensors"
CHANNELS = ["npz", "mat", *["hdf5"] * (importlib.util.find_spec("h5py") is not None)]


def reports_table():
    generator = np.random.default_rng(1)
    count = 24
    report = np.repeat(np.arange(8), 3)
    user = generator.uniform(-40, 40, (8, 3))[report]
    user[:, 2] = 1.5
    return pa.table(
        {
            "report": report,
            "station": ["roof", "hill"] * 12,
            "station_x": [0.0, 30.0] * 12,
            "station_y": [0.0, 10.0] * 12,
            "station_z": [10.0, 12.0] * 12,
            **dict(zip("xyz", user.T)),
            "departure_azimuth": generator.uniform(-3, 3, count),
            "departure_zenith": generator.uniform(1.2, 1.9, count),
            "arrival_azimuth": generator.uniform(-3, 3, count),
            "arrival_zenith": generator.uniform(1.2, 1.9, count),
            "delay": generator.uniform(2e-7, 6e-7, count),
            "power": generator.uniform(1e-12, 1e-9, count),
        }
    )


def echoes_table():
    table = reports_table()
    drop = ["report", "station_x", "station_y", "station_z", "x", "y", "z"]
    table = table.drop_columns(drop).append_column("target", table["report"])
    for end in ("departure", "arrival"):
        for angle in ("azimuth", "zenith"):
            table = table.append_column(f"{end}_{angle}_std", pa.array(np.full(24, 0.01)))
    return table.append_column("delay_std", pa.array(np.full(24, 1e-9)))


SITE = b"""carrier_frequency = 28e9
bandwidth = 4e8
[bounds]
lower = [0.0, 0.0, 0.0]
upper = [4.0, 4.0, 2.0]
[[station]]
name = "roof"
position = [-3.0, 2.0, 5.0]
array = { rows = 2, columns = 2, azimuth_deg = 0.0 }
[[scatterer]]
position = [1.0, 1.0, 1.0]
cross_section = 1.0
"""


def traced(route):
    rows, users = 12, 4
    generator = np.random.default_rng(2)
    table = {
        "pos": generator.uniform(10, 40, (users, 3)),
        "offset": np.arange(users + 1) * 3,
        "tau_ns": generator.uniform(200, 600, rows),
        **{n: generator.uniform(-1, 1, rows) for n in ("aod", "eod", "aoa", "eoa")},
        "a_re": np.full(rows, 1e-5),
        "a_im": np.full(rows, 1e-6),
        "tx_pos" if route else "bs_pos": np.zeros(3),
    }
    return table | ({"t": np.arange(4.0), "vel": np.ones((users, 3))} if route else {})


FOLDERS = {
    "aodt": lambda town, folder: test_aodt.write(folder, polarised=True),
    "insite": test_layouts.write_insite,
    "deepmimo": test_layouts.write_deepmimo,
    "deepmimo_3": test_layouts.write_deepmimo_3,
}
OBJ = b"v 0 0 0\nv 9 0 0\nv 9 0 9\nv 0 9 0\nf 1 2 3\nf 1/1 2/2 4/3\n"


def write_good_files(place):
    """Write one good file of each kind, by the commands themselves where they can."""
    from echoscape.reports.files import write_table
    from echoscape.reports.sample_file import write_samples
    from echoscape.reports.schema import ECHOES, FIXES, OBSERVATIONS, REPORTS
    from echoscape.scene import PlanarArray
    from echoscape.signals import EchoSnapshots, Waveform
    from echoscape.studies.sweep import sweep

    for suffix in ("parquet", "csv"):
        write_table(reports_table(), place / f"reports.{suffix}", REPORTS)
        write_table(echoes_table(), place / f"echoes.{suffix}", ECHOES)
    seen = echoes_table().drop_columns(["target", "station"])
    seen = seen.append_column("time", pa.array(np.repeat(np.arange(8.0), 3)))
    write_table(seen, place / "observations.csv", OBSERVATIONS)
    fixes = {"target": [1, 2], "x": [1.0, 2.0], "y": [1.0, 2.0], "z": [1.0, 2.0]}
    write_table(pa.table({**fixes, "status": ["located"] * 2}), place / "fixes.parquet", FIXES)
    sweep([{"a": k} for k in range(3)], lambda s: [{"b": 1.5}], place / "rows.jsonl")
    vertices = np.array([[0.0, 0, 0], [9, 0, 0], [9, 0, 9], [0, 9, 0]])
    np.savez(place / "walls.npz", vertices=vertices, faces=np.array([[0, 1, 2], [0, 1, 3]]))
    generator = np.random.default_rng(0)
    array = PlanarArray(1, 2)
    write_samples(
        EchoSnapshots(
            received=generator.normal(size=(2, 2, 2, 8)) + 0j, target=np.arange(2),
            time=np.zeros(2), waveform=Waveform(8, 1e6, 1), transmit=array, receive=array,
            transmit_station="roof", receive_station="roof",
        ),
        place / "samples.npz",
    )  # fmt: skip
    (place / "site.toml").write_bytes(SITE)
    np.savez_compressed(place / "traced.npz", **traced(False))
    write_npz(place / "route.npz", traced(True))
    (place / "walls.obj").write_bytes(OBJ)
    poses = {
        "bs_pos": np.zeros(3), "bs_heading": 0.1, "ue_heading": np.full(4, 0.2),
        "ue_pos": np.array([[k, 2.0, 1.5] for k in range(4)]),
        "tau": np.full((4, 2), 4e-8), "aod": np.full((4, 2), 0.4), "aoa": np.full((4, 2), 2.0),
        "power": np.full((4, 2), 1e-6),
    }  # fmt: skip
    savemat(place / "list.mat", poses, do_compression=True)
    (place / "list.csv").write_text(
        "pose,rx_x_m,rx_y_m,tx_x_m,tx_y_m,tx_heading_rad,rx_heading_rad,length_m,aod_rad,power_db\n"
        + "".join(f"{k},{k},2,0,0,0.1,0.2,{9 + k},0.5,-60\n" for k in range(5))
    )
    (place / "rssi.csv").write_text("x,y,rssi_1,rssi_2\n" + "1,2,-60,-70\n" * 6)
    (place / "radios.csv").write_text("id,x,y,z\n1,0,0,1\n2,5,5,1\n")
    town = make_reports(11, 6, 0.8, 2, 2)
    for name, write in FOLDERS.items():
        (place / name).mkdir()
        write(town, place / name)
    (place / "sigmf").mkdir()
    samples = importlib.import_module("echoscape.reports.sample_file").read_samples
    write_sigmf(samples(place / "samples.npz"), place / "sigmf" / "a", 28e9)
    (place / "budget.toml").write_text("transmit_power_dbm = 30.0\n")
    assert main(["map", "fit", f"{place}/reports.csv", "--model", "nearest",
                 "--out", f"{place}/map", "-q"]) == 0  # fmt: skip
    assert main(["pilots", "make", f"{place}/site.toml", "--out", f"{place}/pilots.npz",
                 "--users", "2", "--truth", f"{place}/truth.npz"]) == 0  # fmt: skip
    write_results(place)
    write_more_inputs(place)


def write_results(place):
    """Write what commands give and others read: images, channels, tracks, maps, a store."""
    from echoscape.channel_map import save_maps
    from echoscape.channel_model.channel_file import write_channel
    from echoscape.imaging.voxel_image import write_image
    from tests.channel_model.test_channel_file import channel
    from tests.worlds.point_maps import scatterer_map
    from tests.worlds.shown import some_image

    write_image(some_image(), place / "image.npz")
    for suffix in CHANNELS:
        write_channel(channel(), place / f"channel.{suffix}")
    save_maps(scatterer_map(), place / "points")
    (arrays,) = (place / "points").glob("*.safetensors")
    arrays.rename(place / "points" / ARRAYS)
    manifest = place / "points" / "manifest.json"
    about = json.loads(manifest.read_text())
    about["arrays"] = ARRAYS
    del about["content_sha256"]  # else every change is found by it and nothing behind it is tried
    manifest.write_text(json.dumps(about))
    (place / "user.csv").write_text(
        "time,x,y,z,vx,vy,vz,cov_xx,cov_yy,status\n"
        + "".join(f"{k / 5},{k / 5},2,1.5,1,0,0,0.1,0.1,tracked\n" for k in range(12))
    )
    (place / "walk.csv").write_text(
        "time,x,y,z,cov_xx,cov_xy,cov_yy\n0,1,2,1.5,1,0,1\n1,2,2,1.5,1,0,1\n"
    )
    (place / "followed.csv").write_text(
        "time,track,x,y,z,vx,vy,cov_xx,cov_xy,cov_yy,status\n0,0,1,2,3,0,0,1,0,1,confirmed\n"
    )
    (place / "bounds.csv").write_text(
        "place,station,x,y,z,bound,status\n0,roof,1,2,1.5,0.3,bounded\n"
    )
    url = str(place / "kept.db")
    assert main(["store", "init", url]) == 0
    assert main(["store", "import", url, f"{place}/reports.csv", "-q"]) == 0
    assert main(["store", "export", url, f"{place}/export", "-q"]) == 0
    (part,) = (place / "export").glob("station=roof/*/reports.parquet")
    part.rename(place / "export.parquet")


def write_more_inputs(place):
    """Write what users bring beside reports and echoes: targets, their types, layouts of paths."""
    (place / "targets.csv").write_text("target,x,y,z\n0,1,2,1.5\n1,3,4,1.5\n")
    (place / "routes.csv").write_text(
        "target,time,x,y,z,heading,type\n0,0,1,2,1.5,0,vehicle\n0,1,2,2,1.5,0,vehicle\n1,0,1,9,1.5,0,\n"
    )
    (place / "sections.csv").write_text(
        "azimuth,zenith,cross_section\n"
        + "".join(
            f"{azimuth},{zenith},1.5\n" for azimuth in (-3, -1, 1, 3) for zenith in (0.5, 1.5, 2.5)
        )
    )
    (place / "horn.csv").write_text(
        "azimuth,zenith,theta_re,phi_im\n"
        + "".join(f"{a},{z},1.5,0.2\n" for z in (0.5, 1.5, 2.5) for a in (-3, -1, 1, 3))
    )
    (place / "types.toml").write_text(
        '[[type]]\nname = "car"\n[[type.point]]\nposition = [1.0, 0.0, 0.5]\n'
        'table = "sections.csv"\n'
        "[[type.point]]\ncross_section = 2.0\nspin = { radius = 0.3, rate = 5.0 }\n"
    )
    point = np.random.default_rng(3).uniform(5, 40, (6, 3))
    np.savez(place / "bounces.npz", point=point, range_m=np.linalg.norm(point, axis=1))
    table = echoes_table()
    for end in ("departure", "arrival"):
        table = table.append_column(f"{end}_path", pa.array(np.tile(np.arange(3), 8)))
    table = table.set_column(
        table.column_names.index("station"), "station", pa.array(["roof"] * 24)
    )
    write_columns(table, place / "paired.csv", "echoes 1")
    town = make_reports(11, 6, 0.8, test_layouts.WIDTH - 1, 2)
    test_layouts.write_sionna(town, place / "sionna.npz")
    test_layouts.write_wide(town, place / "wide.csv")
    test_layouts.write_long(town, place / "long.csv", "path_loss_dB")
