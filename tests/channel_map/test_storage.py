"""Maps on disk: what comes back is what went in, and nothing half-written is ever read."""

import dataclasses
import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from echoscape.channel_map import fit_map, storage
from echoscape.channel_map.learned.training import Network
from echoscape.channel_map.nearest_neighbours import NearestReports
from echoscape.channel_map.prior import ChannelMap
from echoscape.channel_map.storage import MANIFEST, data_hash, load_manifest, load_maps, save_maps
from echoscape.checks import InputError
from echoscape.files import output
from tests.worlds.mirrors import street_reports, two_stations


@pytest.fixture(scope="module")
def reports():
    return street_reports(20)


@pytest.fixture(scope="module")
def nearest(reports):
    return fit_map(reports, NearestReports())


@pytest.fixture(scope="module")
def network(reports):
    settings = Network(hidden=(8,), epochs=2)
    return fit_map(reports, settings, key=jax.random.key(1))


def same(one, other):
    leaves, structure = jax.tree.flatten(one)
    others, other_structure = jax.tree.flatten(other)
    assert structure == other_structure
    for a, b in zip(leaves, others, strict=True):
        assert type(a) is type(b)
        assert a.dtype == b.dtype
        assert np.array_equal(a, b)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["nearest", "network"])
def test_a_map_comes_back_bit_for_bit(kind, request, tmp_path):
    one = request.getfixturevalue(kind)
    back = load_maps(save_maps(one, tmp_path / "new" / "map"))["roof"]
    assert type(back) is type(one)
    same(one, back)
    place = jnp.array([-10.0, 3.0, 1.5])
    same(one(place), back(place))


@pytest.mark.filterwarnings("ignore::echoscape.reports.finding.GeometryWarning")  # wrong on purpose
def test_maps_of_several_stations_share_a_folder(reports, nearest, network, tmp_path):
    tower = fit_map(two_stations(reports), NearestReports(), station="tower")
    folder = save_maps(
        {"roof": network, "tower": tower},
        tmp_path / "map",
        settings=NearestReports(neighbours=3),
        seed=7,
        data_sha256=data_hash(reports),
        scores={"median": 0.5},
    )
    back = load_maps(folder)
    assert list(back) == ["roof", "tower"]
    same(network, back["roof"])
    same(tower, back["tower"])
    said = load_manifest(folder)
    assert (said.seed, said.scores, said.settings["neighbours"]) == (7, {"median": 0.5}, 3)
    assert said.data_sha256 == data_hash(reports)
    text = (folder / MANIFEST).read_text()
    assert '"kind": "nearest"' in text
    assert len(text) < 20_000  # readable


def test_the_hash_of_data_is_of_its_values(reports):
    again = jax.tree.map(np.copy, reports)
    assert data_hash(again) == data_hash(reports)
    again.estimates.length[3, 2] *= 1 + 1e-15
    assert data_hash(again) != data_hash(reports)
    renamed = dataclasses.replace(reports, station=("hill",))
    assert data_hash(renamed) != data_hash(reports)


def test_a_map_is_replaced_whole_and_leaves_nothing_behind(nearest, network, tmp_path):
    folder = save_maps(nearest, tmp_path / "map")
    save_maps(network, folder)
    same(network, load_maps(folder)["roof"])
    names = {path.name for path in folder.iterdir()}
    assert names == {MANIFEST, load_manifest(folder).arrays, output.LIST}
    assert list(tmp_path.iterdir()) == [folder]


def test_an_interrupted_write_leaves_what_was_there(nearest, network, tmp_path, monkeypatch):
    def failing(*names):
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(output.os, "rename", failing)
        with pytest.raises(OSError, match="the disk is full"):
            save_maps(nearest, tmp_path / "map")
        assert list(tmp_path.iterdir()) == []
    folder = save_maps(nearest, tmp_path / "map")
    monkeypatch.setattr(output, "_exchange", failing)
    with pytest.raises(OSError, match="the disk is full"):
        save_maps(network, folder)
    same(nearest, load_maps(folder)["roof"])
    assert list(tmp_path.iterdir()) == [folder]


