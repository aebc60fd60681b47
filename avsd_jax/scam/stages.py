"""The stages of weak supervision, each of which resumes where it was stopped.

    WORKDIR/<row>/               a trained classifier, coarse ones first (`config.scam.coarse`, then `.fine`)
    WORKDIR/cams/<row>/<id>.npz  its activation maps of a video: `cams` uint8 [n, h, w], `confidence` float32 [n]
    WORKDIR/boxes.json           {video id: {frame: box}}, for frames with confident coarse maps
    WORKDIR/maps/                the pseudo ground truth, see `avsd_jax.data.target_maps`

The n frames of a video are every `config.eval_stride`-th. A box is (first row, last row, first column, last column),
counted from 1 and inclusive, in the square plane of `config.scam.side` pixels to which frames are resized.
"""

import itertools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float32, UInt8
from ml_collections import ConfigDict
from tqdm import tqdm

from avsd_jax.batch import model_inputs
from avsd_jax.common import atomic_files, logs
from avsd_jax.common.parallel import check_batch_size, make_mesh
from avsd_jax.common.safe_paths import below
from avsd_jax.data import pipeline, target_maps
from avsd_jax.data.catalog import open_store
from avsd_jax.data.store import VideoStore
from avsd_jax.errors import InputError
from avsd_jax.experiment.comparison import Row, plan
from avsd_jax.runs import checkpoint
from avsd_jax.runs.revisions import with_commits
from avsd_jax.scam import cam, fusion
from avsd_jax.sources.build import build
from avsd_jax.training import loop

# Fields that may differ when a run resumes; the others determine the content of its files.
MAY_CHANGE = (
    "checkpoint_every",
    "data_dir",
    "data_threads",
    "eval_batch_size",
    "executor",
    "keep_checkpoints",
    "log_every",
    "tensorboard",
)

Boxes = dict[str, dict[int, fusion.Box]]
Cams = tuple[UInt8[np.ndarray, "n h w"], Float32[np.ndarray, " n"]]


def run(config: ConfigDict, workdir: str | Path) -> dict[str, Any]:
    """Makes the pseudo ground truth of a training split from the tags of its videos alone.

    Args:
        config: as `configs/scam.py` makes it.
        workdir: folder of the run.

    Returns:
        The record of `WORKDIR/maps`: for each classifier the share of frames whose best tag is one of their video's,
        and its mean confidence there; the number of boxes and of maps.

    Raises:
        InputError: a row or the rule of maps is unknown, the data is not prepared or has videos without a known tag,
            or `workdir` holds another run.
    """
    workdir = Path(workdir)
    config = with_commits(config, workdir)
    rows = {row.name: row for row in plan(config, workdir, "train")}
    for name in (*config.scam.coarse, *config.scam.fine):
        if name not in rows:
            raise InputError(f"config.rows lacks {name!r}, which config.scam names: give both the same rows")
    cam.check_rule(config.scam.rule)  # before any classifier is trained
    coarse, fine = ([rows[name] for name in names] for names in (config.scam.coarse, config.scam.fine))
    if config.build_data:
        build(config.dataset, config.data_dir, num_workers=os.cpu_count() or 1)
    store = target_maps.ignore_gaze(open_store(config.dataset, config.train_split, config.data_dir))
    _present(store, config.tags)  # fails here, before the long start
    for row in rows.values():
        check_batch_size(row.config.batch_size, make_mesh())
    loop.check_same_run(config, workdir, MAY_CHANGE)

    parts = len(coarse) + len(fine) + 2
    for k, row in enumerate(coarse, 1):
        logs.stage(f"{k} of {parts}: activation maps of {row.name}", jax.process_index())
        loop.train(row.config, row.folder, parts=row.parts, store=store)
        # Not earlier: a run that cannot start must not hold the folder, and the record is first needed now.
        checkpoint.write_config(workdir, config)
        write_cams(row, store, workdir / "cams" / row.name, config.scam.rule)
    logs.stage(f"{len(coarse) + 1} of {parts}: boxes", jax.process_index())
    boxes = find_boxes(config, store, workdir, [row.name for row in coarse])
    shown = cropped(store, boxes, config.scam.side)
    for k, row in enumerate(fine, len(coarse) + 2):
        logs.stage(f"{k} of {parts}: activation maps of {row.name} within the boxes", jax.process_index())
        loop.train(row.config, row.folder, parts=row.parts, store=shown)
        write_cams(row, shown, workdir / "cams" / row.name, config.scam.rule)
    logs.stage(f"{parts} of {parts}: maps", jax.process_index())
    return write_maps(config, store, workdir, boxes)


