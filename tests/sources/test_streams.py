"""What is sent is what is kept; what cannot be right is refused whole, with its sentence."""

import dataclasses
import json
import threading

import numpy as np
import pytest

from echoscape.checks import InputError
from echoscape.reports import Echoes
from echoscape.scene import PlanarArray
from echoscape.signals import EchoSnapshots, Waveform
from echoscape.sources import (
    Batch,
    Sender,
    from_line,
    from_parts,
    keep,
    receive,
    replay,
    to_line,
    to_parts,
)
from echoscape.store import Store, count_rows, find_echoes, find_reports
from tests.store.test_store import reports

ECHOES = Echoes.from_arrays(
    departure_azimuth=[[0.1, 0.4], [1.0, 2.0]], arrival_azimuth=[[0.2, -0.3], [0.7, 0.6]],
    length=[[80.0, 95.0], [120.0, 140.0]], length_std=0.3, power=[[1e-9, 2e-10], [3e-9, 1e-9]],
    departure_azimuth_std=0.02, arrival_azimuth_std=0.02, departure_zenith=[[1.5, 1.6], [1.4, 1.5]],
    arrival_zenith=[[1.6, 1.5], [1.5, 1.7]], departure_zenith_std=0.02, arrival_zenith_std=0.02,
    station="roof", time=[3.0, 1.0], target=[5, 9],
)  # fmt: skip


@pytest.fixture
def store(tmp_path):
    made = Store.create(str(tmp_path / "site.db"))
    yield made
    made.close()


def same(one, two):
    assert one.kind == two.kind
    assert one.source == two.source
    for field in dataclasses.fields(one.content):
        a, b = getattr(one.content, field.name), getattr(two.content, field.name)
        if field.name == "estimates":
            for name in ("length", "power", "departure_azimuth", "valid"):
                np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=1e-12)
        elif isinstance(a, np.ndarray):
            np.testing.assert_allclose(a, b, rtol=1e-12)
        else:
            assert a == b


@pytest.mark.parametrize("content", [reports(7, seed=5), ECHOES])
@pytest.mark.parametrize(
    "there_and_back",
    [lambda b: from_line(to_line(b)), lambda b: from_parts(*to_parts(b))],
    ids=["line", "message"],
)
def test_batches_come_back(content, there_and_back):
    batch = Batch("walk", content)
    same(batch, there_and_back(batch))


def test_a_replay_keeps_order_and_pace():
    waits, given = [], reports(9, seed=2)
    given = dataclasses.replace(given, time=np.array([4.0, 0, 8, 2, 6, 1, 3, 5, 7]))
    found = list(replay(given, "walk", speed=1e-3, together=4, wait=waits.append))
    assert [len(batch.content.time) for batch in found] == [4, 4, 1]
    assert np.concatenate([batch.content.time for batch in found]).tolist() == list(range(9))
    assert waits == pytest.approx([3e3, 7e3, 8e3], abs=60.0)
    assert len(list(replay(given, "walk", wait=waits.append))) == 1
    assert len(waits) == 3  # without a speed nothing waits
    for wrong in ({"speed": 0.0}, {"speed": float("nan")}, {"together": 0}):
        with pytest.raises(InputError, match=r"above zero|at least 1"):
            next(replay(given, "walk", **wrong))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"\xff\xfe", "a batch as JSON"),
        ("[]", "a batch as JSON"),
        ('{"kind": "songs", "source": "a"}', "a batch as JSON"),
        ('{"kind": "reports", "source": "a"}', "reports: Field required"),
        ('{"kind": "echoes", "source": "a", "sets": [{"target": true}]}', "sets.0.target"),
    ],
)
def test_lines_that_cannot_be_right_are_refused(line, words):
    with pytest.raises(InputError, match=words):
        from_line(line)


@pytest.mark.parametrize(
    ("head", "body", "words"),
    [
        (b"{", b"", "the head of a message"),
        (b'{"kind": "songs", "source": "a"}', b"", "one of the kinds"),
        (b'{"kind": "reports", "source": ""}', b"", "the head of a message"),
        (b'{"kind": "reports", "source": "a"}', b"junk", "damaged"),
        (b'{"kind": "samples", "source": "a"}', b"junk", "samples"),
    ],
)
def test_messages_that_cannot_be_right_are_refused(head, body, words):
    with pytest.raises(InputError, match=words):
        from_parts(head, body)


def snapshots():
    """One echo at a time, from 0.3 rad, with a little noise."""
    array = PlanarArray(1, 6, azimuth=0.0, tilt=0.0)
    wave = Waveform(subcarriers=16, spacing=1e6, symbols=1)
    rng = np.random.default_rng(0)
    steering = np.exp(-1j * np.pi * np.arange(6) * np.sin(0.3))
    tones = np.exp(-2j * np.pi * np.arange(16) * 1e6 * 2e-7)
    clean = steering[:, None, None] * steering[None, :, None] * tones
    received = clean + 1e-3 * rng.normal(size=(2, 6, 6, 16))
    return EchoSnapshots(
        received.astype(complex), np.array([3, 4]), np.array([1.0, 2.0]), wave, array, array,
        "roof", "roof", 1e-6,
    )  # fmt: skip


def test_samples_become_echoes(store):
    batch = from_parts(*to_parts(Batch("testbed", snapshots())))
    assert batch.kind == "samples"
    assert keep(store, batch).new == 2
    found = find_echoes(store)
    assert found.target.tolist() == [3, 4]
    assert found.estimates.valid.any(axis=1).all()
    np.testing.assert_allclose(found.estimates.length[:, 0], 2e-7 * 299_792_458.0, rtol=0.02)
    with pytest.raises(InputError, match="over ZeroMQ"):
        to_line(batch)
    (half,) = list(replay(batch.content, "testbed", together=5))
    np.testing.assert_array_equal(half.content.received, batch.content.received)


def test_senders_learn_what_is_kept(store):
    pytest.importorskip("zmq")
    import zmq

    ending, results = threading.Event(), []
    address = "tcp://127.0.0.1:48791"

    def serve():
        for found in receive(address, lambda batch: keep(store, batch), ending.is_set):
            results.append(found)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    given = reports(20, seed=8)
    with Sender(address) as sender:
        assert [sender.send(each).new for each in replay(given, "walk", together=8)] == [8, 8, 4]
        assert sender.send(Batch("walk", given[np.arange(5)])).repeated == 5
        moved = dataclasses.replace(given, station_position=given.station_position + 9.0)
        with pytest.raises(InputError, match="refused a batch: station"):
            sender.send(Batch("walk", moved))
        assert sender.send(Batch("radar", ECHOES)).new == 2
    raw = zmq.Context.instance().socket(zmq.REQ)
    raw.connect(address)
    raw.send_multipart([b"only one part"])
    assert "two parts" in json.loads(raw.recv())["problem"]
    raw.close()
    with pytest.raises(InputError, match="free port"):
        next(receive(address, lambda batch: keep(store, batch)))
    ending.set()
    thread.join()
    assert [isinstance(said, InputError) for _, said in results] == [0, 0, 0, 0, 1, 0, 1]
    assert count_rows(store)["reports"] == 20
    order = np.argsort(given.time, kind="stable")
    np.testing.assert_array_equal(find_reports(store).position, given.position[order])


def test_a_receiver_that_is_away_is_named():
    pytest.importorskip("zmq")
    with Sender("tcp://127.0.0.1:48792", patience=0.1) as sender:  # noqa: SIM117
        with pytest.raises(InputError, match="nobody answered"):
            sender.send(Batch("walk", reports(1, seed=1)))