def test_a_folder_of_something_else_is_not_overwritten(nearest, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="exists and is no map folder"):
        save_maps(nearest, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


def edited(folder, **changes):
    content = json.loads((folder / MANIFEST).read_text())
    content.update(changes)
    content["content_sha256"] = storage._content_hash(content)
    (folder / MANIFEST).write_text(json.dumps(content))


def test_what_cannot_be_read_is_refused_in_a_sentence(nearest, tmp_path):
    with pytest.raises(InputError, match=r"is no map folder: it has no manifest\.json"):
        load_maps(tmp_path / "nowhere")
    folder = save_maps(nearest, tmp_path / "map")
    arrays = folder / load_manifest(folder).arrays
    whole, text = arrays.read_bytes(), (folder / MANIFEST).read_text()

    arrays.write_bytes(whole[:-100])
    with pytest.raises(InputError, match="is damaged: copy or fit the map again"):
        load_maps(folder)
    arrays.unlink()
    with pytest.raises(InputError, match=r"is incomplete: arrays-\w+\.safetensors is missing"):
        load_maps(folder)
    arrays.write_bytes(whole)

    (folder / MANIFEST).write_text(text[:200])
    with pytest.raises(InputError, match="is damaged: it is not JSON"):
        load_maps(folder)
    (folder / MANIFEST).write_text('{"format": "cookbook"}')
    with pytest.raises(InputError, match=r"its manifest\.json is of something else"):
        load_maps(folder)
    (folder / MANIFEST).write_text(text)
    edited(folder, format_version=99)
    with pytest.raises(InputError, match="format version 99, this package reads 1"):
        load_maps(folder)
    edited(folder, format_version=1, arrays=3)
    with pytest.raises(InputError, match="is damaged at 'arrays'"):
        load_maps(folder)
    edited(folder, arrays="../arrays.safetensors")
    with pytest.raises(InputError, match="is damaged at 'arrays'"):
        load_maps(folder)
    (folder / MANIFEST).write_text(text.replace('"kind": "nearest"', '"kind": "nearst"'))
    with pytest.raises(InputError, match="no kind of map 'nearst'; did you mean 'nearest'"):
        load_maps(folder)
    (folder / MANIFEST).write_text(text.replace('"reported_paths"', '"reported"'))
    with pytest.raises(InputError, match="is damaged at station 'roof'"):
        load_maps(folder)


def test_arrays_of_another_shape_are_refused_though_the_hash_agrees(nearest, tmp_path):
    folder = save_maps(nearest, tmp_path / "map")
    arrays = folder / load_manifest(folder).arrays
    content = load_file(arrays)
    del content["roof/power"]
    save_file(content, arrays)
    edited(folder, arrays_sha256=storage.hashlib.sha256(arrays.read_bytes()).hexdigest())
    with pytest.raises(InputError, match="is damaged at station 'roof'"):
        load_maps(folder)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("station_position", lambda array: array[:2]),
        ("report_position", lambda array: array[:-1]),
        ("report_position", lambda array: np.where(array == array[3, 1], np.nan, array)),
        ("report_position", lambda array: np.where(array == array[3, 1], np.inf, array)),
        ("report_position", lambda array: array.astype(np.int64)),
        ("power", lambda array: array[..., None]),
    ],
)
def test_arrays_that_do_not_fit_are_refused_though_all_hashes_agree(
    nearest, tmp_path, name, change
):
    folder = save_maps(nearest, tmp_path / "map")
    arrays = folder / load_manifest(folder).arrays
    content = load_file(arrays)
    content[f"roof/{name}"] = np.ascontiguousarray(change(content[f"roof/{name}"]))
    save_file(content, arrays)
    edited(folder, arrays_sha256=storage.hashlib.sha256(arrays.read_bytes()).hexdigest())
    with pytest.raises(InputError, match="is damaged at station 'roof'"):
        load_maps(folder)


def test_a_plain_value_of_another_type_is_refused(nearest, tmp_path):
    folder = save_maps(nearest, tmp_path / "map")
    content = json.loads((folder / MANIFEST).read_text())
    content["maps"]["roof"]["fields"]["station"] = {"value": 3}
    edited(folder, maps=content["maps"])
    with pytest.raises(InputError, match="is damaged at station 'roof': its station does not fit"):
        load_maps(folder)
    edited(folder, maps={})
    with pytest.raises(InputError, match="holds no map of any station"):
        load_maps(folder)
    edited(folder, maps={"hill": content["maps"]["roof"]})
    with pytest.raises(InputError, match="is damaged at station 'hill'"):
        load_maps(folder)


def test_a_manifest_that_somebody_changed_has_another_checksum(nearest, tmp_path):
    folder = save_maps(nearest, tmp_path / "map", seed=7)
    text = (folder / MANIFEST).read_text()
    (folder / MANIFEST).write_text(text.replace('"seed": 7', '"seed": 8'))
    for read in (load_maps, load_manifest):
        with pytest.raises(InputError, match="its content is not what was written"):
            read(folder)
    content = json.loads(text)
    del content["content_sha256"]  # as earlier versions wrote it
    (folder / MANIFEST).write_text(json.dumps(content))
    same(nearest, load_maps(folder)["roof"])


def test_a_class_without_a_name_is_a_mistake_of_the_programmer(tmp_path):
    class Nameless(ChannelMap):
        station_position: np.ndarray
        report_position: np.ndarray
        station: str = eqx.field(static=True, default="roof")

        def __call__(self, position):
            raise NotImplementedError

    with pytest.raises(TypeError, match="Nameless has no @storable name"):
        save_maps(Nameless(np.zeros(3), np.zeros((1, 3))), tmp_path / "map")
    assert list(tmp_path.iterdir()) == []
