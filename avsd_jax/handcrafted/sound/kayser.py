"""Kayser's auditory saliency map: centre-surround contrasts of a spectrogram at four scales (survey, IV.A, [122]).

It is computed on the host, because its normalisation picks peaks. `saliency_map` gives what the published program gives
(verified on a recorded output), which reads its peaks beside their places; `peaks="paper"` reads them where they are.
"""

from typing import NamedTuple

import numpy as np
import scipy.fft
import scipy.signal
from jaxtyping import Bool, Float, Int, Num

from avsd_jax.errors import InputError

RATE = 16_000
WINDOW_SECONDS, HOP_SECONDS, FFT_SIZE = 0.037, 0.001, 1024
COLUMNS_PER_SECOND = 500  # of the map, which has half the spectrogram's size
SCALES = (1, 2, 4, 8)
PEAKS = ("reference", "paper")

# Magnitudes from here down, 100 dB below a sine of full scale, count as equal: the logarithm of silence is finite.
_SILENCE = 1e-5

_NORMALISED, _PAST, _FUTURE = 150, 150, 50  # columns
_BORDER = 11
_FREQUENCY = 0.3 + np.arange(45) / 32
_TIME = np.arange(1, 81)


class AuditorySaliency(NamedTuple):
    """The three features' maps at half the spectrogram's size: intensity, frequency contrast, temporal contrast."""

    intensity: Float[np.ndarray, "f n"]
    frequency: Float[np.ndarray, "f n"]
    temporal: Float[np.ndarray, "f n"]

    @property
    def total(self) -> Float[np.ndarray, "f n"]:
        """The saliency map: the sum of the three."""
        return self.intensity + self.frequency + self.temporal


