"""Audio of a dataset: one waveform per video, mono, at a rate that fits the buffers of models.

A length that differs from the video's means wrong data or a wrong rate in the header, and every later sample would be
at a wrong time. Real audio files differ from their videos by some frames at the end, so there is a tolerance.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from absl import logging
from jaxtyping import Int16

from avsd_jax.common import safe_paths
from avsd_jax.data import waveform
from avsd_jax.errors import InputError
from avsd_jax.media import reading
from avsd_jax.sources import plausible
from avsd_jax.sources.base import MissingFile

# The rate for which ViNet's and STAViS's buffers are made; their data has no files of 48 kHz, which would not fit.
MAX_RATE = 22_050


# Largest difference between the lengths of an audio file and its video: a fraction of the video's, and seconds. A track
# in the video file has the container's clock, and may end early.
LENGTH_TOLERANCE = 0.2
OWN_TRACK_TOLERANCE = 0.5
LENGTH_SLACK = 0.1
# Seconds from which a difference is reported: a frame or two, or the last block of an encoder, is normal.
NAMED_DIFFERENCE = 0.25
# Fraction of samples that may be NaN or infinite (they become silence), or far beyond full scale.
VALUE_TOLERANCE = 0.01
# Float samples are in [-1, 1]; encoders overshoot slightly.
_FULL_SCALE = 2.0


@dataclass(frozen=True)
class AudioFile:
    """Properties of an audio file.

    Attributes:
        sample_rate: samples per second.
        channels: number of channels.
        seconds: actual length; None if unknown.
        path: the file.
        own_track: whether it is a track of a video file.
        not_finite: number of samples that are NaN or infinite.
    """

    sample_rate: int
    channels: int
    seconds: float | None
    path: Path
    own_track: bool = False
    not_finite: int = 0


def read(path: Path, seconds: float | None = None) -> tuple[Int16[np.ndarray, " s"], int]:
    """Reads the audio of a file: the mean of its channels, downsampled to `MAX_RATE` if its rate is higher.

    16-bit mono at a lower rate is unchanged. Samples that are not finite become silence.

    Args:
        path: an audio file, or a video file with audio.
        seconds: duration of the video's frames, to check the length; None if unknown.

    Returns:
        `(samples, rate)`.

    Raises:
        MissingFile: there is no such file.
        InputError: it is a link, damaged, has no audio track, or is refused by `probe` or `notes`.
    """
    audio = probe(path)
    for note in _unusual(audio, seconds):
        logging.warning("%s: %s", path, note)
    samples, rate = reading.read_audio(path)
    if not len(samples):
        raise _no_samples(path)
    # Undecodable packets make it shorter than the packets state.
    _check_length(dataclasses.replace(audio, seconds=len(samples) / rate), seconds)
    # Before resampling, whose filter spreads NaN.
    samples = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
    if rate > MAX_RATE:
        logging.info("%s: %d samples per second downsampled to %d", path, rate, MAX_RATE)
        samples, rate = waveform.resample(samples, rate, MAX_RATE), MAX_RATE
    return waveform.to_int16(samples), rate


def probe(path: Path) -> AudioFile:
    """Inspects a file without decoding it, except for float samples, which may have any value.

    Raises:
        MissingFile: there is no such file.
        InputError: it is a link, damaged, has no audio track or no samples, numbers in its header that are not
            plausible, or float samples of which more than `VALUE_TOLERANCE` are not finite or far beyond [-1, 1].
    """
    with reading.open_media(_checked(path)) as container:
        stream = reading.audio_stream(container)
        if stream is None:
            raise InputError(f"{path} has no audio track: give a file with audio")
        info = reading.audio_info(container, stream)
        rate, channels = info.sample_rate, info.channels
        plausible.checked(rate, "samples per second", path)
        plausible.checked(channels, "channels", path)
        own_track = any(not s.disposition & av.stream.Disposition.attached_pic for s in container.streams.video)
        seconds = _length(container, stream, own_track)
        if seconds == 0:
            raise _no_samples(path)
        floats = stream.codec_context.name.startswith("pcm_f")
    not_finite = _check_values(path) if floats else 0
    return AudioFile(rate, channels, seconds, path, own_track, not_finite)


def _checked(path: Path) -> Path:
    path = safe_paths.below(path.parent, path.name)
    if not path.is_file():
        raise MissingFile(f"{path} is missing: put the audio there")
    return path


def _no_samples(path: Path) -> InputError:
    return InputError(f"{path} has no audio samples: restore the file, or put silence of the video's length there")


def _length(container: av.container.InputContainer, stream: av.AudioStream, own_track: bool) -> float | None:
    """Returns the seconds of audio in the packets; for a video file's track, from the file's start to the track's end.

    For an intact file the header would do. 0 if there is no packet; None if unknown.
    """
    length, end, packets = 0, None, 0
    try:
        for packet in container.demux(stream):
            if packet.size:
                packets += 1
                length += packet.duration or 0
                if packet.pts is not None:
                    end = max(end or 0, packet.pts + (packet.duration or 0))
    except av.error.FFmpegError:  # the file is truncated: use what came before
        pass
    if not packets:
        return 0.0
    if own_track and end is not None:
        return max(0.0, float(end * stream.time_base) - (container.start_time or 0) / av.time_base) or None
    return float((length or stream.duration or 0) * stream.time_base) or None


def _check_values(path: Path) -> int:
    """Counts the float samples that are not finite."""
    total = not_finite = too_large = 0
    try:
        with reading.open_media(path) as container:
            for frame in container.decode(reading.audio_stream(container)):
                samples = frame.to_ndarray()
                finite = np.isfinite(samples)
                total += samples.size
                not_finite += int((~finite).sum())
                too_large += int((np.abs(samples[finite]) > _FULL_SCALE).sum())
    except av.error.FFmpegError as error:
        raise InputError(f"{path} has damaged audio ({error.strerror or error}): restore the file") from error
    if not_finite > VALUE_TOLERANCE * total:
        raise InputError(f"{path} has {not_finite} of {total} samples that are NaN or infinite: restore the file")
    if too_large > VALUE_TOLERANCE * total:
        raise InputError(
            f"{path} has {too_large} of {total} float samples far beyond [-1, 1]: divide them by their full scale "
            "(such as 32768), or save 16-bit integers"
        )
    return not_finite


def _check_length(audio: AudioFile, seconds: float | None) -> None:
    if not seconds or audio.seconds is None:
        return
    share = OWN_TRACK_TOLERANCE if audio.own_track else LENGTH_TOLERANCE
    if abs(audio.seconds - seconds) > share * seconds + LENGTH_SLACK:
        raise InputError(
            f"{audio.path} has {audio.seconds:.2f} s of audio ({audio.sample_rate} Hz) for {seconds:.2f} s of video: "
            "put the video's own audio there, with its true sample rate in the header"
        )


def _unusual(audio: AudioFile, seconds: float | None) -> list[str]:
    """Returns notes on a file that is not refused, as sentences."""
    _check_length(audio, seconds)
    said = []
    if audio.not_finite:
        said.append(f"{audio.not_finite} audio samples are NaN or infinite: replaced by silence")
    if seconds and audio.seconds is not None and abs(audio.seconds - seconds) > NAMED_DIFFERENCE:
        then = "the rest is silent" if audio.seconds < seconds else "it continues after the last frame"
        said.append(f"audio of {audio.seconds:.1f} s for {seconds:.1f} s of images: {then}")
    return said


def notes(audio: AudioFile, seconds: float | None) -> list[str]:
    """Returns what is unusual about a video's audio, as sentences.

    Args:
        audio: what `probe` returned.
        seconds: duration of the images; None if unknown.

    Raises:
        InputError: the length differs from the video's by more than the tolerance.
    """
    said = []
    if audio.sample_rate > MAX_RATE:
        said.append(f"audio of {audio.sample_rate} Hz: downsampled to {MAX_RATE}")
    if audio.channels > 1:
        said.append(f"audio of {audio.channels} channels: mixed down")
    return said + _unusual(audio, seconds)
