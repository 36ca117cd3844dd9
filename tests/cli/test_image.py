"""`echoscape image` and `pilots make` given bad input: one sentence each, no file left behind."""

import dataclasses

import numpy as np
import pytest

from echoscape.cli import main
from echoscape.imaging import read_image, write_snapshots
from echoscape.imaging.simulation import random_users, simulate
from echoscape.imaging.snapshots import Snapshots
from echoscape.scene.voxel_grid import VoxelGrid
from echoscape.scene.voxel_shapes import random_voxels

USERS = np.array([[0.5, 0.5, 0.5], [3.0, 1.0, 0.7]])
ANTENNAS = np.array([[[8.0, 1.0, 3.0], [8.0, 1.005, 3.0]]])


def snapshots():
    generator = np.random.default_rng(0)
    received = generator.standard_normal((1, 2, 2, 1)) + 0j
    return Snapshots(received, np.eye(2) + 0j, USERS, ANTENNAS, np.array([28e9]), 0.1)


def spoilt(path, name, value):
    """Write a file of snapshots, one array of which is not what it should be."""
    good = snapshots()
    fields = {f.name: getattr(good, f.name) for f in dataclasses.fields(good)}
    fields = {key: each for key, each in fields.items() if each is not None} | {name: value}
    np.savez(path, **fields)


GRID = ("--origin", "0,0,0", "--edge", "1")


@pytest.mark.parametrize(
    ("name", "value", "options", "sentence"),
    [
        ("received", np.full((1, 2, 2, 1), np.nan + 0j), (), "received must be finite numbers"),
        ("pilots", np.ones((2, 2)) + 0j, (), "must be linearly independent"),
        ("frequency", np.array([-1.0]), (), "frequency must be above zero, in Hz"),
        ("noise_variance", 0.0, (), "noise_variance must be finite and above zero"),
        (None, None, ("--shape", "0,4,4"), "voxel"),
        (None, None, ("--shape", "4,4"), "--shape needs three counts"),
        (None, None, ("--shape", "20000,20000,2000"), "a grid holds at most 50000000 voxels"),
        (None, None, ("--radius", "-1"), "occlusion radius must be finite and above zero, in m"),
        (None, None, ("--solver", "wideband"), "needs at least two subcarriers"),
        (None, None, ("--figure", "image.gif"), "must end in .png, .pdf or .svg"),
        (None, None, ("--mesh", "image.stl"), "must end in .ply or .obj"),
        (None, None, ("--prior", "surface"), "surface prior needs at least two subcarriers"),
        (
            None,
            None,
            ("--prior", "surface", "--solver", "noncoherent-gamp"),
            "--prior surface chooses the solver",
        ),
    ],
)
def test_bad_input_is_one_sentence(tmp_path, capsys, name, value, options, sentence):
    path, out = tmp_path / "snapshots.npz", tmp_path / "image.npz"
    if name is None:
        write_snapshots(snapshots(), path)
    else:
        spoilt(path, name, value)
    shape = () if "--shape" in options else ("--shape", "4,4,2")
    assert main(["image", str(path), *GRID, *shape, *options, "--out", str(out)]) != 0
    told = capsys.readouterr().err
    assert sentence in told
    assert "Traceback" not in told
    assert told.count("error") == 1
    assert not out.exists()


@pytest.mark.slow
def test_a_grid_of_another_place_is_told_after_one_start(tmp_path, capsys):
    grid = VoxelGrid((-5.0, -3.0, 0.0), (8, 7, 5), 1.0)
    generator = np.random.default_rng(1)
    coefficient = np.zeros(grid.voxels)
    coefficient[random_voxels(grid, 10, generator)] = 0.7
    users = random_users(grid, np.flatnonzero(coefficient), 6, generator)
    rows, columns = np.meshgrid(np.arange(4), np.arange(4), indexing="ij")
    flat = 0.005 * np.stack([0 * rows.ravel(), rows.ravel(), columns.ravel()], 1)
    antennas = np.array([[-9.0, 0.5, 5.0], [7.0, -4.0, 4.0]])[:, None] + flat
    made, _ = simulate(grid, coefficient, users, antennas, np.array([28e9]), snr=100.0, seed=1)
    path, out = tmp_path / "snapshots.npz", tmp_path / "image.npz"
    write_snapshots(made, path)
    command = ["image", str(path), "--shape", "8,7,5", "--edge", "1", "--out", str(out), "--quiet"]
    drawn = [tmp_path / name for name in ("image.png", "slices.pdf")]
    figures = ["--figure", str(drawn[0]), "--slices", str(drawn[1])]
    # A minus sign begins no option.
    assert main([*command, "--origin", "-5,-3,0", *figures]) == 0
    assert all(file.stat().st_size > 10_000 for file in drawn)
    assert "explains" not in capsys.readouterr().err
    right = read_image(out)
    assert right.certificate.explained > 0.95
    assert main([*command, "--origin", "400,-3,0"]) == 0
    assert "are the grid, users and antennas given in one frame" in capsys.readouterr().err
    wrong = read_image(out)
    assert wrong.certificate.explained < 0.5
    assert wrong.iterations <= 100  # one start
    assert not wrong.certificate.holds


