"""Scan of a whole file before it is processed: properties that its header does not state, and corrected problems."""

import dataclasses
from pathlib import Path
from typing import NamedTuple

from avsd_jax.media.audio import Blocks
from avsd_jax.media.clock import Clock
from avsd_jax.media.container import FrameReader, audio_stream, open_media, own_order
from avsd_jax.media.reading import VideoInfo, probe, scan_packets


class Survey(NamedTuple):
    """Properties of a file, and notes on problems that were corrected while it was read."""

    info: VideoInfo
    remarks: tuple[str, ...]


class Listening(NamedTuple):
    """Properties of the audio of a file after decoding all of it.

    Attributes:
        samples: number of samples.
        replaced: samples that are not finite.
        damaged: packets that cannot be decoded.
        as_stored: whether its packets can be copied: one run of audio with valid time stamps and samples.
    """

    samples: int
    replaced: int
    damaged: int
    as_stored: bool


def survey(path: str | Path) -> Survey:
    """Describes a video file as `avsd_jax.media.reading.probe` does, from all its packets and all its audio.

    The rate is the mean of the frames, whatever the container states; an audio track in which nothing can be decoded
    is treated as missing. This takes a small fraction of the time of decoding the video.

    Raises:
        InputError: the file is missing or damaged, or has no video stream that can be decoded.
    """
    info = probe(path)
    packets = scan_packets(info.path)
    remarks = _clock_remarks(packets.clock)
    info = dataclasses.replace(info, fps=packets.fps(info.fps), num_frames=packets.frames)
    if info.audio is not None:
        heard = listen(info)
        info = dataclasses.replace(info, audio_as_stored=heard.as_stored)
        if not heard.samples:
            info = dataclasses.replace(info, audio=None)
            remarks.append("the audio track is empty: there is no audio")
        elif heard.damaged:
            remarks.append(f"{heard.damaged} packets of the audio cannot be decoded: they are replaced by silence")
        if heard.replaced:
            remarks.append(f"{heard.replaced} samples of the audio are not finite: they are replaced by silence")
    return Survey(info, tuple(remarks))


def listen(info: VideoInfo) -> Listening:
    """Decodes all the audio of a video.

    Raises:
        InputError: the file is missing or damaged.
    """
    with open_media(info.path) as container:
        stream = audio_stream(container)
        reader = FrameReader(container, stream)
        blocks = Blocks(reader, info.start)
        for _ in blocks:
            pass
        out_of_order = blocks.runs != 1 or blocks.unstamped or blocks.replaced or reader.clock.jumps
        as_stored = not out_of_order and own_order(container, stream) is None
        return Listening(blocks.samples, blocks.replaced, reader.damaged, as_stored)


def _clock_remarks(clock: Clock) -> list[str]:
    if clock.first_jump is None:
        return []
    at, by = clock.first_jump
    times = "once" if clock.jumps == 1 else f"{clock.jumps} times"
    return [f"its clock jumps {times}, first by {by:+.1f} s after {at:.1f} s: the parts are joined without the gap"]
