"""Normal equations of a walk against those of its residuals, stacked and differentiated."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.tracking import AnchorType, JointFilter
from echoscape.tracking.anchor import path_residual, predict_measured
from echoscape.tracking.joint_smoother import write_back
from echoscape.tracking.record import Record
from echoscape.tracking.smoothing_system import Problem, Walk, assemble, solve

STATION = np.array([3.0, -40.0, 9.0])
START = np.array([1.0, 2.0, 1.5, 0.9, -0.4, 0.1])
KINDS = np.array([AnchorType.STATION, AnchorType.ONE_WALL, AnchorType.EVEN, AnchorType.ODD,
                  AnchorType.UNDECIDED, AnchorType.SCATTERER])  # fmt: skip
REFLECTION = np.array([1.0, 1.0, -1.0, -1.0, -1.0, 1.0])
SETTINGS = JointFilter(clock_std=3.0, clock_drift_std=0.1, heading_std=0.2, station_heading_std=0.1)


def random_walk(seed=0, count=40):
    rng = np.random.default_rng(seed)
    time = np.cumsum(rng.uniform(0.05, 0.3, 12)) - 0.05
    time = time - time[0]
    information = rng.normal(size=(6, 4, 4))
    information = information @ np.swapaxes(information, 1, 2)
    information[[0, 4]] = 0.0
    information[[1, 5], 3], information[[1, 5], :, 3] = 0.0, 0.0
    problem = Problem(
        time=time, knot=time[[0, 3, 7, 8, 11]], instant=np.sort(rng.integers(0, 12, count)),
        point=rng.integers(0, 6, count), measured=np.zeros((count, 5)),
        std=rng.uniform(0.02, 0.3, (count, 5)), identity=np.array([0, 2, 3, 5, 8, 9]), kind=KINDS,
        reflection=REFLECTION, vertical_reflection=np.array([1.0, 1, -1, 1, 1, 1]),
        prior=np.concatenate([rng.normal(0, 50, (6, 3)), rng.normal(0, 1, (6, 1))], axis=1),
        information=information, station=STATION, start=START,
        known_position=rng.normal(0, 3, (12, 3)), known=np.arange(12) == 5, settings=SETTINGS,
    )  # fmt: skip
    user = START + rng.normal(0, 0.5, (5, 6)) + np.arange(5)[:, None] * np.r_[1.0, 0.2, 0, 0, 0, 0]
    point = np.concatenate([rng.normal(0, 60, (6, 3)), rng.normal(0, 1, (6, 1))], axis=1)
    point[0, :3] = STATION
    walk = Walk(user, np.array([2.0, -0.05, 0.3, 0.1]), point)
    exact = np.asarray(jax.jit(lambda user: paths(problem, walk._replace(user=user)))(walk.user))
    return problem._replace(measured=exact + rng.normal(0, 0.1, (count, 5))), walk


def rotate(vector, angle):
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return jnp.stack([cos * vector[0] - sin * vector[1], sin * vector[0] + cos * vector[1]])


def hermite(problem, user):
    """Positions and velocities at the instants, by numpy's own interpolation of each interval."""
    out = []
    for t in problem.time:
        k = min(np.searchsorted(problem.knot, t, side="right") - 1, len(problem.knot) - 2)
        gap = problem.knot[k + 1] - problem.knot[k]
        s = (t - problem.knot[k]) / gap
        (p, v), (q, w) = (jnp.split(user[k + i], 2) for i in (0, 1))
        third = 2 * (p - q) + gap * (v + w)
        second = 3 * (q - p) - gap * (2 * v + w)
        place = p + s * gap * v + s**2 * second + s**3 * third
        out.append(jnp.r_[place, v + (2 * s * second + 3 * s**2 * third) / gap])
    return jnp.stack(out)


