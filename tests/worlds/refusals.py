"""Refusals of a wrong kind or shape: ours, or first the annotation's, where those are checked."""

import contextlib
import re

import pytest

from echoscape.checks import InputError


@contextlib.contextmanager
def refused(sentence):
    with pytest.raises((InputError, TypeError)) as caught:
        yield
    if isinstance(caught.value, InputError):
        assert re.search(sentence, str(caught.value)), str(caught.value)
        assert "\n" not in str(caught.value)