def log_spectrogram(waveform: Num[np.ndarray, " s"], rate: int) -> Float[np.ndarray, "f n"]:
    """Computes the front end: the natural logarithm of a magnitude spectrogram at 16 kHz.

    Hann windows of 37 ms every 1 ms, 512 frequencies of a transform of 1024 without that of 8 kHz; a sine of full
    scale has magnitude 1. Column n is centred on (n + 1/2) ms; beyond the ends is silence, which is ln 1e-5.

    Args:
        waveform: S samples, at least one. Samples that are not finite are silence.
        rate: samples per second; other than 16 kHz are resampled.

    Raises:
        InputError: no samples, or a rate below 1.
    """
    waveform = resampled(waveform, rate, RATE)
    length, hop = round(WINDOW_SECONDS * RATE), round(HOP_SECONDS * RATE)
    count = -(-len(waveform) // hop)
    before = (length - hop) // 2
    padded = np.pad(waveform, (before, max(0, (count - 1) * hop + length - before - len(waveform))))
    window = scipy.signal.get_window("hann", length, fftbins=False).astype(padded.dtype)
    pieces = np.lib.stride_tricks.sliding_window_view(padded, length)[::hop][:count]
    spectrum = np.abs(scipy.fft.rfft(pieces * window, FFT_SIZE))[:, :-1] * (2 / window.sum())
    return np.log(np.maximum(spectrum, spectrum.dtype.type(_SILENCE))).T


def resampled(waveform: Num[np.ndarray, " s"], rate: int, wanted: int) -> Float[np.ndarray, " r"]:
    """Resamples a waveform by a polyphase filter; samples that are not finite become silence.

    Raises:
        InputError: no samples, or a rate below 1.
    """
    if not len(waveform):
        raise InputError("the audio has no samples: give at least one")
    if rate < 1 or wanted < 1:
        raise InputError(f"audio of {rate} samples per second: give a rate of 1 or more")
    waveform = np.asarray(waveform)
    waveform = waveform.astype(np.float64 if waveform.dtype == np.float64 else np.float32)
    waveform = np.where(np.isfinite(waveform), waveform, waveform.dtype.type(0))
    if rate == wanted:
        return waveform
    shared = np.gcd(rate, wanted)
    return scipy.signal.resample_poly(waveform, wanted // shared, rate // shared).astype(waveform.dtype)


def saliency_map(spectrogram: Num[np.ndarray, "f n"], peaks: str = "reference") -> AuditorySaliency:
    """Computes the auditory saliency map of a log spectrogram.

    Args:
        spectrogram: frequencies by columns of 1 ms, any size. A constant one gives maps of 0.
        peaks: how a map's local maxima are read for its normalisation. "reference", as the published program does: by
            indices that drift by one row per column, and divided by the maximum twice; if the map has a multiple of
            150 columns, those after the last multiple but one are 0. "paper": at the peaks.

    Returns:
        Maps of ceil(F / 2) by ceil(N / 2), not negative, at most about 1 each.

    Raises:
        InputError: an unknown rule, an empty spectrogram, or one that is not finite.
    """
    if peaks not in PEAKS:
        raise InputError(f"unknown rule {peaks!r} for peaks: choose one of {', '.join(PEAKS)}")
    spectrogram = np.asarray(spectrogram)
    if not spectrogram.size or not np.isfinite(spectrogram).all():
        raise InputError("the log spectrogram is empty or not finite: give one of at least one value, with a floor")
    spectrogram = spectrogram.astype(np.float64 if spectrogram.dtype == np.float64 else np.float32)
    size = tuple(-(-side // 2) for side in spectrogram.shape)
    if np.ptp(spectrogram) == 0:
        return AuditorySaliency(*(np.zeros(size, spectrogram.dtype) for _ in range(3)))
    pyramids = zip(*(_filtered(spectrogram, scale, size) for scale in SCALES), strict=True)
    return AuditorySaliency(*(_feature(list(pyramid), peaks) for pyramid in pyramids))


def curve(waveform: Num[np.ndarray, " s"], rate: int, reduction: str = "mean") -> Float[np.ndarray, " n"]:
    """Computes the saliency of audio over time, 500 values per second: the map's mean or maximum over frequency.

    Long audio is processed in pieces of 12 s, with 2.4 s of context on both sides, so that memory is bounded: about
    0.5 GB. Peaks are read by the rule "paper", in which the pieces do not depend on each other.

    Args:
        waveform: S samples, at least one.
        rate: samples per second.
        reduction: "mean" or "max".

    Raises:
        InputError: an unknown reduction, no samples, or a rate below 1.
    """
    if reduction not in ("mean", "max"):
        raise InputError(f"unknown reduction {reduction!r} over frequency: choose mean or max")
    waveform = resampled(waveform, rate, RATE)
    return np.concatenate([_piece(waveform, start, reduction) for start in range(0, len(waveform), _PIECE)])


# Whole numbers of windows of the normalisation and of pixels of the coarsest scale.
_PIECE = 12 * RATE
_CONTEXT = 24 * RATE // 10


def _piece(waveform: Float[np.ndarray, " s"], start: int, reduction: str) -> Float[np.ndarray, " n"]:
    """Returns the curve of the piece that begins at a sample."""
    low = max(0, start - _CONTEXT)
    part = waveform[low : start + _PIECE + _CONTEXT]
    total = saliency_map(log_spectrogram(part, RATE), "paper").total
    values = total.mean(0) if reduction == "mean" else total.max(0)
    per_column = RATE // COLUMNS_PER_SECOND
    stop = min(start + _PIECE, len(waveform))
    return values[(start - low) // per_column : -(-(stop - low) // per_column)]


def _filtered(
    spectrogram: Float[np.ndarray, "f n"], scale: int, size: tuple[int, int]
) -> tuple[Float[np.ndarray, "h w"], ...]:
    """Returns the magnitudes of the three filters at one scale, resampled to `size`."""
    (rows, top, height), (columns, left, width) = (_mirrored(side, scale) for side in spectrogram.shape)
    image = spectrogram[rows][:, columns]
    shown = [_nearest(count, wanted) for count, wanted in zip((height, width), size, strict=True)]
    kernels = _kernels(image.dtype)
    narrow, wide = (_along(image, kernel, top + shown[0], 0) for kernel in kernels[:2])
    early, inhibited = kernels[2:]
    found = ((narrow, early), (wide, early), (narrow, inhibited))
    return tuple(np.abs(_along(bands, kernel, left + shown[1], 1)) for bands, kernel in found)


def _kernels(dtype: np.dtype) -> tuple[Float[np.ndarray, " k"], ...]:
    """Returns the filters' factors, each of sum 1 or -1: two over frequency, two over time.

    Intensity is narrow and early, frequency contrast wide and early, temporal contrast narrow with later inhibition.
    """
    wave = np.cos(2 * np.pi * _FREQUENCY)
    narrow, wide = (wave * np.exp(-((_FREQUENCY - 1) ** 2) / (2 * width**2)) for width in (0.14, 0.32))
    early = np.exp(-((_TIME - 24) ** 2) / (2 * 5**2))
    inhibited = early - np.exp(-((_TIME - 50) ** 2) / (2 * 6.5**2)) / 2
    return tuple((kernel / np.abs(kernel.sum())).astype(dtype) for kernel in (narrow, wide, early, inhibited))


def _mirrored(side: int, scale: int) -> tuple[Int[np.ndarray, " m"], int, int]:
    """Returns the pixels of an axis with about half of it mirrored at both ends, at a scale.

    Returns:
        `(indices into the axis, the first one of the part that is kept, length of that part)`; the part is one longer
        than the axis at that scale, as in the published program.
    """
    start, length = -(-side // 2) - 1, 3 * side - 2 * (-(-side // 2)) + 2
    places = np.arange(length)
    if scale > 1:
        places = np.minimum(np.arange(-(-length // scale)) * scale + scale // 2, length - 1)
    tile, within = np.divmod(places + start, side)
    cut = -(-len(places) // 4)
    return np.where(tile == 1, within, side - 1 - within), cut, max(1, len(places) - 2 * cut + 1)


def _nearest(count: int, wanted: int) -> Int[np.ndarray, " m"]:
    """Returns the pixels that a resizing by nearest neighbours reads, MATLAB's way."""
    return np.minimum(np.floor((np.arange(wanted) + 0.5) * count / wanted).astype(int), count - 1)


def _along(
    image: Float[np.ndarray, "h w"], kernel: Float[np.ndarray, " k"], places: Int[np.ndarray, " m"], axis: int
) -> Float[np.ndarray, "h2 w2"]:
    """Convolves along an axis, zero beyond the ends, and returns the given places only."""
    places = np.minimum(places, image.shape[axis] - 1)
    low, high = max(0, places[0] - len(kernel)), min(image.shape[axis], places[-1] + len(kernel))
    if axis == 0:
        # Frequencies are few: a product of matrices is faster than transforms, and skips what is not returned.
        taps = places[:, None] + len(kernel) // 2 - np.arange(low, high)
        weights = np.where((taps >= 0) & (taps < len(kernel)), kernel[np.clip(taps, 0, len(kernel) - 1)], 0)
        return weights.astype(image.dtype) @ image[low:high]
    full = scipy.signal.oaconvolve(image[:, low:high], kernel[None], "full", axes=1)
    return full[:, places - low + len(kernel) // 2]


def _feature(maps: list[Float[np.ndarray, "f n"]], peaks: str) -> Float[np.ndarray, "f n"]:
    """Returns the mean of the normalised differences between scales that are one and two apart."""
    pairs = [(n, n + apart) for n in range(len(maps)) for apart in (1, 2) if n + apart < len(maps)]
    total = np.zeros_like(maps[0])
    for centre, surround in pairs:
        total += _normalised(np.maximum(maps[centre] - maps[surround], 0), peaks)
    return total / len(pairs)


def _normalised(contrast: Float[np.ndarray, "f n"], peaks: str) -> Float[np.ndarray, "f n"]:
    """Scales a map window by window, down where it has many peaks of similar height."""
    contrast = contrast * np.outer(*(_taper(side) for side in contrast.shape)).astype(contrast.dtype)
    contrast = contrast - contrast.min()
    if not contrast.max() > 0:
        return contrast
    contrast = contrast / contrast.max()
    return (_by_reference if peaks == "reference" else _by_paper)(contrast)


def _taper(side: int) -> Float[np.ndarray, " n"]:
    """Returns the weights of an axis: halves of a Hann window without its zeros at both ends."""
    border = min(_BORDER, (side + 1) // 2)
    rising = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1, border + 1) / (2 * border + 1))
    weights = np.ones(side)
    weights[:border] *= rising
    weights[side - border :] *= rising[::-1]
    return weights


def _by_paper(contrast: Float[np.ndarray, "f n"]) -> Float[np.ndarray, "f n"]:
    columns = contrast.shape[1]
    found = np.zeros(contrast.shape, bool)
    found[1:-1, 1:-1] = _falls(contrast, 0)[:, 1:-1] & _falls(contrast, 1)[1:-1]
    out = np.zeros_like(contrast)
    for low in range(0, columns, _NORMALISED):
        high = min(low + _NORMALISED, columns)
        near = slice(max(low - _PAST, 0), min(high + _FUTURE, columns))
        peak = contrast[:, near].max()
        if peak > 0:
            heights = contrast[:, near][found[:, near]] / peak
            out[:, low:high] = contrast[:, low:high] / peak * _suppression(heights[heights < 1])
    return out


def _by_reference(contrast: Float[np.ndarray, "f n"]) -> Float[np.ndarray, "f n"]:
    """Does as the published program: see `saliency_map`.

    Neighbouring windows share a column, the later one's; the two directions of a peak are read one pixel apart.
    """
    rows, columns = contrast.shape
    found = np.zeros((max(0, rows - 1), max(0, columns - 1)), bool)
    if rows > 2 and columns > 2:
        found[1:, 1:] = _falls(contrast, 0)[:, : columns - 2] & _falls(contrast, 1)[: rows - 2]
    borders = list(range(0, columns, _NORMALISED))
    if columns % _NORMALISED:
        borders.append(columns - 1)
    out = np.zeros_like(contrast)
    for low, high in zip(borders[:-1], borders[1:], strict=True):
        near = slice(max(low - _PAST, 0), max(0, min(high + _FUTURE + 1, columns - 2)))
        data = contrast[:, near]
        peak = data.max() if data.size else 0
        window = contrast[:, low : high + 1]
        if not peak > 0:
            out[:, low : high + 1] = window
            continue
        heights = (data / peak).ravel("F")[np.flatnonzero(found[:, near].ravel("F"))]
        out[:, low : high + 1] = window / peak * _suppression(heights[heights != 1] / peak)
    return out


def _falls(contrast: Float[np.ndarray, "f n"], axis: int) -> Bool[np.ndarray, "f2 n2"]:
    """Returns where a map rises towards a pixel and does not rise after it, without the ends of the axis."""
    change = np.diff(contrast, axis=axis)
    before, after = (change[:-1], change[1:]) if axis == 0 else (change[:, :-1], change[:, 1:])
    return (before > 0) & (after <= 0)


def _suppression(heights: Float[np.ndarray, " p"]) -> float:
    """Returns (1 - mean)^2 of the heights of the peaks; 1 without peaks."""
    return float((1 - heights.mean()) ** 2) if len(heights) else 1.0
