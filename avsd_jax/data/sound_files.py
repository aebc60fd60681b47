"""Sound that comes with a set: one waveform per video, mono, at a rate that a model's buffer holds."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from absl import logging
from jaxtyping import Int16

from avsd_jax import media
from avsd_jax.data import inside, waveform
from avsd_jax.data.source import MissingFile
from avsd_jax.errors import InputError

# ViNet's and STAViS's buffers are made for it; a file of 48 kHz would not fit, and was never among theirs.
MAX_RATE = 22_050


@dataclass(frozen=True)
class Sound:
    """What a sound file says of itself: samples per second, number of channels, and seconds (None if unknown)."""

    sample_rate: int
    channels: int
    seconds: float | None


def read(path: Path) -> tuple[Int16[np.ndarray, " s"], int]:
    """The sound of a file: the mean of its channels, brought down to `MAX_RATE` where its rate is higher.

    16-bit mono of a rate that fits comes out with the same numbers.

    Args:
        path: a sound file, or a video file with sound.

    Returns:
        `(samples, rate)`.

    Raises:
        MissingFile: there is no such file.
        InputError: it is a link, damaged, or has no sound track.
    """
    samples, rate = media.read_audio(_checked(path))
    if rate > MAX_RATE:
        logging.info("%s: %d samples per second brought down to %d", path, rate, MAX_RATE)
        samples, rate = waveform.resample(samples, rate, MAX_RATE), MAX_RATE
    return waveform.to_int16(samples), rate


def probe(path: Path) -> Sound:
    """Looks at a file without decoding it.

    Raises:
        MissingFile: there is no such file.
        InputError: as `read`.
    """
    with media.open_media(_checked(path)) as container:
        stream = media.sound_stream(container)
        if stream is None:
            raise InputError(f"{path} has no sound track: give a file with sound")
        seconds = float(stream.duration * stream.time_base) if stream.duration else None
        info = media.sound_info(container, stream)
        return Sound(info.sample_rate, info.channels, seconds)


def _checked(path: Path) -> Path:
    path = inside.below(path.parent, path.name)
    if not path.is_file():
        raise MissingFile(f"{path} is missing: put the sound there")
    return path


def notes(sound: Sound, seconds: float | None) -> list[str]:
    """What is unusual about a video's sound, as sentences.

    Args:
        sound: what `probe` returned.
        seconds: duration of the pictures; None if unknown.
    """
    said = []
    if sound.sample_rate > MAX_RATE:
        said.append(f"sound of {sound.sample_rate} Hz: brought down to {MAX_RATE}")
    if sound.channels > 1:
        said.append(f"sound of {sound.channels} channels: mixed down")
    if seconds and sound.seconds is not None and sound.seconds < seconds - 1:
        said.append(f"sound of {sound.seconds:.1f} s for {seconds:.1f} s of pictures: the rest is silent")
    return said
