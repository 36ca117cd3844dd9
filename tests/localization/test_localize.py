"""The one verb: which method, what is refused, and what results must not depend on."""

import jax
import numpy as np
import pytest

from echoscape import localization
from echoscape.checks import InputError
from echoscape.localization import (
    AssociatedByPath,
    AssociatedByRank,
    Direct,
    PairedEchoes,
    ReceivedPower,
    Unassociated,
    UserPaths,
    localize,
    prepare,
)
from echoscape.localization.localize import METHODS, _method, can_use, default_method
from echoscape.reports.echo_making import make_echoes
from tests.worlds.point_maps import reports_of, scatterer_map, some_targets

PLACE = np.array(
    [[41.3, 57.2, 0.0], [22.1, 44.9, 0.0], [71.8, 61.4, 0.0], [63.5, 22.7, 0.0], [30.9, 80.2, 0.0]]
)
MAP = scatterer_map()


def echoes_of(channel_map, place, key, angle_std=0.05, delay_std=3e-9, **options):
    return make_echoes(
        reports_of(channel_map, place), key, angle_std=angle_std, delay_std=delay_std, **options
    ).echoes


@pytest.fixture(scope="module")
def echoes():
    return echoes_of(MAP, PLACE, jax.random.key(5), missed=0.1, false=0.1)


@pytest.fixture(scope="module")
def fix(echoes):
    return localize(echoes, MAP, height=0.0)


def test_the_default_method_follows_from_the_type(echoes):
    assert default_method(echoes) == Unassociated()
    paired = PairedEchoes(*(np.ones((2, 3, 3)),) * 3, np.ones((2, 3, 3), bool))
    assert default_method(paired) == AssociatedByPath()
    assert default_method(reports_of(MAP, PLACE)) == UserPaths()
    assert default_method(np.zeros((3, 4))) == ReceivedPower()
    assert [method.name for method in METHODS] == [
        "unassociated", "by-path", "by-rank", "direct", "user-paths", "received-power",
    ]  # fmt: skip


def test_a_method_that_cannot_use_the_measurements_names_one_that_can(echoes):
    with pytest.raises(
        InputError, match=r"Direct needs samples of echoes .* cannot use Echoes; Unassociated can"
    ):
        localize(echoes, MAP, method=Direct())
    with pytest.raises(InputError, match=r"AssociatedByRank needs echoes of known pairs"):
        localize(echoes, MAP, method=AssociatedByRank())
    with pytest.raises(InputError, match=r"method must be a localization method such as"):
        _method(echoes, "direct")
    with pytest.raises(InputError, match="no method can locate from str; give echoes"):
        localize("echoes.csv", MAP)
    assert not any(can_use(method, [1, 2]) for method in METHODS)


@pytest.mark.slow
def test_prepared_maps_keep_their_method_and_height(echoes, fix):
    prepared = prepare(MAP, echoes, height=0.0)
    again = localize(echoes, prepared)
    np.testing.assert_array_equal(again.position, fix.position)
    with pytest.raises(InputError, match="hold their method and height already"):
        localize(echoes, prepared, height=1.0)
    with pytest.raises(InputError, match="prepared already"):
        prepare(prepared, echoes)  # type: ignore[arg-type]


@pytest.mark.slow
def test_progress_counts_targets_and_names_the_stage(echoes):
    seen = []
    localize(echoes, MAP, height=0.0, progress=lambda *told: seen.append(told))
    assert seen[0] == (0, 1, "preparing the maps, compiling")
    assert seen[1] == (0, 5, "locating, compiling")
    assert seen[-1] == (5, 5, "locating")


@pytest.mark.slow
def test_the_order_of_echoes_and_targets_does_not_matter(echoes, fix):
    rng = np.random.default_rng(3)
    order = rng.permutation(echoes.estimates.valid.shape[1])
    rows = np.array([3, 0, 4, 2, 1])
    shuffled = some_targets(echoes, rows)
    shuffled = jax.tree.map(lambda leaf: leaf, shuffled)
    paths = jax.tree.map(lambda leaf: np.asarray(leaf)[:, order], shuffled.estimates)
    object.__setattr__(shuffled, "estimates", paths)
    other = localize(shuffled, MAP, height=0.0)
    np.testing.assert_array_equal(other.target, fix.target)
    # sums in another order: round-off of single precision in the pairs' densities
    np.testing.assert_allclose(other.best, fix.best, atol=1e-4)
    np.testing.assert_allclose(other.covariance, fix.covariance, rtol=1e-3, atol=1e-6)


@pytest.mark.slow
def test_a_subset_with_what_was_learnt_gets_the_same_fixes(echoes, fix):
    scales = {"angle_error_scale", "delay_error_scale", "tail_scale"}
    assert set(fix.learnt) == {"detection", "false_share", "log_power_std"} | scales
    given = Unassociated(**fix.learnt)
    for row in (0, 3):
        alone = localize(some_targets(echoes, np.array([row])), MAP, method=given, height=0.0)
        np.testing.assert_allclose(alone.best[0], fix.best[row], atol=1e-4)
        assert alone.status[0] == fix.status[row]
        assert alone.learnt == pytest.approx(fix.learnt)


@pytest.mark.slow
def test_what_was_learnt_matters(echoes, fix):
    """A given probability of detection is used: otherwise the test above could not fail."""
    other = localize(
        echoes, MAP, method=Unassociated(**(fix.learnt | {"detection": 0.4})), height=0.0
    )
    assert other.learnt["detection"] == pytest.approx(0.4)
    assert np.abs(other.log_likelihood[:, 0] - fix.log_likelihood[:, 0]).min() > 1.0


@pytest.mark.slow
def test_nothing_compiles_anew_for_another_origin_height_or_noise():
    counted = []

    def count(name, seconds, **_):
        if name.endswith("backend_compile_duration"):
            counted.append(seconds)

    def run(shift, height, delay_std, cell):
        channel_map = scatterer_map(shift, station=f"mast {shift}", reports=60)
        place = PLACE + np.array([*shift, 0.0])
        made = echoes_of(channel_map, place, jax.random.key(1), delay_std=delay_std)
        before = len(counted)
        fix = localize(made, channel_map, method=Unassociated(cell=cell), height=height)
        assert np.linalg.norm(fix.best[:, :2] - place[:, :2], axis=1).max() < 3.0
        return len(counted) - before

    jax.monitoring.register_event_duration_secs_listener(count)
    try:
        run((0.0, 0.0), 0.0, 3e-9, 2.0)
        assert run((1234.5, -987.6), 0.3, 5e-9, 2.01) == 0
    finally:
        jax.monitoring.clear_event_listeners()


@pytest.mark.slow
def test_old_names_warn_and_work(echoes, fix):
    with pytest.warns(DeprecationWarning, match=r"SearchSettings is deprecated.*Unassociated"):
        settings = localization.SearchSettings(level=4.0, vague_above=3.0)
    assert settings == Unassociated()
    with pytest.raises(AttributeError, match="no attribute 'localise'"):
        _ = localization.localise
    paired = PairedEchoes(*(np.ones((2, 3, 3)),) * 3, np.ones((2, 3, 3), bool))
    with pytest.warns(DeprecationWarning, match="prepare_one_way is deprecated"):
        prepare_one_way = localization.prepare_one_way
    with pytest.warns(DeprecationWarning, match="localize_one_way is deprecated"):
        localize_one_way = localization.localize_one_way
    with pytest.raises(InputError, match="angle_std must be finite and above zero"):
        localize_one_way(paired, prepare_one_way(MAP, paths=3), angle_std=0.0, delay_std=1e-9)
