"""Lets the tests of channels import the world of walls that trackers are tested in."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "tracking"))
