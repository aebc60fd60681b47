"""Detection of damage inside video files by decoding them; it is counted, and refused beyond a tolerance.

A decoder marks a frame that it had to conceal, but not those that are predicted from it: all frames up to
the next key frame are affected as well. Decoders of H.264, MPEG-1, -2 and -4 and of image sequences (Motion JPEG) mark
what they conceal; those of HEVC, VP8, VP9 and AV1 detect little. Zeros instead of data, as a bad disk leaves them,
may be a valid code: H.264 and HEVC forbid three zero bytes in a row, which is checked.
"""

import itertools
from dataclasses import dataclass
from pathlib import Path

import av
from absl import logging

from avsd_jax.errors import InputError
from avsd_jax.media import reading

# Fraction of a video's frames that may be damaged: more is refused, less is reported.
TOLERANCE = 0.01
_SHOWN = 5
# Byte sequences that no unit of H.264 and HEVC contains (7.4.1 and 7.4.2 of the standards): writers insert a byte.
_FORBIDDEN = (b"\0\0\0", b"\0\0\1", b"\0\0\2")
# Zero bytes that some writers leave after a unit.
_FILLING = 8
# Position in the codec header of mp4, mov and mkv of the size of a unit's length field in bytes, minus one.
_LENGTH_BYTES = {"h264": 4, "hevc": 21}


@dataclass
class _Packet:
    """A packet of the video stream: its time, whether frames may begin or depend on it, and whether it is damaged."""

    pts: int | None
    key: bool
    disposable: bool
    damaged: bool


def look_through(path: Path) -> tuple[int, tuple[tuple[int, int], ...]]:
    """Decodes a video file completely.

    Args:
        path: a file that `reading.probe` opens.

    Returns:
        Number of frames in the file, and runs (first, last) of damaged ones, counted from 1 in display order. A
        frame that may depend on a damaged one counts as damaged.

    Raises:
        InputError: it cannot be opened.
    """
    packets: list[_Packet] = []
    marked: set[int | None] = set()
    with reading.open_media(path) as container:
        stream = container.streams.best("video")
        # With frame threads an error is reported for a later packet; with slice threads H.264 detects less.
        stream.thread_type = "NONE"
        if stream.codec_context.codec.intra_only:
            # No frame depends on another, and only in this mode does the decoder report damage.
            stream.codec_context.options = {"err_detect": "explode"}
        length_bytes = _length_bytes(stream.codec_context)
        demuxed = container.demux(stream)
        while True:
            try:
                packet = next(demuxed)
            except (StopIteration, av.error.FFmpegError):  # where the file is truncated
                break
            if packet.size:
                damaged = packet.is_corrupt or (length_bytes > 0 and _impossible(bytes(packet), length_bytes))
                packets.append(_Packet(packet.pts, packet.is_keyframe, packet.is_disposable, damaged))
            try:
                frames = packet.decode()
            except av.error.FFmpegError:
                if packets:
                    packets[-1].damaged = True
                continue
            marked.update(frame.pts for frame in frames if frame.is_corrupt)
    return len(packets), _runs(packets, marked)


def _length_bytes(context: av.VideoCodecContext) -> int:
    """Returns the size in bytes of the length field before each unit of a packet; 0 if units have none."""
    header = context.extradata or b""
    place = _LENGTH_BYTES.get(context.codec.canonical_name, len(header))
    return (header[place] & 3) + 1 if place < len(header) and header[0] == 1 else 0


def _impossible(data: bytes, length_bytes: int) -> bool:
    """Returns whether a packet of H.264 or HEVC has a unit with a forbidden byte sequence."""
    at = 0
    while at + length_bytes < len(data):
        start = at + length_bytes
        at = start + int.from_bytes(data[at:start], "big")
        unit = data[start:at]
        filled = unit.rstrip(b"\0")
        if len(unit) - len(filled) > _FILLING or any(forbidden in filled for forbidden in _FORBIDDEN):
            return True
    return False


def _runs(packets: list[_Packet], marked: set[int | None]) -> tuple[tuple[int, int], ...]:
    """Computes runs of damaged frames, from packets in file order and the times of marked frames."""
    reached, affected = False, []
    for packet in packets:
        damaged = packet.damaged or (packet.pts is not None and packet.pts in marked)
        # Packets after a key frame do not depend on earlier ones; no packet depends on a disposable one.
        reached = (reached and not packet.key) or (damaged and not packet.disposable)
        affected.append(reached or damaged)
    times = [packet.pts for packet in packets]
    if None in times:  # old containers have no times; their frames are in file order
        times = list(range(len(packets)))
    shown = [bad for _, bad in sorted(zip(times, affected, strict=True))]
    runs, number = [], 1
    for bad, group in itertools.groupby(shown):
        length = len(list(group))
        if bad:
            runs.append((number, number + length - 1))
        number += length
    return tuple(runs)


def check_video(path: Path) -> tuple[str, ...]:
    """Decodes a video file completely; logs and returns sentences that count and name damaged frames.

    Args:
        path: a file that `reading.probe` opens.

    Raises:
        InputError: it cannot be opened, or more than `TOLERANCE` of its frames are damaged.
    """
    total, runs = look_through(path)
    count = sum(last - first + 1 for first, last in runs)
    if not count:
        return ()
    names = ", ".join(f"{first} to {last}" if last > first else f"{first}" for first, last in runs[:_SHOWN])
    said = f"{path} has {count} damaged frames of {total} ({names}{', ...' if len(runs) > _SHOWN else ''})"
    if count > TOLERANCE * total:
        raise InputError(f"{said}, more than {TOLERANCE:.0%}: restore the file")
    logging.warning("%s: they are used as they are", said)
    return (f"{said}: they are used as they are",)