def paths(problem, walk):
    place = hermite(problem, jnp.asarray(walk.user))[problem.instant, :3]
    shared, point = walk.shared, problem.point
    clock = shared[0] + shared[1] * problem.time[problem.instant]
    others = jnp.broadcast_to(jnp.asarray(shared[2:]), (len(point), 2))
    local = jnp.concatenate([place, clock[:, None], others, walk.point[point]], axis=1)
    signs = jnp.asarray(REFLECTION[point]), jnp.asarray(problem.vertical_reflection[point])
    return jax.vmap(predict_measured, (0, 0, 0, 0, None, None))(
        local, jnp.asarray(KINDS[point]), *signs, jnp.asarray(STATION), jnp.asarray(START[:2])
    )


def unpack(problem, unknown):
    knots = 6 * len(problem.knot)
    return Walk(
        unknown[:knots].reshape(-1, 6), unknown[knots : knots + 4],
        unknown[knots + 4 :].reshape(-1, 4),
    )  # fmt: skip


def residuals(problem, unknown, weight=None):
    """Everything that is assumed, each in its standard deviation; data less prediction."""
    walk = unpack(problem, unknown)
    wrong = jax.vmap(path_residual)(jnp.asarray(problem.measured), paths(problem, walk))
    used = np.ones(problem.measured.shape)
    used[KINDS[problem.point] == AnchorType.UNDECIDED, 3] = 0.0
    wrong = used * wrong / problem.std
    if weight is None:
        weight = jnp.minimum(1.0, 9.0 / (4.0 + jnp.sum(wrong**2, axis=1)))
    rows = [(jnp.sqrt(weight)[:, None] * wrong).ravel()]
    own = problem.settings
    density = np.array([own.acceleration] * 2 + [own.vertical_acceleration])
    for k, gap in enumerate(np.diff(problem.knot)):
        (p, v), (q, w) = (jnp.split(walk.user[k + i], 2) for i in (0, 1))
        push = np.array([[gap**3 / 3, gap**2 / 2], [gap**2 / 2, gap]])
        root = np.linalg.inv(np.linalg.cholesky(push))
        rows.append((root @ jnp.stack([p + gap * v - q, v - w]) / density[None]).ravel())
    velocity = rotate(START[3:5], -walk.shared[2])
    start = jnp.r_[START[:3], velocity, START[5]] - walk.user[0]
    rows.append(start / 0.1)
    rows.append(-walk.shared / np.array([3.0, 0.1, 0.2, 0.1]))
    site = START[:2] + rotate(hermite(problem, walk.user)[5, :2] - START[:2], walk.shared[2])
    rows.append(
        (problem.known_position[5] - jnp.r_[site, hermite(problem, walk.user)[5, 2]]) / 0.05
    )
    sense = np.array([1.0, -1.0, 1.0, -1.0, -1.0, 1.0])
    for k in (1, 2, 3, 5):
        root = np.linalg.cholesky(problem.information[k] + 1e-12 * np.eye(4)).T
        place = START[:2] + rotate(walk.point[k, :2] - START[:2], walk.shared[2])
        turned = walk.point[k, 3] - sense[k] * walk.shared[2]
        rows.append(root @ (problem.prior[k] - jnp.r_[place, walk.point[k, 2], turned]))
    return jnp.concatenate(rows), weight


def dense_of(system):
    size = system.banded.shape[1]
    knots = np.zeros((size, size))
    for i, row in enumerate(system.banded):
        knots += np.diag(row[: size - i], -i) + (np.diag(row[: size - i], i) if i else 0.0)
    cross = system.cross.toarray()
    return np.block([[knots, cross], [cross.T, system.dense]])


def empty_record():
    sizes = dict(
        user=(6,), user_covariance=(6, 6), nuisance=(4,), nuisance_std=(4,), anchor=(1, 3),
        anchor_covariance=(1, 3, 3), rotation=(1,), predicted=(1, 5), detection=(1,),
        identity=(1,), kind=(1,), reflection=(1,), vertical_reflection=(1,), odds=(1,), hits=(1,),
        misfit=(), share=(), pending=(), relocated=(), recalled=(), merged=(1,),
    )  # fmt: skip
    whole = ("detection", "identity", "kind", "hits", "pending")
    kinds = dict.fromkeys(whole, int) | {"relocated": bool, "recalled": bool, "merged": bool}
    return Record(**{n: jnp.zeros((12, *size), kinds.get(n, float)) for n, size in sizes.items()})


