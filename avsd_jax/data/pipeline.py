"""From a store of videos to batches of arrays: sampling, preprocessing, order, prefetching.

Training: element i of the endless stream of clips is a pure function of (seed, i). Step s takes the elements
from s * B to (s + 1) * B - 1, and of these each process takes a contiguous part. So a checkpoint stores only
the step, and the global batch is the same, row by row, for any number of processes and threads.

An example has the entries of `avsd_jax.batch.ENTRIES` that its specification asks for.
"""

import functools
import sys
from collections.abc import Callable, Iterator, Sequence

import cv2
import grain
import numpy as np
from absl import flags
from jaxtyping import Float32

from avsd_jax.batch import ENTRIES, ClassifierInputs
from avsd_jax.common.by_name import name_of
from avsd_jax.data import audio, avc_inputs, waveform
from avsd_jax.data.audio import AUDIO_CONDITIONS
from avsd_jax.data.clip_spec import ClipSpec
from avsd_jax.data.example import Example, classifier_inputs, make_example
from avsd_jax.data.preprocessing.vinet import Preprocessing
from avsd_jax.data.store import VideoStore
from avsd_jax.data.weak_pairs import Pairs
from avsd_jax.data.window import Window
from avsd_jax.errors import InputError

__all__ = ["AUDIO_CONDITIONS", "ClipSpec", "classifier_batches", "eval_batches", "eval_targets", "train_batches"]


