"""One verb for all models: order of the reports, start from points, names, settings."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.channel_map import (
    Extrapolated,
    NearestReports,
    Scatterers,
    VirtualAnchorMap,
    VirtualAnchors,
    fit_map,
    save_maps,
)
from echoscape.channel_map.fitting import MODELS, model_named, model_settings
from echoscape.channel_map.storage import load_manifest, load_maps
from echoscape.checks import InputError
from echoscape.scene import PointKind, StaticPoints, image_of_user, mirror_walls
from tests.worlds.mirrors import EAST, NORTH, STATION, street_reports, users
from tests.worlds.scatter import single_bounces


def shuffled(reports, seed=0):
    """Shuffle the reports, and the paths of each."""
    rng = np.random.default_rng(seed)
    paths = rng.permuted(np.tile(np.arange(reports.estimates.length.shape[1]), (
        len(reports.position), 1)), axis=1)  # fmt: skip
    reports = eqx.tree_at(
        lambda r: r.estimates, reports,
        jax.tree.map(lambda leaf: np.take_along_axis(leaf, paths, 1), reports.estimates),
    )  # fmt: skip
    return reports[rng.permutation(len(reports.position))]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "world"),
    [
        (VirtualAnchors(cell=8.0), street_reports),
        (NearestReports(), street_reports),
        (Extrapolated(steps=3), street_reports),
        (Scatterers(), single_bounces),
    ],
    ids=lambda item: getattr(item, "name", ""),
)
def test_shuffled_reports_give_the_same_map(model, world):
    reports = world(70, seed=3, angle_std=3e-3, delay_std=3e-10, position_std=0.3)
    place = jnp.asarray(users(4, seed=8))
    predict = jax.jit(jax.vmap(lambda m, x: m(x), in_axes=(None, 0)))
    one, two = (predict(fit_map(each, model), place) for each in (reports, shuffled(reports)))
    for first, second in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_allclose(second, first, rtol=1e-9, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "world", "stages"),
    [
        (VirtualAnchors(cell=8.0), street_reports, ["points at", "users moved", "visibility"]),
        (Scatterers(), single_bounces, ["scatterers", "adjusting"]),
    ],
    ids=lambda item: getattr(item, "name", ""),
)
def test_a_fit_tells_its_stages_and_how_far_each_is(model, world, stages):
    reports = world(70, seed=3, angle_std=3e-3, delay_std=3e-10, position_std=0.3)
    told = []
    fit_map(reports, model, progress=lambda *words: told.append(words))
    names = list(dict.fromkeys(name for _, _, name in told))
    assert all(any(name.startswith(stage) for name in names) for stage in stages)
    for name in names:
        done = [done for done, total, each in told if each == name]
        assert done == sorted(done)
    assert all(0 <= done <= total for done, total, _ in told)
    assert len(told) > 4


def test_points_of_a_map_have_the_walls_of_the_world():
    found = fit_map(street_reports(80, seed=3), VirtualAnchors(cell=8.0))
    walls = mirror_walls(found.static_points())
    single = np.abs(walls.glide) < 1e-3
    for normal_matrix, shift in (EAST, NORTH):
        del normal_matrix
        distance = np.linalg.norm(shift) / 2
        near = np.abs(walls.distance[single] - distance).min()
        assert near < 1e-6


@pytest.mark.slow
def test_a_map_starts_from_points_that_too_few_reports_would_not_find():
    reports = street_reports(200, seed=3)
    known = fit_map(reports, VirtualAnchors(cell=8.0)).static_points()
    two = reports[np.arange(200) < 2]
    without = fit_map(two, VirtualAnchors(cell=8.0)).static_points()
    with_start = fit_map(two, VirtualAnchors(cell=8.0), start=known).static_points()
    place, others = users(1, seed=11)[0], np.array([STATION])
    truth = np.sort(np.linalg.norm(image_of_user(known, place, STATION) - others, axis=1))

    def missed(points):
        found = np.linalg.norm(image_of_user(points, place, STATION) - others, axis=1)
        return np.array([np.abs(found - length).min() for length in truth])

    # Two reports leave every path undetermined away from them; with the walls known, none is.
    assert np.median(missed(without)) > 1.0
    assert missed(with_start).max() < 1e-3


def test_scatterers_start_from_points():
    few = single_bounces(3, seed=2)
    true = np.array([[31.0, 22, 3], [-14, 37, 14], [52, -9, 6], [4, -41, 1], [40, 48, 8]])
    with pytest.raises(InputError, match="no point explains 4 of the 15 paths"):
        fit_map(few, Scatterers())
    found = fit_map(few, Scatterers(), start=StaticPoints.scatterers(true)).static_points()
    assert len(found) == 5
    assert (found.kind == PointKind.SCATTERER).all()


def test_models_that_cannot_start_from_points_say_so():
    reports = street_reports(10)
    points = StaticPoints.scatterers(np.zeros((1, 3)))
    for model in (NearestReports(), Extrapolated()):
        with pytest.raises(InputError, match=f"'{model.name}' cannot start from static points"):
            fit_map(reports, model, start=points)


def test_maps_without_points_say_which_models_have_them():
    with pytest.raises(InputError, match="NearestMap holds no static points"):
        fit_map(street_reports(10), NearestReports()).static_points()


def test_old_names_of_models_work_and_warn():
    with pytest.warns(DeprecationWarning, match="'carried' is deprecated.*use extrapolated"):
        assert model_named("carried", neighbours=3) == Extrapolated(neighbours=3)
    with pytest.warns(DeprecationWarning, match="use network with loss 'squared'"):
        assert model_named("network-mse").model_dump()["loss"] == "squared"


def test_old_names_in_python_work_and_warn():
    import echoscape.channel_map as module

    with pytest.warns(DeprecationWarning, match=r"use fit_map\(reports, NearestReports\(\)\)"):
        fit = module.fit_nearest
    with pytest.warns(DeprecationWarning, match="NearestSettings is deprecated"):
        settings = module.NearestSettings(listed=4, neighbours=3)
    found = fit(street_reports(20), settings=settings)
    assert found.reported_paths == 4
    with pytest.raises(AttributeError, match="has no attribute 'fit_everything'"):
        module.fit_everything


def test_unknown_models_and_settings_name_the_nearest():
    with pytest.raises(InputError, match="no model 'scaterers'; did you mean 'scatterers'"):
        model_named("scaterers")
    with pytest.raises(InputError, match="did you mean 'neighbours'"):
        model_named("nearest-reports", neighbors=3)
    with pytest.raises(InputError, match=r"'slots'.*got 'many'"):
        model_named("virtual-anchors", slots="many")


def test_every_setting_is_saved_with_the_map(tmp_path):
    model = VirtualAnchors(cell=8.0, slots=4)
    save_maps(fit_map(street_reports(20), model), tmp_path / "m", settings=model_settings(model))
    settings = load_manifest(tmp_path / "m").settings
    assert settings.pop("model") == "virtual-anchors"
    assert VirtualAnchors.model_validate(settings) == model
    (loaded,) = load_maps(tmp_path / "m").values()
    assert isinstance(loaded, VirtualAnchorMap)
    assert loaded.slot.shape[-1] == 4


def test_every_field_of_every_model_has_its_line():
    for model in MODELS.values():
        assert all(field.description for field in model.model_fields.values()), model.name
