"""Scalars stay intact: on a full disk, after a kill, and beside a damaged line."""

import pathlib
import resource
import struct

import pytest
from file_limit import file_limit
from tensorboardX.proto.event_pb2 import Event, SessionLog

from avsd_jax.errors import StorageError
from avsd_jax.training.metric_writer import MetricWriter, read_scalars


def steps(folder: pathlib.Path) -> list[int]:
    return [line["step"] for line in read_scalars(folder / "metrics.jsonl")]


def test_a_bad_line_costs_itself_alone(tmp_path: pathlib.Path) -> None:
    lines = [
        b'{"step": 1, "loss": NaN}',
        b'{"step": 2, "lo',
        b"\xff\xfe",
        b"3",
        b"null",
        b'{"loss": 1}',
        b'{"step": 4}',
    ]
    (tmp_path / "metrics.jsonl").write_bytes(b"\n".join([*lines, b'{"step": 9}', b'{"step": 10']))
    assert steps(tmp_path) == [1, 4, 9]
    writer = MetricWriter(tmp_path, resume_step=4, tensorboard=False)
    writer.write_scalars(5, {"loss": 2.0})
    writer.close()
    assert steps(tmp_path) == [1, 4, 5]


@pytest.mark.parametrize("tensorboard", [False, True])
def test_a_full_disk_leaves_whole_lines(tmp_path: pathlib.Path, tensorboard: bool) -> None:
    writer = MetricWriter(tmp_path, tensorboard=tensorboard)

    def fill() -> None:
        for step in range(1000):
            writer.write_scalars(step, {"loss": 0.5, "kl": 1.5})

    with file_limit(1000), pytest.raises(StorageError, match=r"cannot be written \(File too large\)"):
        fill()
    writer.close()
    text = (tmp_path / "metrics.jsonl").read_text()
    assert text.endswith("}\n")
    assert len(text.splitlines()) == len(steps(tmp_path)) > 3


def test_a_full_disk_at_the_start_keeps_the_lines_there_are(tmp_path: pathlib.Path) -> None:
    writer = MetricWriter(tmp_path, tensorboard=False)
    for step in range(10):
        writer.write_scalars(step, {"loss": 0.5})
    writer.close()
    with file_limit(20), pytest.raises(StorageError):
        MetricWriter(tmp_path, resume_step=8)
    assert steps(tmp_path) == list(range(10))
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 20


def test_tensorboard_events_carry_the_scalars_and_hide_what_a_resumed_run_makes_anew(tmp_path: pathlib.Path) -> None:
    writer = MetricWriter(tmp_path, resume_step=6)
    writer.write_scalars(7, {"loss": 0.5, "kl": 1.5})
    writer.close()
    (path,) = tmp_path.glob("events.out.tfevents.*")
    data, events = path.read_bytes(), []
    while data:  # length, its checksum, the event, its checksum
        (length,) = struct.unpack("Q", data[:8])
        events.append(Event.FromString(data[12 : 12 + length]))
        data = data[16 + length :]
    assert events[0].file_version == "brain.Event:2"
    assert (events[1].step, events[1].session_log.status) == (7, SessionLog.START)
    scalars = [(event.step, event.summary.value[0].tag, event.summary.value[0].simple_value) for event in events[2:]]
    assert scalars == [(7, "loss", 0.5), (7, "kl", 1.5)]