def train_batches(
    store: VideoStore,
    spec: ClipSpec,
    *,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    num_threads: int = 4,
    process_index: int = 0,
    process_count: int = 1,
    num_epochs: int | None = None,
) -> Iterator[Example]:
    """Iterates over training batches, from step `start_step` on.

    With `spec.avc_supervision="weak"`, the classifier's audio and the labels are those of `weak_pairs.Pairs`.

    An epoch holds every video `spec.samples_per_video` times, shuffled anew; batches run on across epochs.

    Args:
        store: the training split.
        spec: what the model reads.
        batch_size: examples of the global batch.
        seed: of all random draws.
        start_step: number of completed steps.
        num_threads: threads that prepare clips; 0 prepares them in the caller's thread.
        process_index: number of this process.
        process_count: number of processes that share the global batch.
        num_epochs: passes over the videos; None for no end. An incomplete last batch is dropped.

    Returns:
        An iterator of batches of `batch_size / process_count` rows; `close()` ends its threads.

    Raises:
        InputError: the batch does not divide, the sampler does not support the clip's size or step, no video is long
            enough, a video's audio does not fit the model, the model remembers another number of videos, or there is
            no pair for weak supervision. Damaged images raise it while iterating.
    """
    _check(store, spec)
    if spec.instances and spec.instances != len(store.videos):
        raise InputError(
            f"{store.name} has {len(store.videos)} videos and the model's memory {spec.instances} rows: set "
            f"model.instances={len(store.videos)}"
        )
    sampler = spec.sampler
    items = [
        (video, item)
        for video, index in enumerate(store.videos)
        for item in range(sampler.train_items(index.num_frames, spec.clip_size))
    ]
    if not items:
        name = name_of(spec.sampler)
        raise InputError(f"{store.name} has no video from which sampler {name!r} draws a clip: use longer ones")
    clips = _Clips(store, spec, "real")
    # Self-supervision pairs a video with its own audio, always.
    weak = spec.avc is not None and spec.avc_supervision == "weak" and not spec.instances
    pairs = Pairs(store, spec.avc) if weak else None

    def draw(item: tuple[int, int], rng: np.random.Generator) -> Example:
        video, number = item
        window = sampler.train_window(
            rng,
            number,
            store.videos[video].num_frames,
            spec.clip_size,
            spec.frame_step,
            lambda frame: not store.density(video, frame).any(),
        )
        example = clips.example(video, window)
        if pairs is not None:
            example |= pairs.draw(rng, video, window.target)
        return _mirrored(example) if spec.flip and rng.random() < 0.5 else example

    epoch = items * spec.samples_per_video
    length = sys.maxsize if num_epochs is None else num_epochs * len(epoch)
    # A permutation per epoch; grain's own shuffle takes a millisecond per element if there are few.
    order = functools.lru_cache(maxsize=4)(lambda e: np.random.default_rng([seed, e]).permutation(len(epoch)))
    stream = grain.MapDataset.range(length).map(lambda i: epoch[order(i // len(epoch))[i % len(epoch)]])
    # Drawn before processes divide the stream: otherwise draws would depend on their number.
    stream = stream.seed(seed).random_map(draw)
    num_steps = length // batch_size
    return _batches(stream.__getitem__, start_step, num_steps, batch_size, num_threads, process_index, process_count)


def eval_batches(
    store: VideoStore,
    spec: ClipSpec,
    *,
    batch_size: int,
    stride: int = 1,
    videos: Sequence[int] | None = None,
    audio_condition: str = "real",
    num_threads: int = 2,
    process_index: int = 0,
    process_count: int = 1,
) -> Iterator[Example]:
    """Iterates once over every `stride`-th frame of the given videos, in order.

    The last batch is padded with repeats of the last example, whose `mask` is False.

    For a model of sequences (`spec.num_maps`) a batch is a clip of each phase: its inputs have a row for each, the
    entries about frames one for each of the frames that these clips map, `mask` being true for every `stride`-th frame.
    Clips of which no map is asked for are left out, unless a state passes between them. Each process gets whole videos.

    Args:
        store: the split to score.
        spec: what the model reads.
        batch_size: rows of the global batch.
        stride: distance between the predicted frames.
        videos: positions of the videos; all by default.
        audio_condition: one of `AUDIO_CONDITIONS`: the audio of both the model and its classifier.
        num_threads: threads that prepare clips; 0 prepares them while the caller waits.
        process_index: which process this is.
        process_count: how many share the global batch.

    Returns:
        An iterator of batches of `batch_size / process_count` rows; `close()` ends its threads.

    Raises:
        InputError: the batch does not divide, an unknown audio condition, the sampler does not support the clip's size
            or step, or a video's audio does not fit the model. Damaged images raise it while iterating.
    """
    _check(store, spec)
    sampler = spec.sampler
    clips = _Clips(store, spec, audio_condition)
    if spec.num_maps:
        mine = list(range(len(store.videos)) if videos is None else videos)[process_index::process_count]
        return _chunks(store, spec, clips, stride, mine, num_threads)
    targets = eval_targets(store, spec, stride, videos)

    def element(i: int) -> Example:
        video, frame = targets[min(i, len(targets) - 1)]
        window = sampler.eval_window(frame, store.videos[video].num_frames, spec.clip_size, spec.frame_step)
        return clips.example(video, window) | {"mask": np.bool_(i < len(targets))}

    num_steps = -(-len(targets) // batch_size)
    return _batches(element, 0, num_steps, batch_size, num_threads, process_index, process_count)


def eval_targets(
    store: VideoStore, spec: ClipSpec, stride: int = 1, videos: Sequence[int] | None = None
) -> list[tuple[int, int]]:
    """Returns (video, frame) of the frames that `eval_batches` predicts, in order."""
    return [
        (video, frame)
        for video in (range(len(store.videos)) if videos is None else videos)
        for frame in spec.sampler.eval_targets(store.videos[video].num_frames, spec.clip_size, stride)
    ]


def classifier_batches(
    store: VideoStore,
    inputs: ClassifierInputs,
    frames: Sequence[tuple[int, int]],
    *,
    batch_size: int,
    audio_condition: str = "real",
    num_threads: int = 2,
    process_index: int = 0,
    process_count: int = 1,
) -> Iterator[Example]:
    """Iterates once over a consistency classifier's inputs at the given frames.

    Args:
        store: the split.
        inputs: what the classifier reads.
        frames: (video, frame) of each.
        batch_size, audio_condition, num_threads, process_index, process_count: see `eval_batches`.

    Returns:
        An iterator of batches with `avc_frames`, `avc_audio`, `video_index`, `frame_index` and `mask`, padded as those
        of `eval_batches`.

    Raises:
        InputError: the batch does not divide, or an unknown audio condition. Damaged images raise it while iterating.
    """
    spec = ClipSpec(clip_size=1, frame_size=(1, 1), avc=inputs, audio=False)
    readers = [audio.reader(store, video, audio_condition) for video in range(len(store.videos))]

    def element(i: int) -> Example:
        video, frame = frames[min(i, len(frames) - 1)]
        clip = _StoredClip(store, spec, video, readers[video], audio_condition)
        where = {"video_index": np.int32(video), "frame_index": np.int32(frame), "mask": np.bool_(i < len(frames))}
        return classifier_inputs(clip, frame) | where

    num_steps = -(-len(frames) // batch_size)
    return _batches(element, 0, num_steps, batch_size, num_threads, process_index, process_count)


def _batches(
    element: Callable[[int], Example],
    start_step: int,
    num_steps: int,
    batch_size: int,
    num_threads: int,
    process_index: int,
    process_count: int,
) -> Iterator[Example]:
    """Yields this process's part of the batches of elements 0, 1, 2, ...; batch s starts at s * batch_size."""
    if batch_size % process_count:
        raise InputError(f"batch size {batch_size} does not divide among {process_count} processes: use a multiple")
    local = batch_size // process_count

    def row(i: int) -> Example:
        step, offset = divmod(i, local)
        return element(step * batch_size + process_index * local + offset)

    # Clips are prefetched instead of batches: a batch is ready sooner, and memory holds two at most.
    rows = _prefetched(row, start_step * local, num_steps * local, num_threads, 2 * local)
    return iter(rows.batch(local, drop_remainder=True))


def _chunks(
    store: VideoStore, spec: ClipSpec, clips: "_Clips", stride: int, videos: Sequence[int], num_threads: int
) -> Iterator[Example]:
    """Yields the clips of a model of sequences; see `eval_batches`."""
    starts = []
    for video in videos:
        length = store.videos[video].num_frames
        wanted = spec.eval_sampler.eval_targets(length, spec.clip_size, stride)
        for first in range(0, length, spec.num_mapped):
            shown = [frame in wanted for frame in range(first, first + spec.num_mapped)]
            if spec.carries or any(shown):
                starts.append((video, first, shown))

    def chunk(i: int) -> Example:
        video, first, shown = starts[i]
        length = store.videos[video].num_frames
        targets = [min(first + phase, length - 1) for phase in range(spec.phases)]
        windows = (spec.eval_sampler.eval_window(t, length, spec.clip_size, spec.frame_step) for t in targets)
        rows = [clips.inputs(video, window) for window in windows]
        frames = np.arange(first, first + spec.num_mapped, dtype=np.int32)
        return {key: np.stack([row[key] for row in rows]) for key in rows[0]} | {
            "avc_label": store.avc_label(video)[np.minimum(frames, length - 1)].astype(np.int32),
            "video_index": np.full(spec.num_mapped, video, np.int32),
            "frame_index": frames,
            "mask": np.array(shown),
        }

    return iter(_prefetched(chunk, 0, len(starts), num_threads, 2)) if starts else iter(())


def _prefetched(
    row: Callable[[int], Example], start: int, stop: int, num_threads: int, ahead: int
) -> grain.IterDataset:
    """Returns the examples `start` to `stop`, exclusive, as threads prepare them, this many beside theirs ahead."""
    # Grain reads absl flags, which are not parsed in a notebook or a test.
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
    # OpenCV's own threads would compete with these.
    cv2.setNumThreads(1)
    rows = grain.MapDataset.range(start, stop).map(row)
    options = grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=ahead + num_threads if num_threads else 0)
    return rows.to_iter_dataset(options)


def _check(store: VideoStore, spec: ClipSpec) -> None:
    if not store.videos:
        raise InputError(f"{store.name} has no videos: build it from at least one")
    # The sampler refuses what it does not support now, not in the first step.
    spec.sampler.eval_window(0, store.videos[0].num_frames, spec.clip_size, spec.frame_step)
    if not spec.audio or spec.preprocessing.sample_rate is not None:
        return  # no audio, or a length that fits by definition
    frames = (spec.clip_size - 1) * spec.frame_step + 1
    for video in store.videos:
        needed = int(min(frames, video.num_frames) / video.fps * video.sample_rate) + 1
        if min(needed, video.num_samples) > spec.audio_samples:
            raise InputError(
                f"{store.name}: the audio of {frames} frames of video {video.id!r} ({video.sample_rate} Hz, "
                f"{video.fps:g} frames/s) has {needed} samples and does not fit the model's "
                f"{spec.audio_samples}: build the dataset with audio at 22050 Hz or less, or use a smaller "
                "frame_step"
            )


def _mirrored(example: Example) -> Example:
    axes = {key: ENTRIES[key].width_axis for key in example}
    return example | {key: np.flip(example[key], axis) for key, axis in axes.items() if axis is not None}


class _Clips:
    """Turns windows of stored videos into examples, under one audio condition."""

    def __init__(self, store: VideoStore, spec: ClipSpec, condition: str):
        self._store = store
        self._spec = spec
        self._condition = condition
        self._readers = [audio.reader(store, video, condition) for video in range(len(store.videos))]

    def example(self, video: int, window: Window) -> Example:
        spec, target = self._spec, window.target
        if spec.num_maps:
            targets = [self._target(video, frame) for frame in window.frames[: spec.num_maps]]
            density, fixations = (np.stack(maps) for maps in zip(*targets, strict=True))
        else:
            density, fixations = self._target(video, target)
        example = self.inputs(video, window) | {
            "density": density,
            "fixations": fixations,
            "video_index": np.int32(video),
            "frame_index": np.int32(target),
            "mask": np.bool_(True),
        }
        if spec.num_maps:
            labels = self._store.avc_label(video)
            example["frame_labels"] = labels[list(window.frames[: spec.num_maps])].astype(np.int32)
        if spec.tags:
            example["tags"] = np.array([tag in self._store.videos[video].tags for tag in spec.tags], np.float32)
        return example

    def inputs(self, video: int, window: Window) -> Example:
        """Returns the entries that a model reads."""
        clip = _StoredClip(self._store, self._spec, video, self._readers[video], self._condition)
        return make_example(self._spec, window, clip, self._store.avc_label(video)[window.target])

    def _target(self, video: int, frame: int) -> tuple[Float32[np.ndarray, "h w"], Float32[np.ndarray, "h w"]]:
        """Returns density and fixations of a frame at the size of the model's maps."""
        index, size, preprocessing = self._store.videos[video], self._spec.map_size, self._spec.preprocessing
        plane = (index.map_height, index.map_width)
        density = preprocessing.resize_density(self._store.density(video, frame), size)
        return density, preprocessing.fixation_map(self._store.fixations(video, frame), plane, size)


class _StoredClip:
    """A clip of a stored video, as a `ClipSource`; what neighbouring clips share is kept in the store's cache."""

    def __init__(self, store: VideoStore, spec: ClipSpec, video: int, read: waveform.Reader, condition: str):
        self._store = store
        self._spec = spec
        self._video = video
        self._read = read
        self._condition = condition
        # The model and the classifier read almost the same frames: each is decoded once for both.
        self._decode = functools.cache(lambda frame: store.frames(video, [frame])[0])

    def frames(self, numbers: tuple[int, ...]) -> Float32[np.ndarray, "t h w 3"]:
        return self._frames(numbers, self._spec.frame_size, self._spec.preprocessing)

    def classifier_frames(self, target: int) -> Float32[np.ndarray, "n a a 3"]:
        index, avc = self._store.videos[self._video], self._spec.avc
        shown = avc_inputs.frame_indices(target, index.fps, index.num_frames, avc)
        return self._frames(shown, (avc.frame_size, avc.frame_size), avc_inputs.PREPROCESSING)

    def _frames(
        self, numbers: tuple[int, ...], size: tuple[int, int], preprocessing: Preprocessing
    ) -> Float32[np.ndarray, "t h w 3"]:
        def resized(frame: int) -> np.ndarray:
            key = (self._video, frame, size, preprocessing)
            return self._store.derived.get(key, lambda: preprocessing.resize_frame(self._decode(frame), size))

        return preprocessing.normalise(np.stack([resized(number) for number in numbers]))

    def audio(self, window: Window) -> Float32[np.ndarray, " s"]:
        index, preprocessing = self._store.videos[self._video], self._spec.preprocessing
        rate = preprocessing.sample_rate or index.sample_rate
        num_samples = -(-index.num_samples * rate // index.sample_rate)
        start, stop = preprocessing.excerpt_span(
            window.audio_first, window.audio_last, index.num_frames, index.fps, rate, num_samples
        )
        if rate == index.sample_rate:
            return waveform.to_float(self._read(start, stop))
        return self._resampled(rate, start, stop)

    def pieces(self) -> int | None:
        index, preprocessing = self._store.videos[self._video], self._spec.preprocessing
        num_samples = -(-index.num_samples * preprocessing.sample_rate // index.sample_rate)
        return preprocessing.pieces(index.fps, num_samples)

    def classifier_audio(self, target: int) -> Float32[np.ndarray, " r"]:
        avc = self._spec.avc
        span = avc_inputs.audio_span(target, self._store.videos[self._video].fps, avc)
        return self._resampled(avc.sample_rate, *span)

    def _resampled(self, rate: int, start: int, stop: int) -> Float32[np.ndarray, " s"]:
        return audio.resampled(self._store, self._video, self._read, self._condition, rate, start, stop)
