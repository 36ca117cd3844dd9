"""`echoscape score`: each kind of result beside a truth whose errors are known by hand."""

import json

import numpy as np
import pytest

from echoscape.cli import main
from echoscape.files.archive import write_arrays
from echoscape.imaging import Certificate, ImageStatus, VoxelImage, write_image
from echoscape.reports import write_fixes
from echoscape.scene.voxel_grid import VoxelGrid


def run(capsys, *words):
    code = main(["score", *(str(word) for word in words)])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def fixes(path, **changed):
    """Three targets of which one has two places and one has no echo; errors 0.5 and 20 m."""
    columns = {
        "target": [7, 3, 3, 5],
        "rank": [0, 0, 1, 0],
        "x": [10.3, 16.0, 5.0, 0.0],
        "y": [20.4, 18.0, 2.0, 0.0],
        "z": [1.0, 1.0, 1.0, 0.0],
        "cov_xx": [1.0, 4.0, 4.0, 0.0],
        "cov_xy": [0.0, 1.0, 0.0, 0.0],
        "cov_xz": [0.0, 0.0, 0.0, 0.0],
        "cov_yy": [1.0, 4.0, 4.0, 0.0],
        "cov_yz": [0.0, 0.0, 0.0, 0.0],
        "cov_zz": [0.0, 0.0, 0.0, 0.0],
        "status": ["located", "ambiguous", "ambiguous", "no_echo"],
        "probability": [1.0, 0.7, 0.3, 0.0],
    }
    columns = {name: values for name, values in (columns | changed).items() if values is not None}
    write_fixes({name: np.array(values) for name, values in columns.items()}, path)


TRUTH = "target,x,y,z\n3,3,2,1\n5,1,1,1\n7,10,20,1\n9,50,50,1\n"


def test_fixes_are_compared_by_number_and_missing_ones_are_lost(capsys, tmp_path):
    fixes(tmp_path / "fixes.parquet")
    (tmp_path / "truth.csv").write_text(TRUTH)
    code, out, _ = run(capsys, tmp_path / "fixes.parquet", tmp_path / "truth.csv", "--json")
    assert code == 0
    found = json.loads(out)
    assert found["count"] == 4
    assert found["lost"] == 0.5  # target 5 had no echo, target 9 no row
    assert found["within_1"] == 0.25
    assert found["rmse"] == pytest.approx(np.sqrt((0.25 + 425) / 2))  # (13, 16) and (0.3, 0.4)
    assert found["flagged_errors"] == 1.0
    # 0.5 m at 1 m is inside every region.  At 2 m from the rarer place, of 2 m deviation, the
    # density is 0.3 / 4 exp(-1/2); above it are 39 % of that place's 0.3 and 75 % of the other 0.7.
    assert found["inside_90"] == 1.0
    assert found["inside_50"] == 0.5
    code, out, _ = run(capsys, tmp_path / "fixes.parquet", tmp_path / "truth.csv")
    assert code == 0
    assert "flagged: 100.0%" in out
    # 0.5 m is what the one located fix is off, 20.6 m the ambiguous one.
    assert "0.5 m of those located, 14.6 m with the flagged ones" in " ".join(out.split())


def test_fixes_without_covariance_are_scored_without_their_regions(capsys, tmp_path):
    none = dict.fromkeys(["cov_xx", "cov_xy", "cov_xz", "cov_yy", "cov_yz", "cov_zz"])
    fixes(tmp_path / "fixes.csv", rank=None, probability=None, **none)
    (tmp_path / "truth.csv").write_text(TRUTH)
    code, out, _ = run(capsys, tmp_path / "fixes.csv", tmp_path / "truth.csv", "--json")
    assert code == 0
    assert json.loads(out)["inside_90"] is None
    assert "no covariance stated" in run(capsys, tmp_path / "fixes.csv", tmp_path / "truth.csv")[1]


def test_reports_are_a_truth_by_their_numbers(capsys, tmp_path):
    fixes(tmp_path / "fixes.csv")
    rows = [row.split(",") for row in TRUTH.splitlines()[1:]]
    head = "report,station,x,y,z,departure_azimuth,departure_zenith,delay,power\n"
    lines = [f"{n},bs,{x},{y},{z},{a},1.5,1e-7,1\n" for n, x, y, z in rows for a in (0.1, 0.2)]
    (tmp_path / "users.csv").write_text(head + "".join(lines))
    code, out, _ = run(capsys, tmp_path / "fixes.csv", tmp_path / "users.csv", "--json")
    assert code == 0
    assert json.loads(out)["count"] == 4
    (tmp_path / "users.csv").write_text(head + lines[0] + lines[1].replace(",3,2,", ",5,2,"))
    code, _, err = run(capsys, tmp_path / "fixes.csv", tmp_path / "users.csv")
    assert code == 2
    assert "must be the same in all rows of a report" in err


def test_a_target_that_the_truth_lacks_is_refused(capsys, tmp_path):
    fixes(tmp_path / "fixes.csv")
    (tmp_path / "truth.csv").write_text("target,x,y,z\n3,3,2,1\n5,1,1,1\n")
    code, _, err = run(capsys, tmp_path / "fixes.csv", tmp_path / "truth.csv")
    assert code == 2
    assert "target 7 has a fix, but the truth has no target of this number" in err
    fixes(tmp_path / "odd.csv", status=["located", "fine", "fine", "no_echo"])
    code, _, err = run(capsys, tmp_path / "odd.csv", tmp_path / "truth.csv")
    assert code == 2
    assert "status of a fix must be one of located, ambiguous" in err


