"""What a browser plays: a file as it is, if its frames come at the times that prediction gives them, else a copy."""

from pathlib import Path
from typing import NamedTuple

from avsd_jax.media.container import FrameReader, audio_stream, open_media, video_stream
from avsd_jax.media.orientation import Orientation, orientation
from avsd_jax.media.reading import VideoInfo
from avsd_jax.web.video_library import Video

MP4, WEBM = "video/mp4", "video/webm"
_COPIES = "playable"
_PIXELS = ("yuv420p", "yuvj420p")
# Codecs that today's browsers play, by media type.
_VIDEO = {MP4: ("h264", "av1", "vp9"), WEBM: ("vp8", "vp9", "av1")}
_AUDIO = {MP4: ("aac", "mp3", "opus", "flac"), WEBM: ("opus", "vorbis")}
# The first frame's time from which on a player would show other frames than those of the prediction.
_LATEST_START = 0.005


class Playable(NamedTuple):
    """The file that a browser plays, which may have to be made yet, and its media type."""

    path: Path
    media_type: str
    copied: bool

    @property
    def ready(self) -> bool:
        """Whether the file is there."""
        return self.path.exists()


def playable(video: Video, info: VideoInfo, out: Path, *, copied: bool = False) -> Playable:
    """Returns what a browser plays for a video.

    Args:
        video: the video.
        info: what `probe` says of it.
        out: the server's own folder, which holds the copies.
        copied: a copy in any case, for a browser that does not play the file.
    """
    media_type = None if copied else _type(video.path, info)
    if media_type is not None:
        return Playable(video.path, media_type, False)
    return Playable(out.resolve() / _COPIES / f"{video.state_name}.mp4", MP4, True)


def remove_unfinished(out: Path) -> None:
    """Removes what a killed server left of copies."""
    for left in (out / _COPIES).glob(".video-*.partial"):
        left.unlink(missing_ok=True)


def _type(path: Path, info: VideoInfo) -> str | None:
    """Returns the media type of a file that browsers play frame by frame as prediction reads it, or None."""
    with path.open("rb") as file:
        head = file.read(12)
    media_type = MP4 if head[4:8] == b"ftyp" else WEBM if head.startswith(b"\x1a\x45\xdf\xa3") else None
    if media_type is None or abs(info.start) > _LATEST_START:
        return None
    with open_media(path) as container:
        stream, audio = video_stream(container, path), audio_stream(container)
        # Of several tracks a browser may choose others.
        if len(container.streams.video) > 1 or len(container.streams.audio) > 1:
            return None
        fits = stream.codec_context.pix_fmt in _PIXELS and info.codec.removeprefix("lib") in _VIDEO[media_type]
        heard = audio is None or audio.codec_context.name in _AUDIO[media_type]
        # Browsers turn videos, but not all of them mirror them.
        first = next(iter(FrameReader(container, stream)), None)
        upright = first is not None and orientation(first) == Orientation()
        return media_type if fits and heard and upright else None
