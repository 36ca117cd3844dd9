"""Archives: what is written is read back, and nothing else is let in, in bounded memory."""

import io
import os
import stat
import tracemalloc
import zipfile

import numpy as np
import pytest

from echoscape.checks import InputError
from echoscape.files import largest_input, open_npz, write_npz


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "a.npz"
    arrays = {
        "place": np.arange(6.0).reshape(2, 3),
        "count": np.array([1, 2]),
        "name": np.array(["a", "b"]),
        "one": np.array(3),
        "wild": np.array([1.0, np.inf]),
    }
    write_npz(path, arrays, "things 1")
    return path


def take(path, name, *checks, **more):
    with open_npz(path, "things") as archive:
        return archive.array(name, *checks, **more)


def test_arrays_come_back_as_they_went(archive):
    with open_npz(archive, "things") as found:
        assert found.title() == "things 1"
        assert list(found) == ["place", "count", "name", "one", "wild"]
        assert len(found) == 5
        assert found.array("place", "real", ("thing", 3)).tolist() == [[0, 1, 2], [3, 4, 5]]
        assert found.array("count", "integer", ("thing",)).tolist() == [1, 2]
        assert found["name"].tolist() == ["a", "b"]
        assert found.number("one", "integer") == 3


def test_every_wrong_array_is_named_with_what_was_needed(archive):
    for checks, words in (
        (("place", "integer"), "place must be whole numbers"),
        (("name", "real"), "name must be real numbers"),
        (("place", "real", (3,)), r"place must have 1 axes, \(3\); got shape \(2, 3\)"),
        (("place", "real", (2, 4)), r"place must have the shape \(2, 4\); got \(2, 3\)"),
        (("wild",), "wild must be finite numbers; 1 of 2 are NaN or infinite"),
        (("absent",), "lacks the array 'absent'; it has place, count, name, one, wild"),
    ):
        with pytest.raises(InputError, match=words):
            take(archive, *checks)
    assert take(archive, "wild", finite=False)[1] == np.inf


def test_axes_of_one_name_have_one_length(archive):
    with open_npz(archive, "things") as found:
        found.array("count", "integer", ("thing",))
        message = r"place must have the shape \(any, thing\) with 2 for thing, as count has"
        with pytest.raises(InputError, match=message):
            found.array("place", "real", (None, "thing"))
    with (
        open_npz(archive, "things") as found,
        pytest.raises(InputError, match="place must be one number; got an array of shape"),
    ):
        found.number("place")


def rewrite(path, change):
    """Write an archive again with its members' bytes changed; their zip checksums are right."""
    with zipfile.ZipFile(path) as old:
        members = {entry.filename: old.read(entry) for entry in old.infolist()}
        comment = old.comment
    change(members)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name, content in members.items():
            new.writestr(name, content)
        new.comment = comment


def test_a_changed_array_does_not_have_its_checksum(archive):
    def change(members):
        content = bytearray(members["place.npy"])
        content[-3] ^= 0x10
        members["place.npy"] = bytes(content)

    rewrite(archive, change)
    with pytest.raises(InputError, match="content of 'place' is not what was written"):
        take(archive, "place")
    assert take(archive, "count", "integer").tolist() == [1, 2]  # nothing unneeded is read


def test_an_array_that_was_taken_out_or_put_in_is_noticed(archive):
    rewrite(archive, lambda members: members.pop("count.npy"))
    with pytest.raises(InputError, match="damaged"):
        take(archive, "place")


def test_archives_of_others_need_no_checksums(tmp_path):
    np.savez(tmp_path / "b.npz", place=np.ones(2))
    assert take(tmp_path / "b.npz", "place").tolist() == [1, 1]
    with open_npz(tmp_path / "b.npz", "things") as found:
        assert found.title() == ""


def test_an_archive_that_was_changed_on_purpose_is_read_without_checksums(archive):
    with np.load(archive) as stored:
        values = {name: stored[name] for name in stored.files}
    np.savez(archive, **(values | {"count": np.array([7, 8])}))
    assert take(archive, "count", "integer").tolist() == [7, 8]


def header(shape, kind="<f8"):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"descr": kind, "fortran_order": False, "shape": shape}
    )
    return stream.getvalue()


def zipped(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


@pytest.mark.parametrize(
    "shape", [(10**12,), (10**6, 10**6), (-1,), (1,) * 20, (2**63, 2), (10**400,)]
)
def test_a_claimed_shape_allocates_nothing(tmp_path, shape):
    zipped(tmp_path / "a.npz", {"place.npy": header(shape) + bytes(80)})
    tracemalloc.start()
    with pytest.raises(InputError, match="damaged, cut short or holds something else"):
        take(tmp_path / "a.npz", "place")
    assert tracemalloc.get_traced_memory()[1] < 10e6
    tracemalloc.stop()


def test_content_that_expands_a_thousandfold_is_refused_unless_it_is_meant(tmp_path):
    count = 9_000_000
    zipped(tmp_path / "a.npz", {"place.npy": header((count,)) + bytes(8 * count)})
    message = r"its arrays need 72 MB of memory, more than 67\.1 MB.*--largest-input 0\.072 \[GB\]"
    with pytest.raises(InputError, match=message):
        take(tmp_path / "a.npz", "place")
    with largest_input(72e6):
        assert len(take(tmp_path / "a.npz", "place")) == count
    with (
        pytest.raises(InputError, match="the largest input must be above zero, in bytes"),
        largest_input(0),
    ):
        pass


def test_pickles_links_and_foreign_members_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, place=np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="'place' holds object, objects of Python or something"):
        take(path, "place")
    link = zipfile.ZipInfo("place.npy")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(InputError, match="holds a symbolic link, 'place'"):
        take(path, "place")
    zipped(path, {"readme.txt": b"hello"})
    with pytest.raises(InputError, match=r"holds 'readme\.txt' twice or not as an array"):
        take(path, "place")
    zipped(path, {f"a{i}.npy": b"" for i in range(1001)})
    with pytest.raises(InputError, match="holds 1001 members"):
        take(path, "place")
    with pytest.raises(TypeError, match="holds objects"):
        write_npz(path, {"place": np.array([{}], dtype=object)})


def test_what_is_no_file_is_refused_before_it_is_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.npz")
    (tmp_path / "empty.npz").touch()
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(InputError, match=r"pipe\.npz is a pipe, socket or device; things were"):
        take(tmp_path / "pipe.npz", "place")
    with pytest.raises(InputError, match=r"empty\.npz is empty"):
        take(tmp_path / "empty.npz", "place")
    with pytest.raises(InputError, match=r"folder\.npz is a folder"):
        take(tmp_path / "folder.npz", "place")
    with pytest.raises(FileNotFoundError, match=r"there is no file .*none\.npz; things were"):
        take(tmp_path / "none.npz", "place")
    with pytest.raises(InputError, match=r"cannot be opened \(file name too long\)"):
        take(tmp_path / ("n" * 300 + ".npz"), "place")
    with pytest.raises(InputError, match=r"must end in \.npz"):
        take(tmp_path / "a.txt", "place")
