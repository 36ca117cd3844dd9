"""Figures are written twice under one name by commands, and never over another's file."""

import resource

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


def test_a_full_disk_is_named_with_the_cure_whatever_the_format(tmp_path):
    """Compressed formats close with an error of their own, which hid that the disk is full."""
    figure = Figure(figsize=(4, 4))
    figure.add_subplot().plot(range(400), [7 * k % 11 for k in range(400)])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (512, before[1]))
        for suffix in ("png", "pdf", "svg"):
            with pytest.raises(
                InputError, match=rf"a\.{suffix} cannot be written .*choose another"
            ):
                write_figure(figure, tmp_path / f"a.{suffix}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []
