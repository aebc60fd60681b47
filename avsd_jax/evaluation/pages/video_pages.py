"""Pages per video with frames, maps, ground truth and scores over time, of one or more models: OUT/pages/index.html.

`python -m avsd_jax.evaluate ... --pages` writes them after scoring, `python -m avsd_jax.compare A B ... --pages` with
several models side by side. A page is a self-contained file.
"""

import base64
import dataclasses
import hashlib
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import cv2
import numpy as np
from jaxtyping import Float, Num, UInt8

from avsd_jax.common import atomic_folders
from avsd_jax.common.atomic_files import make_folder, write_text
from avsd_jax.data import catalog
from avsd_jax.data.catalog import open_store
from avsd_jax.data.dataset_digest import dataset_digest
from avsd_jax.data.store import VideoStore
from avsd_jax.errors import InputError, storage_error
from avsd_jax.evaluation import earlier_scores, prediction_folders
from avsd_jax.evaluation.pages.html import Card, Video, index_page, video_page
from avsd_jax.evaluation.prediction_folders import PredictionFolder, VideoMaps
from avsd_jax.evaluation.score_files import Evaluation
from avsd_jax.metrics import LOWER_IS_BETTER
from avsd_jax.scoring import figures

WORST, EVEN = 24, 24
"""Maximum number of frames on a page: the worst, and others at regular intervals."""
_FOLDER, _INDEX = "pages", "index.html"
_QUALITY = 80  # of JPEG
_LONGEST = 200  # bytes of a file's name; file systems allow 255


@dataclass(frozen=True)
class Model:
    """A model to show.

    Attributes:
        name: of the model.
        evaluation: its scores.
        found: its maps, by split.
    """

    name: str
    evaluation: Evaluation
    found: Mapping[str, PredictionFolder]


