"""The site file: read, written, and every way to get it wrong."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

from echoscape.checks import InputError
from echoscape.scene import PlanarArray, Site, scatterer_position

GOOD = """
carrier_frequency = 28e9
bandwidth = 400_000_000
mesh = "city.npz"

[bounds]
lower = [-10, 47.0, 0.0]
upper = [250.0, 307.0, 30.0]

[[station]]
name = "roof"
position = [120.4, 222.4, 10.0]
array = { rows = 8, columns = 4, azimuth_deg = -90, tilt = 0.1 }

[[station]]
name = "mast \\"B\\""
position = [20.0, 60.5, 6.0]

[[scatterer]]
position = [31.0, 80.0, 4.0]
cross_section = 10.0
"""


@pytest.fixture
def site(tmp_path):
    file = tmp_path / "site.toml"
    file.write_text(GOOD)
    return Site.from_toml(file)


def test_a_file_becomes_a_site(site, tmp_path):
    assert site.carrier_frequency == 28e9
    assert site.bandwidth == 4e8
    assert np.isclose(site.wavelength, 0.0107, atol=1e-5)
    assert site.station == ("roof", 'mast "B"')
    assert np.array_equal(site.station_position, [[120.4, 222.4, 10.0], [20.0, 60.5, 6.0]])
    assert site.array[0] == PlanarArray(rows=8, columns=4, azimuth=-np.pi / 2, tilt=0.1)
    assert site.array[1] == PlanarArray()
    assert np.array_equal(site.bounds, [[-10, 47, 0], [250, 307, 30]])
    assert np.array_equal(site.scatterer_position, [[31.0, 80.0, 4.0]])
    assert np.array_equal(site.scatterer_cross_section, [10.0])
    assert site.mesh == str(tmp_path / "city.npz")


def test_what_is_written_reads_back_the_same(site, tmp_path):
    again = tmp_path / "again.toml"
    again.write_text(site.to_toml())
    assert eqx.tree_equal(Site.from_toml(again), site)
    bare = eqx.tree_at(
        lambda site: (site.scatterer_position, site.scatterer_cross_section),
        site,
        (jnp.zeros((0, 3)), jnp.zeros(0)),
    )
    again.write_text(bare.to_toml())
    assert eqx.tree_equal(Site.from_toml(again), bare)


@pytest.mark.parametrize(
    ("good", "bad", "sentence"),
    [
        ("bandwidth", "bandwith", "there is no setting 'bandwith'; did you mean 'bandwidth'"),
        ("tilt = 0.1", "titl = 0.1", "no setting of 'station.0.array' 'titl'; did you mean 'tilt"),
        ("cross_section", "crosssection", "of 'scatterer.0' .*did you mean 'cross_section'"),
        ("28e9", "-28e9", r"'carrier_frequency' \(in Hz\) should be greater than 0; got -28"),
        ("28e9", "nan", r"'carrier_frequency' \(in Hz\) should be a finite number"),
        ("28e9", "true", r"'carrier_frequency' \(in Hz\) should be a valid number; got True"),
        ("carrier_frequency = 28e9", "", r"'carrier_frequency' \(in Hz\) is missing"),
        ("azimuth_deg = -90", "azimuth = -90", "in rad; azimuth_deg takes degrees.*got -90"),
        ("tilt = 0.1", "tilt = 0.1, tilt_deg = 5", r"give tilt \[rad\] or tilt_deg"),
        ("rows = 8", "rows = 0", "'station.0.array.rows'.*greater than or equal to 1; got 0"),
        ('"mast \\"B\\""', '"roof"', "names of stations must differ; got roof, roof"),
        ("[-10, 47.0", "[900, 47.0", r"bounds: lower \(900.0, 47.0, 0.0\) must not exceed"),
        ("position = [31.0, 80.0, 4.0]", "position = [31.0, 80.0]", "scatterer.0.position.2"),
    ],
)
def test_a_wrong_file_is_refused_in_one_sentence(tmp_path, good, bad, sentence):
    assert good in GOOD
    file = tmp_path / "site.toml"
    file.write_text(GOOD.replace(good, bad))
    with pytest.raises(InputError, match=sentence) as refusal:
        Site.from_toml(file)
    assert "\n" not in str(refusal.value)


def test_a_station_is_found_by_name_or_the_nearest_is_offered(site):
    assert site.station_index('mast "B"') == 1
    with pytest.raises(InputError, match="there is no station 'rof'; did you mean 'roof'"):
        site.station_index("rof")


def test_values_that_cannot_be_are_refused():
    good = {
        "carrier_frequency": 28e9,
        "bandwidth": 4e8,
        "station": ("a",),
        "station_position": jnp.zeros((1, 3)),
        "array": (PlanarArray(),),
        "bounds": jnp.array([[0.0, 0, 0], [1, 1, 1]]),
        "scatterer_position": jnp.zeros((2, 3)),
        "scatterer_cross_section": jnp.ones(2),
    }
    Site(**good)
    for change, sentence in [
        ({"bandwidth": 0.0}, "bandwidth must be finite and above zero, in Hz; got 0"),
        ({"array": ()}, "one name, one position and one array for each station"),
        ({"scatterer_cross_section": -jnp.ones(2)}, "scatterer_cross_section must be finite and"),
        ({"station_position": jnp.full((1, 3), jnp.nan)}, "station_position must be finite, in m"),
        (
            {
                "station": ("a", "a"),
                "station_position": jnp.zeros((2, 3)),
                "array": (PlanarArray(), PlanarArray()),
            },
            "names of stations must differ; got a, a",
        ),
    ]:
        with pytest.raises(ValueError, match=sentence):
            Site(**{**good, **change})


def test_static_points_are_the_scatterers_with_radar_gains(site):
    points = site.static_points()
    np.testing.assert_array_equal(scatterer_position(points), [[31.0, 80.0, 4.0]])
    wavelength = 299_792_458.0 / 28e9
    expected = wavelength**2 * 10.0 / (4 * np.pi) ** 3  # the bistatic radar equation at 1 m each
    np.testing.assert_allclose(np.exp(points.log_gain), [expected], rtol=1e-6)
    assert points.provenance == ("site",)
