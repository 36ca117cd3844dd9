"""Figures are written twice under one name by commands, and never over another's file."""

import pytest
from matplotlib.figure import Figure

from echoscape.checks import InputError
from echoscape.files import output
from echoscape.plotting.saving import write_figure


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg", "eps"])
def test_a_second_run_replaces_the_figure_of_the_first(tmp_path, suffix):
    path = tmp_path / f"figure.{suffix}"
    figure = Figure(figsize=(2, 2))
    figure.add_subplot().plot([0, 1], [1, 0])
    with output.protecting():
        write_figure(figure, path)
        first = path.stat().st_ino
        write_figure(figure, path)
    assert path.stat().st_ino != first
    path.write_bytes(b"a picture of somebody else")
    with output.protecting(), pytest.raises(InputError, match="was not written by echoscape"):
        write_figure(figure, path)


def test_a_format_that_cannot_be_marked_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"figure\.bmp must end in \.png, \.pdf"):
        write_figure(Figure(), tmp_path / "figure.bmp")