def _present(store: VideoStore, tags: Sequence[str]) -> Bool[np.ndarray, "v k"]:
    """Returns which of the tags each video has."""
    present = np.array([[tag in video.tags for tag in tags] for video in store.videos], bool)
    without = [video.id for video, row in zip(store.videos, present, strict=True) if not row.any()]
    if without:
        raise InputError(
            f"{store.name}: video {without[0]!r} has none of the tags {', '.join(tags)}: correct config.tags"
        )
    return present


# ---------------------------------------------------------------------------------------------------------------------
# Activation maps
# ---------------------------------------------------------------------------------------------------------------------


def write_cams(row: Row, store: VideoStore, folder: Path, rule: str) -> None:
    """Writes a trained classifier's activation maps and confidences of all videos that have no file yet."""
    present = _present(store, row.config.tags)
    todo = [i for i, video in enumerate(store.videos) if not _cam_file(folder, video.id).exists()]
    bar = tqdm(total=len(store.videos), initial=len(store.videos) - len(todo), desc=f"{row.name} cams", unit="video")
    with bar:
        for video, outputs in itertools.groupby(_classified(row, store, todo), key=lambda output: output[0]):
            classified = [
                (cam.activation_image(class_maps, present[video], rule), cam.confidence(scores, present[video]))
                for _, class_maps, scores in outputs
            ]
            cams, confidence = np.stack([c for c, _ in classified]), np.array([p for _, p in classified], np.float32)
            path = _cam_file(folder, store.videos[video].id)
            atomic_files.write(path, lambda file, c=cams, p=confidence: np.savez_compressed(file, cams=c, confidence=p))
            bar.update()


def _classified(row: Row, store: VideoStore, videos: Sequence[int]) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yields (video, class maps [h, w, K], scores [K]) of each frame in order."""
    if not videos:
        return
    config, model = row.config, row.parts.model

    @jax.jit
    def forward(variables: Any, batch: Any) -> tuple[jax.Array, jax.Array]:
        output = model.apply(variables, batch, train=False)
        return output["class_maps"], output["tag_scores"]

    placed = jax.device_put(checkpoint.load_for_inference(row.folder)[1])
    batches = pipeline.eval_batches(
        store, row.parts.spec, batch_size=config.eval_batch_size, stride=config.eval_stride, videos=videos
    )
    for batch in batches:
        class_maps, scores = jax.device_get(forward(placed, model_inputs(batch)))
        for i in np.flatnonzero(batch["mask"]):
            yield int(batch["video_index"][i]), class_maps[i], scores[i]


def _cam_file(folder: Path, video_id: str) -> Path:
    return below(folder, f"{video_id}.npz")


def _read_cams(config: ConfigDict, workdir: Path, name: str, video_id: str) -> Cams:
    """Returns a classifier's maps of a video, and its confidence if that is high enough, else 0."""
    with np.load(_cam_file(workdir / "cams" / name, video_id)) as archive:
        confidence = archive["confidence"]
        return archive["cams"], np.where(confidence > config.scam.confidence, confidence, 0)


def _fused(
    config: ConfigDict, workdir: Path, names: Sequence[str], video_id: str
) -> Iterator[Float32[np.ndarray, "s s"] | None]:
    """Yields the classifiers' fused map of each frame of a video; None if all of them are wrong."""
    read = [_read_cams(config, workdir, name, video_id) for name in names]
    for frame in zip(*(zip(cams, confidence, strict=True) for cams, confidence in read), strict=True):
        confidences = [float(p) for _, p in frame]
        if any(confidences):
            yield np.float32(fusion.fuse([cam.enlarged(c, config.scam.side) for c, _ in frame], confidences))
        else:
            yield None


# ---------------------------------------------------------------------------------------------------------------------
# Boxes and crops
# ---------------------------------------------------------------------------------------------------------------------