SITE = """
carrier_frequency = 28e9
bandwidth = 400e6
[bounds]
lower = [0.0, 0.0, 0.0]
upper = [6.0, 5.0, 4.0]
[[station]]
name = "a"
position = [-5.0, 1.0, 3.0]
"""


@pytest.mark.parametrize(
    ("change", "options", "sentence"),
    [
        (("", ""), ("--snr-db", "nan"), "'snr_db'"),
        (("", ""), ("--users", "0"), "'users'"),
        (("", ""), ("--edge", "-1"), "'edge'"),
        (("[6.0", "[0.0"), (), "upper corner lies above the lower one"),
        (("carrier_frequency", "carrier_freqency"), (), "did you mean 'carrier_frequency'?"),
        (("[[station]]", "[[scatterer]]\nposition = [9.0, 1.0, 1.0]\n[[station]]"), (), "outside"),
    ],
)
def test_what_cannot_be_simulated_is_one_sentence(tmp_path, capsys, change, options, sentence):
    path, out = tmp_path / "site.toml", tmp_path / "snapshots.npz"
    path.write_text(SITE.replace(*change) if change[0] else SITE)
    assert main(["pilots", "make", str(path), "--out", str(out), *options]) == 2
    told = capsys.readouterr().err
    assert sentence in told
    assert told.count("error") == 1
    assert not out.exists()


def test_a_file_that_is_not_there_is_named(tmp_path, capsys):
    out = tmp_path / "image.npz"
    command = ["image", str(tmp_path / "none.npz"), *GRID, "--shape", "4,4,2", "--out", str(out)]
    assert main(command) != 0
    assert "there is no file" in capsys.readouterr().err


def test_the_surface_prior_gives_a_mesh(tmp_path, capsys):
    """A wall of six voxels before four users; what the command was asked for is saved with it."""
    coefficient = np.zeros((5, 4, 4))
    coefficient[2, 1:3, 0:3] = 0.8
    grid = VoxelGrid((0.0, 0.0, 0.0), (5, 4, 4), 1.0)
    index = np.flatnonzero(coefficient)
    users = random_users(grid, index, 4, np.random.default_rng(1), margin=2.0)
    spread = 0.0054 * np.array([[0, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 1.0]])
    antennas = np.array([[8.0, 1, 3], [-4, 3, 4], [2, 9, 5]])[:, None] + spread
    tones = 28e9 + 100e6 * np.arange(4)
    samples, truth = simulate(
        grid, coefficient.ravel(), users, antennas, tones, snr=1e3, seed=1, random_phase=True
    )
    write_snapshots(samples, tmp_path / "snapshots.npz")
    out, mesh = tmp_path / "image.npz", tmp_path / "mesh.ply"
    words = ["--prior", "surface", "--unknown", "phase", "--mesh", str(mesh), "--out", str(out)]
    path = str(tmp_path / "snapshots.npz")
    assert main(["image", path, *GRID, "--shape", "5,4,4", *words, "--quiet"]) == 0
    assert "by the surface prior" in " ".join(capsys.readouterr().out.split())
    found = read_image(out)
    assert '"neighbour": 2.0' in found.settings
    assert np.array_equal(found.occupied().ravel(), (coefficient.ravel() != 0) & truth.in_range)
    assert mesh.read_text().startswith("ply\n")