@pytest.fixture(scope="module")
def case():
    problem, walk = random_walk()
    unknown = jnp.concatenate([np.ravel(each) for each in walk])

    @jax.jit
    def both(unknown):
        weight = residuals(problem, unknown)[1]
        value = residuals(problem, unknown, weight)[0]
        return value, jax.jacfwd(lambda u: residuals(problem, u, weight)[0])(unknown)

    value, slope = both(unknown)
    return problem, walk, np.asarray(slope), np.asarray(value)


def test_every_term_is_in_the_normal_equations(case):
    problem, walk, slope, value = case
    system = assemble(walk, problem)
    whole = dense_of(system)
    # what no path depends on is held by a term of its own, which the residuals leave out
    damping = np.zeros((6, 4))
    damping[:] = [1e-8, 1e-8, 1e-8, 1.0]
    damping[[2, 3], 3], damping[0] = 1 / 9, 1.0
    whole -= np.diag(np.r_[np.zeros(6 * 5 + 4), damping.ravel()])
    expected = slope.T @ slope
    scale = np.sqrt(np.outer(np.diagonal(expected), np.diagonal(expected))) + 1.0
    assert np.allclose(whole / scale, expected / scale, atol=1e-9)
    right = np.r_[system.knots, system.rest]
    assert np.allclose(right, -slope.T @ value, atol=1e-8 * np.abs(slope.T @ value).max())


@pytest.mark.slow
def test_the_solution_and_its_covariance_are_those_of_the_whole_matrix(case):
    problem, walk, _, _ = case
    system = assemble(walk, problem)
    factors, by_knots, by_rest = solve(system)
    whole = dense_of(system)
    step = np.linalg.solve(whole, np.r_[system.knots, system.rest])
    assert np.allclose(np.r_[by_knots, by_rest], step, atol=1e-7)
    record = eqx.tree_at(lambda r: r.identity, empty_record(), jnp.full((12, 1), 5))
    found = write_back(record, problem, walk, factors)

    def site(unknown):
        walk, turned = unpack(problem, unknown), unknown[6 * 5 + 2]
        local = hermite(problem, walk.user)
        place = START[:2, None] + rotate((local[:, :2] - START[None, :2]).T, turned)
        place, speed = place.T, rotate(local[:, 3:5].T, turned).T
        user = jnp.c_[place, local[:, 2], speed, local[:, 5]]
        point = walk.point[3, :3]
        point = jnp.r_[START[:2] + rotate(point[:2] - START[:2], turned), point[2]]
        return user, point

    unknown = jnp.concatenate([np.ravel(each) for each in walk])
    user, point = site(unknown)
    by_user, by_point = jax.jit(jax.jacfwd(site))(unknown)
    inverse = np.linalg.inv(whole)
    covariance = np.asarray(by_user) @ inverse @ np.swapaxes(by_user, 1, 2)
    assert np.allclose(found.user, user, atol=1e-9)
    assert np.allclose(found.anchor[4, 0], point, atol=1e-9)
    assert np.allclose(found.anchor_covariance[4, 0], by_point @ inverse @ by_point.T, rtol=1e-6)
    on_knots = np.array([0, 3, 7, 8, 11])  # between them the motion adds its own deviation
    assert np.allclose(found.user_covariance[on_knots], covariance[on_knots], rtol=1e-6, atol=1e-9)
    more = np.asarray(found.user_covariance) - np.asarray(covariance)
    assert (more[np.array([1, 2, 4]), 0, 0] > 0).all()
    gap = np.diff(problem.knot).max()
    assert (more[:, 0, 0] < 1.01 * SETTINGS.acceleration**2 * gap**3 / 192).all()
    clock = unknown[30] + unknown[31] * problem.time
    onward = np.stack([np.ones(12), problem.time], axis=1)
    variance = np.einsum("ta,ab,tb->t", onward, inverse[30:32, 30:32], onward)
    assert np.allclose(found.nuisance[:, 0], clock)
    assert np.allclose(found.nuisance_std[:, 0], np.sqrt(variance), rtol=1e-6)
