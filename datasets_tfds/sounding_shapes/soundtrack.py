"""The waveform of a scene: segment by segment, cross-faded, over a faint background noise."""

import numpy as np
from jaxtyping import Float, Int16

from datasets_tfds.sounding_shapes import rhythm, voices
from datasets_tfds.sounding_shapes.config import GeneratorConfig
from datasets_tfds.sounding_shapes.scene import Scene, Segment

_LEVEL = 0.14  # root mean square of a steady voice, where 1 is full scale
_NOISE_LEVEL = 0.003
_SILENCE = 0.1  # amplitude of a voice between two pulses; 1 at the highest peak


def sound(config: GeneratorConfig, scene: Scene, rng: np.random.Generator) -> Int16[np.ndarray, " s"]:
    """Generates the waveform of `scene`, one sample per 1 / `config.sample_rate` seconds from time 0."""
    total, rate = config.num_samples, config.sample_rate
    gain = _LEVEL * rng.uniform(0.7, 1.0)
    pitches = [voices.draw_pitch(kind, rng) for kind in scene.classes]
    waveform = _NOISE_LEVEL * _background(total, rng)
    half = config.crossfade_seconds / 2
    for segment in scene.segments:
        first = max(0, round((segment.start - half) * rate))
        last = min(total, round((segment.stop + half) * rate))
        if first >= last:
            continue
        times = np.arange(first, last) / rate
        piece = _segment_sound(config, scene, segment, pitches, times, rng)
        waveform[first:last] += gain * _fade(config, segment, times) * piece
    return np.round(32767 * np.clip(waveform, -1, 1)).astype(np.int16)


def _segment_sound(
    config: GeneratorConfig,
    scene: Scene,
    segment: Segment,
    pitches: list[float],
    times: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Generates the audio of one segment at `times`, with a root mean square of about 1 while it is loud."""
    if segment.kind == "music":
        return 0.7 * rng.uniform(0.7, 1.0) * voices.music(len(times), config.sample_rate, rng)
    # A shape keeps its own pitch through the video; the others draw theirs.
    spoken = segment.kind == "voice"
    pitch = pitches[segment.shape] if spoken else voices.draw_pitch(segment.voice, rng)
    timbre = voices.voice(segment.voice, pitch, len(times), config.sample_rate, rng)
    if spoken:
        return _amplitude(scene.pulsations[segment.shape], times) * timbre
    if segment.kind == "foreign":
        own = rhythm.draw_pulsation(rhythm.SHAPE_RATE, config.seconds, rng)
        return _amplitude(own, times) * timbre
    if rng.random() < 0.5:  # an imitator holds one note, or stutters
        timbre = 0.7 * timbre
    else:
        own = rhythm.draw_pulsation(rhythm.IMITATION_RATE, config.seconds, rng)
        timbre = _amplitude(own, times) * timbre
    return 0.7 * _room(timbre, config.sample_rate, rng)


def _amplitude(pulsation: rhythm.Pulsation, times: np.ndarray) -> Float[np.ndarray, " s"]:
    """Returns the amplitude of a voice that follows `pulsation`, sampled at 500 Hz and interpolated."""
    coarse = np.arange(times[0], times[-1] + 0.004, 0.002)
    return _SILENCE + (1 - _SILENCE) * np.interp(times, coarse, pulsation.at(coarse))


def _room(dry: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Adds reverberation as loud as the sound itself, and removes high frequencies."""
    from scipy import signal  # takes a second, only needed for builds

    decay = rng.uniform(0.5, 0.8)  # seconds until the echo has fallen by 60 dB
    time = np.arange(round(decay * sample_rate)) / sample_rate
    echo = rng.standard_normal(len(time)) * 10 ** (-3 * time / decay) * (time > 0.008)
    echo /= np.sqrt(np.sum(np.square(echo)))
    echo[0] = 0.7
    wet = signal.fftconvolve(dry, echo)[: len(dry)]
    cutoff = min(rng.uniform(2000, 3000), 0.4 * sample_rate)
    return signal.lfilter(*signal.butter(1, cutoff, fs=sample_rate), wet)


def _fade(config: GeneratorConfig, segment: Segment, times: np.ndarray) -> np.ndarray:
    """Returns the gain of `segment` at `times`; at each border the powers of both neighbours add up to one."""
    gain = np.ones_like(times)
    if segment.start > 0:
        rise = np.clip((times - segment.start) / config.crossfade_seconds + 0.5, 0, 1)
        gain *= np.sin(0.5 * np.pi * rise)
    if segment.stop < config.seconds:
        fall = np.clip((segment.stop - times) / config.crossfade_seconds + 0.5, 0, 1)
        gain *= np.sin(0.5 * np.pi * fall)
    return gain


def _background(num_samples: int, rng: np.random.Generator) -> np.ndarray:
    """Generates noise with a root mean square of 1 whose power falls with frequency (first-order low-pass)."""
    from scipy import signal

    noise = signal.lfilter([1.0], [1.0, -0.9], rng.standard_normal(num_samples))
    return noise * np.sqrt(1 - 0.9**2)
