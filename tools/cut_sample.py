"""Cut the sample of a real city that the package carries out of the ray-traced data set.

    python tools/cut_sample.py FOLDER_WITH_ckm_train_AND_scene_mesh

Targets are users 9000 and above without line of sight and with at least 3 paths; reports are users
below 1500 that stand at least 1 m from every target.  The split is by place: no target's position
is among the reports.
"""

import pathlib
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.spatial import cKDTree

from echoscape.files import atomic_path
from echoscape.reports import reports_from_ray_traced
from echoscape.reports.schema import VERSION
from echoscape.reports.table import table_from_reports

OUT = pathlib.Path(__file__).resolve().parents[1] / "src/echoscape/sample"
TARGETS = 150
FIRST_TARGET, LAST_REPORT = 9000, 1500
APART = 1.0  # [m]
CENTRE, HALF, MARGIN = np.array([120.0, 177.0]), 130.0, 5.0  # [m]
EYE_LEVEL = 1.5  # height at which walls are drawn [m]


def main(folder: pathlib.Path) -> None:
    with np.load(folder / "ckm_train.npz", allow_pickle=False) as file:
        users = {name: file[name] for name in file.files}
    with np.load(folder / "scene_mesh.npz", allow_pickle=False) as file:
        mesh = {name: file[name] for name in file.files}
    count, index = np.diff(users["offset"]), np.arange(len(users["pos"]))
    targets = np.flatnonzero(~users["los"] & (count >= 3) & (index >= FIRST_TARGET))[:TARGETS]
    reports = index[:LAST_REPORT]
    distance = cKDTree(users["pos"][targets]).query(users["pos"][reports])[0]
    reports = reports[distance >= APART]
    write(users, reports, OUT / "reports.parquet")
    write(users, targets, OUT / "targets.parquet")
    with atomic_path(OUT / "scene.npz") as temporary:
        np.savez_compressed(temporary, **scene(mesh))
    sizes = {path.name: path.stat().st_size for path in OUT.iterdir() if path.is_file()}
    total = sum(size for name, size in sizes.items() if not name.endswith(".py"))
    print(f"{len(reports)} reports, {len(targets)} targets, {total / 1e6:.2f} MB: {sizes}")


def write(users: dict, which: np.ndarray, path: pathlib.Path) -> None:
    """Write chosen users as a small table: single precision, similar bytes together."""
    table = table_from_reports(reports_from_ray_traced(users, which, strongest=12, station="bs"))
    keep = [name for name in table.column_names if not name.endswith("_std")]
    table = table.select(keep)
    small = {pa.float64(): pa.float32(), pa.int64(): pa.int32()}
    table = table.cast(
        pa.schema([field.with_type(small.get(field.type, field.type)) for field in table.schema])
    )
    table = table.replace_schema_metadata({b"echoscape": f"reports {VERSION}".encode()})
    floats = [field.name for field in table.schema if field.type == pa.float32()]
    varying = [name for name in floats if name in ("x", "y") or "azimuth" in name]
    varying += [name for name in floats if "zenith" in name or name in ("delay", "power")]
    with atomic_path(path) as temporary:
        pq.write_table(
            table,
            temporary,
            compression="zstd",
            compression_level=19,
            use_dictionary=[name for name in table.column_names if name not in varying],
            column_encoding=dict.fromkeys(varying, "BYTE_STREAM_SPLIT"),
        )


def scene(mesh: dict) -> dict[str, np.ndarray]:
    """Crop the mesh to the square of the users and cut it at eye level."""
    vertices, faces = mesh["vertices"], mesh["faces"]
    low, high = CENTRE - HALF - MARGIN, CENTRE + HALF + MARGIN
    corners = vertices[faces][..., :2]
    inside = (corners.max(axis=1) >= low).all(axis=1) & (corners.min(axis=1) <= high).all(axis=1)
    ground = np.ptp(vertices[faces][..., 2], axis=1) + vertices[faces][..., 2].max(axis=1) < 0.01
    faces = faces[inside & ~ground]
    used, faces = np.unique(faces, return_inverse=True)
    vertices, faces = vertices[used], faces.reshape(-1, 3)
    x, y = mesh["height_x"], mesh["height_y"]
    column, row = (x >= low[0]) & (x <= high[0]), (y >= low[1]) & (y <= high[1])
    return {
        "vertices": vertices.round(3).astype(np.float32),
        "faces": faces.astype(np.uint16),
        "outline": outline(vertices, faces, low, high).round(3).astype(np.float32),
        "height_x": x[column],
        "height_y": y[row],
        "height_dm": mesh["height_dm"][np.ix_(column, row)],
    }


def outline(
    vertices: np.ndarray, faces: np.ndarray, low: np.ndarray, high: np.ndarray
) -> np.ndarray:
    """Cut the triangles at eye level into segments, shape [segment, end, xy], each once."""
    corners = vertices[faces].astype(np.float64)
    above = corners[..., 2] > EYE_LEVEL
    corners = corners[(above.any(axis=1)) & (~above).any(axis=1)]
    above = corners[..., 2] > EYE_LEVEL
    lonely = np.where(above.sum(axis=1) == 1, above.argmax(axis=1), (~above).argmax(axis=1))
    ends = []
    for step in (1, 2):
        a = corners[np.arange(len(corners)), lonely]
        b = corners[np.arange(len(corners)), (lonely + step) % 3]
        share = (EYE_LEVEL - a[:, 2]) / (b[:, 2] - a[:, 2])
        ends.append((a + share[:, None] * (b - a))[:, :2])
    start, along = ends[0], ends[1] - ends[0]
    with np.errstate(divide="ignore", invalid="ignore"):  # clip to the square
        at = np.sort(np.stack([(low - start) / along, (high - start) / along]), axis=0)
    at = np.where(along == 0, np.array([-np.inf, np.inf])[:, None, None], at)
    enter, leave = at[0].max(axis=1).clip(0, 1), at[1].min(axis=1).clip(0, 1)
    within = ((along != 0) | ((start >= low) & (start <= high))).all(axis=1)
    segments = np.stack([start + enter[:, None] * along, start + leave[:, None] * along], axis=1)
    length = np.linalg.norm(along, axis=1) * (leave - enter)
    segments = segments[within & (length > 0.05)]
    swap = segments[:, 0, 0] > segments[:, 1, 0]
    segments[swap] = segments[swap][:, ::-1]
    return np.unique(segments.round(2), axis=0)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]))
