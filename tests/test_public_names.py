"""What a user's editor offers: public names only, all of them there, with readable signatures."""

import importlib
import inspect
import pathlib

import pytest

import echoscape

ROOT = pathlib.Path(echoscape.__file__).parent
STAGES = sorted(
    path.parent.name
    for path in ROOT.glob("*/__init__.py")
    if "__all__" in path.read_text(encoding="utf-8")
)


def test_the_front_door_offers_its_names_and_the_stages():
    offered = dir(echoscape)
    assert not [name for name in offered if name.startswith("_") and name != "__version__"]
    for name in offered:
        assert getattr(echoscape, name) is not None
    assert {"Reports", "Echoes", "Observations", "Paths", "FixStatus", "fit_map"} <= set(offered)
    assert {"StaticPoints", "write_reports", "write_echoes", "write_observations"} <= set(offered)
    with pytest.raises(AttributeError, match="module 'echoscape' has no attribute 'nonsense'"):
        echoscape.nonsense  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_offers_its_public_names_only(stage):
    module = importlib.import_module(f"echoscape.{stage}")
    assert dir(module) == sorted(module.__all__)
    for name in module.__all__:
        assert getattr(module, name) is not None


@pytest.mark.parametrize("name", ["Paths", "Reports", "Echoes", "Observations", "Fix"])
def test_signatures_are_short_enough_to_read(name):
    signature = inspect.signature(getattr(echoscape, name))
    for parameter in signature.parameters.values():
        assert "Union" not in str(parameter), parameter
        assert len(str(parameter)) < 100, parameter
