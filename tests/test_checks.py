"""Refusals: the sentence, eager and compiled, and nothing refused that is good."""

import equinox as eqx
import jax
import jax.numpy as jnp
import pydantic
import pytest

from echoscape.checks import (
    InputError,
    finite,
    nearest_name,
    positive,
    read_settings,
    same_shape,
    unknown_name,
)

CASES = [
    (positive("delay", "s"), 2.0, -1.0, "delay must be finite and above zero, in s"),
    (positive("delay", "s"), 2.0, jnp.inf, "delay must be finite and above zero, in s"),
    (finite("height", "m"), -3.0, jnp.nan, "height must be finite, in m"),
]


@pytest.mark.parametrize(("convert", "good", "bad", "sentence"), CASES)
def test_a_bad_number_is_refused_in_one_sentence_eager_and_compiled(convert, good, bad, sentence):
    values = jnp.array([good, good])
    assert jnp.array_equal(convert(values), values)
    assert jnp.array_equal(jax.jit(convert)(values), values)
    values = values.at[1].set(bad)
    with pytest.raises(ValueError, match=sentence + "; got"):
        convert(values)
    with pytest.raises(eqx.EquinoxRuntimeError, match=sentence):
        eqx.filter_jit(convert)(values)


def test_shapes_that_differ_are_listed():
    same_shape(azimuth=jnp.ones(3), delay=jnp.zeros(3))
    with pytest.raises(ValueError, match=r"'azimuth': \(3,\), 'delay': \(2,\)"):
        same_shape(azimuth=jnp.ones(3), delay=jnp.zeros(2))


def test_a_misspelt_name_gets_the_nearest():
    known = ["departure_azimuth", "departure_zenith", "arrival_azimuth", "delay"]
    assert nearest_name("departure_azimut", known) == "departure_azimuth"
    assert nearest_name("Delays", known) == "delay"
    assert nearest_name("xyz", known) is None
    refusal = unknown_name("column", "delai", known)
    assert str(refusal) == "there is no column 'delai'; did you mean 'delay'?"
    assert "known are arrival_azimuth, delay," in str(unknown_name("column", "xyz", known))


class Inner(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)
    tilt: float = pydantic.Field(gt=0, description="tilt [rad]")


class Outer(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)
    power: float = pydantic.Field(description="power [W]")
    antenna: tuple[Inner, ...] = ()
    spare: Inner | None = None


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            "power = 1\n[[antenna]]\ntilt = 1\n[[antenna]]\ntlit = 1",
            "no setting of 'antenna.1' 'tlit'; did you mean 'tilt'",
        ),
        ("power = 1\nspare = {titl = 2}", "of 'spare' 'titl'; did you mean 'tilt'"),
        ("powr = 1", "there is no setting 'powr'; did you mean 'power'"),
        ("", r"'power' \(power \[W\]\) is missing"),
        ("power = 1\nspare = {tilt = -2}", r"tilt \[rad\]\) should be greater than 0; got -2"),
        ("power = 'much'", r"power \[W\]\) should be a valid number.*got 'much'"),
        ("power = = 2", "is not valid TOML"),
    ],
)
def test_a_wrong_setting_is_named_in_one_sentence(tmp_path, content, sentence):
    file = tmp_path / "a.toml"
    file.write_text(content)
    with pytest.raises(InputError, match=sentence) as refusal:
        read_settings(file, Outer)
    assert "\n" not in str(refusal.value)
    assert str(file) in str(refusal.value)


def test_good_settings_are_read_and_an_absent_file_is_refused(tmp_path):
    file = tmp_path / "a.toml"
    file.write_text("power = 2\n[[antenna]]\ntilt = 0.5")
    assert read_settings(file, Outer) == Outer(power=2, antenna=(Inner(tilt=0.5),))
    with pytest.raises(InputError, match=r"absent\.toml cannot be read: No such file"):
        read_settings(tmp_path / "absent.toml", Outer)