def find_boxes(config: ConfigDict, store: VideoStore, workdir: Path, names: Sequence[str]) -> Boxes:
    """Returns the box of each frame with a confident coarse classifier, from `boxes.json` if it exists."""
    path = workdir / "boxes.json"
    if not path.is_file():
        found: dict[str, dict[int, list[int]]] = {}
        for video in tqdm(store.videos, desc="boxes", unit="video"):
            fused = enumerate(_fused(config, workdir, names, video.id))
            found[video.id] = {
                i * config.eval_stride: fusion.bounding_box(plane, config.scam.box_threshold).tolist()
                for i, plane in fused
                if plane is not None
            }
        if not any(found.values()):
            raise InputError(
                "no coarse classifier recognises a tag of any video: train longer or lower scam.confidence"
            )
        atomic_files.write_json(path, found)
    boxes = json.loads(path.read_text())
    return {video: {int(i): np.array(box) for i, box in frames.items()} for video, frames in boxes.items()}


def cropped(store: VideoStore, boxes: Boxes, side: int) -> VideoStore:
    """Returns the videos of the fine classifiers: each frame cropped to its box, targets only where there is one.

    A frame without a box, such as a neighbour of a target, is cut to that of the nearest frame that has one.
    """
    known = [np.array(sorted(boxes[video.id]), int) for video in store.videos]

    def crop(video: int, frame: int, image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "ch cw 3"]:
        if not len(known[video]):
            return image
        nearest = known[video][np.abs(known[video] - frame).argmin()]
        return fusion.crop(image, boxes[store.videos[video].id][int(nearest)], side)

    return target_maps.only(store, lambda video, frame: frame in boxes[store.videos[video].id], crop)


# ---------------------------------------------------------------------------------------------------------------------
# Pseudo ground truth
# ---------------------------------------------------------------------------------------------------------------------


def write_maps(config: ConfigDict, store: VideoStore, workdir: Path, boxes: Boxes) -> dict[str, Any]:
    """Fuses the fine classifiers' maps, pastes them back into their boxes, smooths and writes them."""
    folder = workdir / "maps"
    if not (folder / target_maps.RECORD).is_file():
        count = sum(
            _write_video(config, workdir, folder, video.id, boxes[video.id])
            for video in tqdm(store.videos, desc="maps", unit="video")
        )
        if not count:
            raise InputError("no frame has a map: lower eval_stride or scam.confidence, or set scam.smooth=False")
        names = (*config.scam.coarse, *config.scam.fine)
        branches = {name: _branch_record(config, store, workdir, name) for name in names}
        facts = {"classifiers": branches, "boxes": sum(map(len, boxes.values())), "maps": count}
        target_maps.write_record(folder, config.dataset, config.train_split, facts)
    return json.loads((folder / target_maps.RECORD).read_text())


def _write_video(
    config: ConfigDict, workdir: Path, folder: Path, video_id: str, boxes: Mapping[int, fusion.Box]
) -> int:
    """Writes the maps of the frames that have one; returns their number."""
    side, stride = config.scam.side, config.eval_stride
    own: list[bool] = []

    def pasted() -> Iterator[np.ndarray]:
        for i, plane in enumerate(_fused(config, workdir, config.scam.fine, video_id)):
            own.append(plane is not None and i * stride in boxes)
            yield fusion.paste(plane, boxes[i * stride], side) if own[-1] else np.zeros((side, side))

    threshold = config.scam.map_threshold
    if config.scam.smooth:
        finished = fusion.smooth(pasted(), threshold)
    else:
        finished = ((i, fusion.cut(fusion.min_max(plane), threshold)) for i, plane in enumerate(pasted()))
    count = 0
    for i, plane in finished:
        if own[i]:
            target_maps.write_map(folder, video_id, i * stride, fusion.as_image(255 * plane))
            count += 1
    return count


def _branch_record(config: ConfigDict, store: VideoStore, workdir: Path, name: str) -> dict[str, float]:
    confidence = np.concatenate([_read_cams(config, workdir, name, video.id)[1] for video in store.videos])
    sure = confidence[confidence > 0]
    return {"agrees": len(sure) / len(confidence), "confidence": float(sure.mean()) if len(sure) else 0.0}