def write(out: Path, models: Sequence[Model], stores: Mapping[str, VideoStore]) -> Path:
    """Writes `pages/index.html` and a page per video with scores into a folder, atomically.

    Only frames that all models have scored are shown. Pages of an earlier run are replaced.

    Args:
        out: the folder; created if missing.
        models: at least one, scored on the same data by the same protocol.
        stores: the videos, by split.

    Returns:
        The index.

    Raises:
        InputError: `out/pages` holds something else; a map is damaged; the models have no frame in common; or the
            folder cannot be written to.
    """
    target, partial, aside = (out / name for name in (_FOLDER, f".{_FOLDER}.partial", f".{_FOLDER}.aside"))
    make_folder(out)
    try:
        atomic_folders.restore(target, aside)
        _check_ours(target)
        for leftover in (partial, aside):
            shutil.rmtree(leftover, ignore_errors=True)
        _write_all(partial, models, stores)
        if target.exists():
            atomic_folders.exchange(partial, target, aside)
        else:
            partial.rename(target)
    except OSError as error:
        raise storage_error(error, target) or InputError(
            f"{target} cannot be written ({error.strerror}): give another folder"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target / _INDEX


def of_evaluations(
    out: Path, evaluations: Sequence[Evaluation], names: Sequence[str], data_dir: str | Path = catalog.DEFAULT_DATA_DIR
) -> Path:
    """Writes the pages of evaluations that were read from their folders; data and maps are opened again.

    Args:
        out: the folder to write to.
        evaluations: of the same data by the same protocol, see `same_frames.check_same`.
        names: of the models.
        data_dir: folder of built datasets.

    Raises:
        InputError: see `write`; or the dataset in `data_dir` is a different build than the scored one, or maps have
            changed since.
    """
    dataset = evaluations[0].record["dataset"]
    built = dataset_digest(str(catalog.open_builder(dataset["name"], data_dir).data_path))
    for each in evaluations:
        if each.record["dataset"].get("digest") != built:
            raise InputError(
                f"{each.folder} was scored on another build of {dataset['name']} than the one in {data_dir}: give its "
                "--data_dir, or run python -m avsd_jax.evaluate again"
            )
    stores = {split: open_store(dataset["name"], split, data_dir) for split in dataset["splits"]}
    models = [Model(name, each, _find(each, stores)) for name, each in zip(names, evaluations, strict=True)]
    return write(out, models, stores)


def file_name(video: str) -> str:
    """Returns the file name of a video's page, different for all videos."""
    name = quote(video, safe=" ")
    if name.lower() == "index":
        name = f"%{ord(name[0]):02X}{name[1:]}"  # `quote` never writes this
    if len(name) > _LONGEST:
        name = f"{name[: _LONGEST - 20]}-{hashlib.sha256(video.encode()).hexdigest()[:16]}"
    return f"{name}.html"


def shown_frames(scores: Float[np.ndarray, "models f"], metric: str) -> list[int]:
    """Returns the scored frames that a page shows, worst first, as positions on the axis `f`.

    The worst score of the models counts. Frames without a score come last.
    """
    signed = np.where(np.isnan(scores), np.inf, -scores if metric in LOWER_IS_BETTER else scores).min(axis=0)
    order = np.argsort(signed, kind="stable")
    even = np.linspace(0, len(order) - 1, min(EVEN, len(order))).round().astype(int)
    chosen = {*order[:WORST].tolist(), *even.tolist()}
    return [place for place in order.tolist() if place in chosen]


# ---------------------------------------------------------------------------------------------------------------------
# Collecting
# ---------------------------------------------------------------------------------------------------------------------


def _check_ours(target: Path) -> None:
    """Checks that the folder to be replaced holds pages."""
    if target.exists() and not earlier_scores.are_pages(target):
        raise InputError(f"{target} is there and holds no pages of an earlier run: remove it or give another --out")


def _find(evaluation: Evaluation, stores: Mapping[str, VideoStore]) -> dict[str, PredictionFolder]:
    """Finds the maps of an evaluation, to be read as for scoring.

    Raises:
        InputError: they are gone, or one of their files is newer than the scores.
    """
    record, found = evaluation.record, {}
    scored = (evaluation.folder / "scores.json").stat().st_mtime_ns
    for part in record["predictions"]:
        videos = stores[part["split"]].videos
        found[part["split"]] = prediction_folders.find(
            part["folder"],
            record["dataset"]["name"],
            {video.id: video.num_frames for video in videos},
            part["first_frame"],
            sizes={video.id: (video.map_height, video.map_width) for video in videos},
            colour_maps=record["maps"]["colour_maps"],
            other_forms=record["maps"]["other_forms"] == "read",
        )
        for maps in found[part["split"]].videos.values():
            for path in (*maps.files.values(), *maps.archives):
                if path.stat().st_mtime_ns > scored:
                    raise InputError(f"{path} was changed after it was scored: run python -m avsd_jax.evaluate again")
    return found


def _write_all(folder: Path, models: Sequence[Model], stores: Mapping[str, VideoStore]) -> None:
    record = models[0].evaluation.record
    metrics = _main_first(record["protocol"]["metrics"])
    names = [model.name for model in models]
    dataset = record["dataset"]
    about = f"{dataset['name']} {', '.join(dataset['splits'])}, protocol {record['protocol']['name']}."
    rows = _common_rows(models)
    pages = []
    for split, store in stores.items():
        for number, index in enumerate(store.videos):
            if (split, index.id) not in rows:
                continue
            name = f"{split}/{index.id}" if len(stores) > 1 else index.id
            frames, places = rows[split, index.id]
            scores = {
                m: np.stack([x.evaluation.frames.scores[m][own] for x, own in zip(models, places, strict=True)])
                for m in metrics
            }
            labels = np.asarray(store.avc_label(number), int)
            video = Video(name, file_name(name), index.num_frames, labels, frames, scores)
            shown = shown_frames(scores[metrics[0]], metrics[0])
            maps = [_maps(model, split, index.id, frames[shown].tolist()) for model in models]
            cards = [_card(store, number, int(frames[place]), maps) for place in shown]
            write_text(folder / video.file, video_page(video, cards, names, about, _chosen(video, shown, metrics[0])))
            pages.append(video)
    sign = -1 if metrics[0] in LOWER_IS_BETTER else 1
    pages.sort(key=lambda page: min((sign * x for x in page.means(metrics[0]) if x is not None), default=math.inf))
    absent = sorted({video for model in models for video in model.evaluation.record["missing"]["videos"]})
    write_text(folder / _INDEX, index_page(pages, names, metrics, about, absent))


def _main_first(metrics: Sequence[str]) -> list[str]:
    """Returns the metrics, with the one that orders the frames first."""
    return sorted(metrics, key=lambda metric: metric != "CC")


def _common_rows(models: Sequence[Model]) -> dict[tuple[str, str], tuple[np.ndarray, list[np.ndarray]]]:
    """Maps (split, video) to the frames that all models have scored, ascending, and their rows in each evaluation."""
    places = [{key: row for row, key in enumerate(model.evaluation.keys)} for model in models]
    common: dict[tuple[str, str], list[int]] = {}
    for split, video, frame in sorted(set(places[0]).intersection(*places[1:])):
        common.setdefault((split, video), []).append(frame)
    if not common:
        raise InputError("the models have no frame in common: score them on the same videos")
    return {
        key: (np.array(frames), [np.array([place[(*key, frame)] for frame in frames]) for place in places])
        for key, frames in common.items()
    }


def _chosen(video: Video, shown: Sequence[int], metric: str) -> str:
    if len(shown) == len(video.frames):
        return f"All {len(shown)} scored frames, worst {metric} first."
    return (
        f"{len(shown)} of {len(video.frames)} scored frames: the {WORST} of the worst {metric}, and {EVEN} at regular "
        "intervals. Other orders sort these."
    )


def _maps(model: Model, split: str, video: str, frames: Sequence[int]) -> dict[int, Num[np.ndarray, "h w"]]:
    """Reads a model's maps of the given frames, as far as they exist."""
    maps = model.found[split].videos.get(video)
    if maps is None:
        return {}
    wanted = set(frames)
    asked: VideoMaps = dataclasses.replace(maps, files={f: path for f, path in maps.files.items() if f in wanted})
    return {frame: values for frame, values, _ in prediction_folders.read(asked) if frame in wanted}


def _card(store: VideoStore, number: int, frame: int, maps: Sequence[Mapping[int, Num[np.ndarray, "h w"]]]) -> Card:
    """Draws a frame, the ground truth and each model's map; over grey if there are no frames."""
    density = store.density(number, frame)
    image = store.frames(number, [frame])[0] if store.has_frames else np.full((*density.shape, 3), 128, np.uint8)
    height = max(1, round(figures.CELL * image.shape[0] / image.shape[1]))
    truth = figures.truth(image, density, store.fixations(number, frame), height)
    drawn = [_jpeg(figures.laid_over(image, own[frame], height)) if frame in own else None for own in maps]
    shown = _jpeg(figures.fit(image, height)) if store.has_frames else None
    return Card(frame, shown, _jpeg(truth), tuple(drawn))


def _jpeg(image: UInt8[np.ndarray, "h w 3"]) -> str:
    """Encodes an image as a data URI."""
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()
