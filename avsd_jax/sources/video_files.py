"""Cheap inspection of video files by their packets, without decoding."""

from pathlib import Path

import av

from avsd_jax.errors import InputError
from avsd_jax.media import reading
from avsd_jax.sources import plausible

_FIRST_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide")  # old MOV files have no ftyp


def count_packets(path: Path) -> reading.FrameCount:
    """Counts frames: as the container states, and as there are packets with content.

    `reading.count_frames` decodes them instead. A file whose end is missing has fewer packets than it states.

    Raises:
        InputError: the file is missing or damaged, or has no video.
    """
    with reading.open_media(path) as container:
        stream = container.streams.best("video")
        if stream is None:
            raise InputError(f"{path} has no video stream: give a file with images")
        count = 0
        try:
            for packet in container.demux(stream):
                count += packet.size > 0 and not packet.is_discard
        except av.error.FFmpegError:  # the file is truncated: use what came before
            pass
        # More packets than frames are fields of frames, and nothing is missing.
        return reading.FrameCount(stream.frames or None, min(count, stream.frames or count))


def probed(path: Path) -> reading.VideoInfo:
    """Returns what a video file says of itself, which is checked: that it is whole, and of a size that can be true.

    Raises:
        InputError: the file is missing, damaged or shorter than it says, has no video, or one of an implausible size.
    """
    info = reading.probe(path)
    check_whole(path)
    plausible.checked_size((info.height, info.width), path)
    return info


def check_whole(path: Path) -> None:
    """Refuses an MP4 or MOV file whose end is missing according to its boxes.

    Raises:
        InputError: it is shorter than the sum of its boxes, or cannot be read.
    """
    try:
        length, at = path.stat().st_size, 0
        with path.open("rb") as file:
            while at < length:
                file.seek(at)
                header = file.read(16)
                if (at == 0 and header[4:8] not in _FIRST_BOXES) or not header[4:8].isalnum():
                    return  # another container, or something after the last box
                size = int.from_bytes(header[:4], "big")
                size = int.from_bytes(header[8:16], "big") if size == 1 else size
                if size == 0:  # to the end of the file
                    return
                at += max(size, 8)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): put it there, readable") from error
    if at > length:
        raise InputError(f"{path} is truncated ({length} of {at} bytes): restore the file")
