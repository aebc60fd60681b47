"""Weak supervision of a consistency classifier: a clip and its own audio are consistent, another video's audio is not.

As L3-Net, AVE-Net and the survey's "AVID+ws" are trained; no label is read. What else the two classes differ in, a
network would learn instead, so that nothing does: another video's audio is of the same time in its video, the one grid
of both; it ends where the clip's own would; and clips at times at which the own audio, or that of all others, is silent
are in neither class. Videos of one source are never paired, as they may share their soundtrack. Music that was dubbed
over a video is consistent by this rule, and not by the viewers' labels.
"""

import numpy as np
from jaxtyping import Bool, Float32

from avsd_jax.batch import ClassifierInputs
from avsd_jax.data import audio, avc_inputs
from avsd_jax.data.store import VideoStore
from avsd_jax.errors import InputError

# Root mean square below which an excerpt is silent: -60 dB of full scale.
_SILENCE = 1e-3
# Other videos that are tried before a clip is left out.
_DRAWS = 8

# Datasets of which several videos are of one film, programme or recording: as the first word of their names says.
_OF_ONE_SOURCE = ("diem", "etmd")


class Pairs:
    """Draws the classifier's audio of training clips, and with it their labels.

    Args:
        store: the training split; audio of no other split is used.
        inputs: of the classifier.

    Raises:
        InputError: no two videos with audio are of different sources.
    """

    def __init__(self, store: VideoStore, inputs: ClassifierInputs):
        self._store, self._inputs = store, inputs
        self._seconds = np.array([video.num_samples / video.sample_rate for video in store.videos])
        self._sources = np.array(sources(store))
        self._audible = np.array([video.audio_rms > 0 for video in store.videos])
        if len(set(self._sources[self._audible])) < 2:
            raise InputError(
                f"{store.name} has no two videos with audio of different sources, which avc_supervision='weak' pairs: "
                "use more videos, or avc_supervision='labels'"
            )

    def draw(self, rng: np.random.Generator, video: int, target: int) -> dict[str, np.ndarray]:
        """Returns the entries `avc_audio` and `avc_label` of a clip.

        The label is 1 with the video's own audio and 0 with another's, each with probability 1/2, and -1 for a clip
        that is left out.

        Args:
            rng: of the clip.
            video: position of the video.
            target: the classified frame.
        """
        own = self._excerpt(video, video, target)
        other = None if _is_silent(own) else self._other(rng, video, target)
        if other is None:
            return {"avc_audio": own, "avc_label": np.int32(-1)}
        consistent = rng.random() < 0.5
        return {"avc_audio": own if consistent else other, "avc_label": np.int32(consistent)}

    def candidates(self, video: int, target: int) -> Bool[np.ndarray, " v"]:
        """Returns which videos are of another source and have audio wherever this one has it around a frame."""
        _, stop = avc_inputs.audio_span(target, self._store.videos[video].fps, self._inputs)
        until = min(stop / self._inputs.sample_rate, self._seconds[video])
        # A sample of either rate is no difference.
        return self._audible & (self._sources != self._sources[video]) & (self._seconds >= until - 1e-3)

    def _other(self, rng: np.random.Generator, video: int, target: int) -> Float32[np.ndarray, " r"] | None:
        """Draws the audio of another video that is not silent; None if none is found."""
        others = np.flatnonzero(self.candidates(video, target))
        for _ in range(_DRAWS if len(others) else 0):
            excerpt = self._excerpt(int(rng.choice(others)), video, target)
            if not _is_silent(excerpt):
                return excerpt
        return None

    def _excerpt(self, source: int, video: int, target: int) -> Float32[np.ndarray, " r"]:
        """Returns the audio of `source` at the time of a frame of `video`, zero where the latter has ended."""
        start, stop = avc_inputs.audio_span(target, self._store.videos[video].fps, self._inputs)
        end, rate = self._seconds[video], self._store.videos[source].sample_rate
        ends = stop / self._inputs.sample_rate > end and self._seconds[source] > end
        read = audio.reader(self._store, source)
        read = audio.within(round(end * rate), read) if ends else read
        # One key per waveform: the cache is shared with all other clips.
        key = f"real, {end} s" if ends else "real"
        return audio.resampled(self._store, source, read, key, self._inputs.sample_rate, start, stop)


def sources(store: VideoStore) -> list[str]:
    """Returns a name of the source of each video; videos of one film, programme or recording share it.

    It is the video's own name in datasets whose videos are all of different sources.
    """
    found = []
    for part, videos in store.parts.items():
        dataset = part.partition(" ")[0].partition("/")[0]
        for video in videos:
            name = store.videos[video].id.rpartition("/")[2]
            found.append(f"{dataset}/{name.partition('_')[0] if dataset in _OF_ONE_SOURCE else name}")
    return found


def _is_silent(excerpt: Float32[np.ndarray, " r"]) -> bool:
    return float(np.sqrt(np.mean(np.square(excerpt)))) < _SILENCE
