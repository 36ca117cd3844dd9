"""The solver is chosen by what is known, and says why."""

import numpy as np
import pytest

from echoscape.checks import InputError
from echoscape.imaging import NoncoherentPoints, Snapshots, UserFreeVoxels, VisibilityGamp
from echoscape.imaging.choice import CLOCK_STD, POSITION_STD, choose_solver, with_unknowns


def snapshots(tones=8, users=3, stations=2, **known):
    generator = np.random.default_rng(0)
    received = generator.standard_normal((stations, 4, users, tones)) + 0j
    place = generator.uniform(0, 5, (users + 4 * stations, 3))
    frequency = 28e9 + 50e6 * np.arange(tones)
    return Snapshots(
        received, np.eye(users) + 0j, place[:users], place[users:].reshape(stations, 4, 3),
        frequency, 0.1, **known,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("known", "unknown", "solver"),
    [
        ({}, (), VisibilityGamp),
        ({"user_position_std": np.full(3, 1e-4)}, (), VisibilityGamp),
        ({"user_position_std": np.array([1e-4, 5e-4, 1e-4])}, (), NoncoherentPoints),
        ({"antenna_position_std": np.array([1e-4, 1e-2])}, (), NoncoherentPoints),
        ({"user_clock_std": np.array([0.0, 0.0, 1e-11])}, (), NoncoherentPoints),
        ({}, ("phase",), NoncoherentPoints),
        ({}, ("gain",), NoncoherentPoints),
        ({}, ("position",), NoncoherentPoints),
    ],
)
def test_a_coherent_image_needs_positions_to_hundredths_of_a_wavelength(known, unknown, solver):
    given = with_unknowns(snapshots(**known), unknown)
    assert isinstance(choose_solver(given, unknown)[0], solver)


def test_the_sentence_names_the_error_and_the_resolution():
    given = snapshots(user_position_std=np.full(3, 0.1))
    _, why = choose_solver(given)
    # 8 tones 50 MHz apart fill 400 MHz: c / (2 B) = 0.37 m.
    assert "100 mm only, 9.4 wavelengths" in why
    assert "nearer than 0.37 m" in why


def test_with_one_subcarrier_users_are_fitted_while_stations_are_coherent():
    solver, why = choose_solver(snapshots(tones=1, user_position_std=np.full(3, 0.01)))
    assert isinstance(solver, UserFreeVoxels)
    assert not solver.phase
    assert not solver.gain
    assert "offsets fitted with the image, for path lengths are known to 10 mm only" in why
    solver, why = choose_solver(snapshots(tones=1), ("phase", "gain"))
    assert isinstance(solver, UserFreeVoxels)
    assert solver.phase
    assert solver.gain
    solver, _ = choose_solver(snapshots(tones=1, user_clock_std=np.full(3, 1e-9)))
    assert isinstance(solver, UserFreeVoxels)
    assert solver.phase
    solver, why = choose_solver(snapshots(tones=1, user_position_std=np.full(3, 0.1)))
    assert isinstance(solver, UserFreeVoxels)
    assert "up to 3.2 wavelengths; coefficients are magnitudes" in why


def test_with_one_subcarrier_and_stations_unsure_there_is_no_choice_and_it_is_said():
    solver, why = choose_solver(snapshots(tones=1, antenna_position_std=np.full(2, 0.1)))
    assert isinstance(solver, VisibilityGamp)
    assert "send pilots over several hundred MHz" in why


def test_what_is_named_gets_a_deviation_unless_one_is_stated():
    given = with_unknowns(snapshots(user_clock_std=np.full(3, 5e-9)), ("position", "clock"))
    assert np.all(given.user_position_std == POSITION_STD)
    assert np.all(given.user_clock_std == 5e-9)
    assert np.all(with_unknowns(snapshots(), ("clock",)).user_clock_std == CLOCK_STD)


def test_what_cannot_be_unknown_is_refused():
    with pytest.raises(InputError, match="unknown may name gain, phase, position, clock; got 'lo"):
        with_unknowns(snapshots(), ("loss",))
    with pytest.raises(InputError, match="gain of a single user seen by a single station"):
        with_unknowns(snapshots(users=1, stations=1), ("gain",))
