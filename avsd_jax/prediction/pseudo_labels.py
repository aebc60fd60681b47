"""Predicted maps of a split as targets of a next training: the step between two stages of weak supervision."""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import jax
import numpy as np
from jaxtyping import Float
from tqdm import tqdm

from avsd_jax.batch import model_inputs
from avsd_jax.common import hub
from avsd_jax.common.atomic_files import make_folder
from avsd_jax.data import catalog, pipeline, target_maps
from avsd_jax.data.clip_spec import ClipSpec
from avsd_jax.data.store import VideoStore
from avsd_jax.errors import InputError
from avsd_jax.prediction.batches import check_finite
from avsd_jax.prediction.loading import without_weights
from avsd_jax.runs.checkpoint import load_for_inference
from avsd_jax.runs.components import Inference, make_forward


@dataclasses.dataclass(frozen=True)
class _Labeler:
    """A model.

    Attributes:
        source: its folder or name, for messages.
        spec: the clips that it reads.
        forward: its compiled prediction.
        variables: on the devices.
    """

    source: str
    spec: ClipSpec
    forward: Any
    variables: Any

    def maps(
        self, store: VideoStore, video: int, stride: int, batch_size: int
    ) -> Iterator[tuple[int, Float[np.ndarray, "h w"]]]:
        """Yields (frame, map) of every `stride`-th frame of a video."""
        batches = pipeline.eval_batches(store, self.spec, batch_size=batch_size, stride=stride, videos=[video])
        for batch in batches:
            saliency = np.float32(self.forward(self.variables, model_inputs(batch))["saliency"])
            for row in np.flatnonzero(batch["mask"]):
                frame = int(batch["frame_index"][row])
                check_finite(saliency[row], self.source, frame)
                yield frame, saliency[row]


def write(
    checkpoints: Sequence[str | Path],
    out: str | Path,
    *,
    models: Sequence[str] = (),
    dataset: str | None = None,
    split: str | None = None,
    data_dir: str | Path | None = None,
    stride: int = 1,
    batch_size: int = 8,
    progress: bool = True,
) -> int:
    """Writes the maps that models predict for the videos of a split, as `config.target_maps` reads them.

    No eye-tracking data is read. Values are those of the models, 8 bits, not stretched.

    Args:
        checkpoints: folders of runs or of converted or shared models, or addresses on a hub; the maps of several are
            averaged.
        out: folder to write to; the maps of an interrupted command in it are made again.
        models: names of models without weights, whose maps are averaged with these.
        dataset, split, data_dir: the videos; by default those of the first one's configuration.
        stride: distance between the frames that get a map, and so become targets.
        batch_size: clips per batch.
        progress: show a bar on stderr.

    Returns:
        The number of maps.

    Raises:
        InputError: there is no model, a folder holds none that predicts maps or one of a model of sequences, they
            predict maps of different frames, the data is not prepared, or `out` holds the maps of a completed command.
    """
    out = Path(out)
    if (out / target_maps.RECORD).exists():
        raise InputError(f"{out} holds maps already: give a new folder, or remove that one")
    places = [hub.pinned(place) for place in checkpoints]
    loaded = {place: load_for_inference(place) for place in places}
    loaded |= {name: without_weights(name) for name in models}
    if not loaded:
        raise InputError("no model is given whose maps become targets: give a folder or a name")
    config = next(iter(loaded.values()))[0]
    dataset, split = dataset or config.dataset, split or config.train_split
    store = catalog.open_store(dataset, split, data_dir or config.data_dir)
    store = target_maps.ignore_gaze(store)
    labelers = [
        _Labeler(source, parts.spec, make_forward(parts.model), jax.device_put(variables))
        for source, (own, variables) in loaded.items()
        for parts in [Inference.from_config(own)]
    ]
    for labeler in labelers:
        if labeler.spec.num_maps:
            raise InputError(f"{labeler.source} maps every frame of a clip: give models that map one frame")
    make_folder(out)
    count = 0
    for number, video in enumerate(tqdm(store.videos, desc="maps", unit="video", disable=not progress)):
        streams = [labeler.maps(store, number, stride, batch_size) for labeler in labelers]
        for of_frame in itertools.zip_longest(*streams, fillvalue=(-1, None)):
            frames, maps = zip(*of_frame, strict=True)
            if len(set(frames)) > 1:
                raise InputError(f"{', '.join(loaded)} predict different frames of {video.id}: give them one sampler")
            target_maps.write_map(out, video.id, frames[0], _mean(maps))
            count += 1
    facts = {
        "models": [source if hub.is_address(source) else Path(source).name for source in loaded],
        "stride": stride,
        "maps": count,
    }
    target_maps.write_record(out, dataset, split, facts)
    return count


def _mean(maps: Sequence[Float[np.ndarray, "_ _"]]) -> np.ndarray:
    """Returns the mean as bytes, at the size of the first map."""
    height, width = maps[0].shape
    resized = [cv2.resize(x, (width, height), interpolation=cv2.INTER_LINEAR) for x in maps]
    return np.rint(255 * np.clip(np.mean(resized, axis=0), 0, 1)).astype(np.uint8)
