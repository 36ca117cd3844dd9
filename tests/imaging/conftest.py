"""Lets the tests of imaging import the scenes that stand beside them."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
