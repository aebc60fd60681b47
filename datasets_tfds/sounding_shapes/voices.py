"""Sounds of the six classes, and music, which belongs to none of them.

A voice is a timbre: it has no rhythm of its own. All sounds are float64 in arbitrary units with a root
mean square of 1, mono, and of the requested length.
"""

import numpy as np
from jaxtyping import Float

# In the order of `looks.CLASSES`: base pitch in Hz (for the breath, the centre of its band).
_PITCHES = (440.0, 262.0, 175.0, 880.0, 2600.0, 98.0)
_TABLE = 4096


def draw_pitch(kind: int, rng: np.random.Generator) -> float:
    """Draws the pitch in Hz of a voice of class `kind`: that of the class, up to 10 % off."""
    return _PITCHES[kind] * rng.uniform(0.9, 1.1)


def voice(
    kind: int, pitch: float, num_samples: int, sample_rate: int, rng: np.random.Generator
) -> Float[np.ndarray, " s"]:
    """Generates the steady sound of voice class `kind` at `pitch`, with a light vibrato.

    Classes: 0 nearly a sine (flute), 1 odd harmonics (clarinet), 2 all harmonics (saw), 3 inharmonic
    frequency modulation (bell), 4 a band of noise (breath), 5 a low buzz with two formants.
    """
    if kind == 4:
        return _unit(_noise_band(pitch, num_samples, sample_rate, rng))
    time = np.arange(num_samples) / sample_rate
    vibrato_rate, vibrato_phase = rng.uniform(4, 6), rng.uniform(0, 2 * np.pi)
    # The integral of pitch * (1 + 0.012 cos(2 pi rate t + phase)), in cycles.
    wobble = np.sin(2 * np.pi * vibrato_rate * time + vibrato_phase)
    cycles = pitch * time + 0.012 * pitch / (2 * np.pi * vibrato_rate) * wobble
    if kind == 3:
        return _unit(np.sin(2 * np.pi * (cycles + 0.35 * np.sin(2 * np.pi * 1.41 * cycles))))
    return _unit(_play(cycles, _harmonics(kind, pitch, sample_rate)))


def music(num_samples: int, sample_rate: int, rng: np.random.Generator) -> Float[np.ndarray, " s"]:
    """Generates a chord progression over a bass, with a beat; key, tempo and timbre are drawn."""
    beat = rng.uniform(0.28, 0.5)
    root = 110.0 * 2 ** (rng.integers(0, 12) / 12)
    recipe = rng.uniform(0.2, 1.0, 6) / np.arange(1, 7) ** rng.uniform(0.5, 1.5)
    decay = rng.uniform(0.25, 0.7)
    beat_samples = round(beat * sample_rate)
    length = round(1.5 * beat_samples)  # a note rings into the next beat
    time = np.arange(length) / sample_rate
    shape = np.minimum(time / 0.008, 1) * np.exp(-time / decay)
    shape *= np.clip((time[-1] - time) / 0.03, 0, 1)
    tick = np.exp(-time / 0.02)
    num_beats = num_samples // beat_samples + 2
    sound = np.zeros(num_beats * beat_samples + length)
    degrees, chord = (0, 5, 7, 9), ()
    for i in range(num_beats):
        if i % 2 == 0:
            degree = int(rng.choice(degrees))
            third = 3 if degree == 9 else 4
            chord = tuple(12 + degree + step for step in (0, third, 7, 12))
        notes = sum(_play(root * 2 ** (note / 12) * time, recipe) for note in chord)
        notes = notes + 1.5 * _play(root / 2 * 2 ** (degree / 12) * time, recipe)
        hat = np.diff(rng.standard_normal(length + 1)) * tick
        sound[i * beat_samples : i * beat_samples + length] += notes * shape + 1.2 * hat
    start = rng.integers(0, beat_samples)
    return _unit(sound[start : start + num_samples])


def _harmonics(kind: int, pitch: float, sample_rate: int) -> np.ndarray:
    """Returns the amplitudes of harmonics 1, 2, ... of class `kind`, all of them below the Nyquist frequency."""
    order = np.arange(1, max(2, int(0.45 * sample_rate / pitch) + 1))
    match kind:
        case 0:
            return np.where(order == 1, 1.0, np.where(order == 2, 0.1, 0.0))
        case 1:
            return np.where(order % 2 == 1, 1 / order, 0)
        case 2:
            return 1 / order
        case _:
            octaves = np.log2(order * pitch)
            formants = [(700.0, 1.0), (1750.0, 0.7)]
            return sum(gain * np.exp(-(((octaves - np.log2(f)) / 0.3) ** 2)) for f, gain in formants)


def _play(cycles: np.ndarray, amplitudes: np.ndarray) -> np.ndarray:
    """Sums harmonics at the phase `cycles`, read from a table of one period."""
    spectrum = np.zeros(_TABLE // 2 + 1, complex)
    count = min(len(amplitudes), _TABLE // 16)
    spectrum[1 : count + 1] = -0.5j * _TABLE * amplitudes[:count]
    period = np.fft.irfft(spectrum, _TABLE)
    return period[np.floor(cycles * _TABLE).astype(np.int64) % _TABLE]


def _noise_band(centre: float, num_samples: int, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Generates noise with a Gaussian spectrum of a third of an octave around `centre`."""
    spectrum = np.fft.rfft(rng.standard_normal(num_samples))
    frequency = np.fft.rfftfreq(num_samples, 1 / sample_rate)
    spectrum *= np.exp(-0.5 * ((frequency - centre) / (0.17 * centre)) ** 2)
    return np.fft.irfft(spectrum, num_samples)


def _unit(sound: np.ndarray) -> np.ndarray:
    """Scales to a root mean square of 1."""
    return sound / np.sqrt(np.mean(np.square(sound)))