POSITIONS = "time,x,y,z,cov_xx,cov_xy,cov_yy\n0,0.3,0.4,1,1,0,1\n0.5,1,2,1,1,0,1\n1,,,,,,\n"


def test_positions_over_time_are_compared_at_the_same_time(capsys, tmp_path):
    (tmp_path / "walk").mkdir()
    (tmp_path / "walk.csv").write_text(POSITIONS)
    (tmp_path / "truth.csv").write_text("time,x,y,z\n0,0,0,1\n2,4,0,1\n")
    code, out, _ = run(capsys, tmp_path / "walk.csv", tmp_path / "truth.csv", "--json")
    assert code == 0
    found = json.loads(out)
    # 0.5 m, then 2 m off (1, 0) half way between the truth's instants, then nothing.
    assert found["lost"] == pytest.approx(1 / 3)
    assert found["rmse"] == pytest.approx(np.sqrt((0.25 + 4) / 2))
    assert found["last"] == pytest.approx(2.0)
    assert found["inside_90"] == 1.0  # 2 m at 1 m is a chi-squared of 4, below 4.6
    tight = POSITIONS.replace("1,1,0,1\n1,", "1,0.8,0,0.8\n1,")
    (tmp_path / "walk.csv").write_text(tight)
    _, out, _ = run(capsys, tmp_path / "walk.csv", tmp_path / "truth.csv", "--json")
    assert json.loads(out)["inside_90"] == 0.5
    assert "0.5 m" not in run(capsys, tmp_path / "walk.csv", tmp_path / "truth.csv")[2]


def test_a_truth_of_another_time_or_without_positions_is_refused(capsys, tmp_path):
    (tmp_path / "walk.csv").write_text(POSITIONS)
    (tmp_path / "truth.csv").write_text("time,x,y,z\n0,0,0,1\n0.8,4,0,1\n")
    code, _, err = run(capsys, tmp_path / "walk.csv", tmp_path / "truth.csv")
    assert code == 2
    assert "covers 0 s to 0.8 s, but the result goes from 0 s to 1 s" in err
    (tmp_path / "truth.csv").write_text("time,x,y,z\n0,,,\n2,,,\n")
    code, _, err = run(capsys, tmp_path / "walk.csv", tmp_path / "truth.csv")
    assert code == 2
    assert "the truth has no position" in err
    (tmp_path / "walk.csv").write_text(POSITIONS + "0.5,3,2,1,,,\n")
    code, _, err = run(capsys, tmp_path / "walk.csv", tmp_path / "truth.csv")
    assert code == 2
    assert "two positions at time 0.5 s" in err


def made_image(path, mean):
    grid = VoxelGrid((0.0, 0.0, 0.0), mean.shape, 1.0)
    nothing = np.zeros(mean.shape, dtype=bool)
    write_image(
        VoxelImage(
            grid=grid,
            mean=mean,
            variance=np.ones(mean.shape),
            occupancy=np.abs(mean),
            unseen=nothing,
            visibility=np.ones((2, *mean.shape), dtype=bool),
            noise_variance=1.0,
            iterations=3,
            status=ImageStatus.CONVERGED,
            certificate=Certificate(1.0, 1.1, True),
        ),
        path,
    )


def write_truth(path, coefficient, in_range):
    write_arrays(path, "voxel truth", {"coefficient": coefficient, "in_range": in_range})


def test_an_image_is_compared_voxel_by_voxel(capsys, tmp_path):
    true, mean = np.zeros((3, 2, 2)), np.zeros((3, 2, 2))
    in_range = np.ones(true.shape, dtype=bool)
    true[0, 0, 0], true[1, 1, 0], true[2, 0, 1], true[2, 1, 1] = 0.8, 0.6, 0.5, 0.4
    mean[0, 0, 0], mean[1, 1, 0], mean[0, 1, 1], mean[2, 0, 1] = 0.8, 0.5, 0.3, 0.05
    in_range[2, 1, 1] = False
    made_image(tmp_path / "image.npz", mean)
    write_truth(tmp_path / "truth.npz", true, in_range)
    code, out, _ = run(capsys, tmp_path / "image.npz", tmp_path / "truth.npz", "--json")
    assert code == 0
    found = json.loads(out)
    assert (found["seen"], found["occupied"], found["occupied_unseen"]) == (11, 3, 1)
    assert (found["found"], found["false"]) == (2, 1)
    assert found["f1"] == pytest.approx(2 * 2 / (3 + 3))
    wrong = 0.1**2 + 0.3**2 + 0.45**2
    assert found["error_db"] == pytest.approx(10 * np.log10(wrong / (0.64 + 0.36 + 0.25)))
    assert "2 of 3 found, 1 false" in run(capsys, tmp_path / "image.npz", tmp_path / "truth.npz")[1]
    write_truth(tmp_path / "truth.npz", true[:2], in_range[:2])
    code, _, err = run(capsys, tmp_path / "image.npz", tmp_path / "truth.npz")
    assert code == 2
    assert "the truth has 2 x 2 x 2 voxels, but the image has 3 x 2 x 2" in err
