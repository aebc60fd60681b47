"""Routes of the page Label: frames, the strip of the audio, edits of labels, proposals, agreement and export."""

import hashlib
import io
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from anyio.to_thread import run_sync
from PIL import Image
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from avsd_jax.errors import InputError
from avsd_jax.labelling import agreement, annotation, exporting, strip
from avsd_jax.labelling import proposals as proposed
from avsd_jax.labelling.agreement import Agreement
from avsd_jax.labelling.preparation import Prepared
from avsd_jax.labelling.track import NAMES, UNLABELLED
from avsd_jax.media.exact_frames import ExactFrames
from avsd_jax.prediction.map_writers import CONSISTENCY_RECORD, CONSISTENCY_TABLE
from avsd_jax.web.labels import PROPOSALS, Labels
from avsd_jax.web.site import json_of, site_of, video_of
from avsd_jax.web.video_library import Video
from avsd_jax.web.video_routes import started

_BINARY = "application/octet-stream"
# An address with the state of the file in it never shows anything else.
_KEPT = {"cache-control": "private, max-age=86400, immutable"}
# Pixels of the longer side of a frame, and columns of a strip.
_LONGEST, _MOST_COLUMNS = 1280, 8192


def _labels(request: Request) -> Labels:
    return request.app.state.labels


def _ready(request: Request) -> tuple[Video, Prepared, ExactFrames]:
    """Returns the video of a request, prepared.

    Raises:
        HTTPException: 409 if it is not prepared.
    """
    video = video_of(request)
    found = _labels(request).prepared(video)
    if found is None:
        raise HTTPException(409, "the video is not prepared yet: load the page again")
    return video, *found


def _number(request: Request, name: str, default: float | None = None) -> float:
    try:
        value = float(request.query_params.get(name, "" if default is None else default))
    except ValueError as error:
        raise HTTPException(400, f"{name} is missing or no number") from error
    if not np.isfinite(value):
        raise HTTPException(400, f"{name} is not finite")
    return value


# ---------------------------------------------------------------------------------------------------------------------
# The video
# ---------------------------------------------------------------------------------------------------------------------


def status(request: Request) -> Response:
    """Whether the video is prepared, and what of; the first time it begins."""
    video = video_of(request)
    info = site_of(request).library.info(video)
    said = _labels(request).status(video, info)
    if said["state"] == "ready":
        _, found, _ = _ready(request)
        said |= {
            "frames": len(found.index.times),
            "audio": found.audio,
            "stamp": video.stamp,
            "aspect": float(info.width * info.pixel_aspect / info.height),
            "bands": strip.BANDS,
            "annotators": _labels(request).annotators(video),
        }
    return JSONResponse(said)


def times(request: Request) -> Response:
    """The times of all frames in seconds, as doubles with the lowest byte first."""
    _, found, _ = _ready(request)
    return Response(found.index.times.astype("<f8").tobytes(), media_type=_BINARY, headers=_KEPT)


def frame(request: Request) -> Response:
    """The frame of a number, from 1, as JPEG."""
    _, _, frames = _ready(request)
    try:
        image = frames.picture(request.path_params["number"] - 1, _LONGEST)
    except IndexError as error:
        raise HTTPException(404, "there is no such frame") from error
    out = io.BytesIO()
    Image.fromarray(image).save(out, "JPEG", quality=88)
    return Response(out.getvalue(), media_type="image/jpeg", headers=_KEPT)


def columns(request: Request) -> Response:
    """Columns of the strip from `?start=` to `?stop=` seconds; see `avsd_jax.labelling.strip`."""
    _, found, _ = _ready(request)
    if not found.audio:
        raise HTTPException(404, "the video has no audio")
    start, stop, count = _number(request, "start"), _number(request, "stop"), int(_number(request, "columns"))
    if not (0 < count <= _MOST_COLUMNS and -1e6 < start < stop < 1e6):
        raise HTTPException(400, "this is no part of a strip")
    data = strip.read(found.folder, start, stop, count)
    return Response(data.tobytes(), media_type=_BINARY, headers=_KEPT)


# ---------------------------------------------------------------------------------------------------------------------
# Labels
# ---------------------------------------------------------------------------------------------------------------------


def labels(request: Request) -> Response:
    """The labels of an annotator, with what a tab needs to go on editing; see `Annotation.state`."""
    video, found, _ = _ready(request)
    client, name = request.query_params.get("client", ""), request.path_params["name"]
    state = _labels(request).with_annotation(video, name, found, lambda opened: opened.state(client), create=False)
    empty = {"revision": 0, "seen": 0, "frames": len(found.index.times), "base": [], "done": [], "undone": []}
    return JSONResponse(state or empty)


async def edit(request: Request) -> Response:
    """Applies edits; 409 with the present labels if another tab has edited in between."""
    sent = await json_of(request)
    return await run_sync(_edit, request, sent)


def _edit(request: Request, sent: dict[str, Any]) -> Response:
    video, found, _ = _ready(request)
    client = sent.get("client")

    def submit(opened: annotation.Annotation) -> Response:
        try:
            opened.submit(client, sent.get("base"), sent.get("edits"))
        except annotation.Conflict:
            return JSONResponse({"error": "another tab has edited these labels", **opened.state(client)}, 409)
        except InputError as error:  # edits that are wrong at any time, and not a file that others hold
            return JSONResponse({"error": str(error), "refused": True}, 400)
        return JSONResponse({"revision": opened.revision})

    return _labels(request).with_annotation(video, request.path_params["name"], found, submit)


def export(request: Request) -> Response:
    """The label file of an annotator, as `python -m avsd_jax.avc_labels` reads it."""
    video, found, _ = _ready(request)
    name = request.path_params["name"]
    made = _labels(request).with_annotation(video, name, found, lambda opened: opened.labels, create=False)
    if made is None:
        raise HTTPException(404, f"there are no labels of {name}")
    return _table(video, exporting.table(made))


def merged(request: Request) -> Response:
    """The label file of all annotators together, or of those named by `?annotator=`."""
    video, found, _ = _ready(request)
    wanted = request.query_params.getlist("annotator")
    all_labels = _labels(request).labels(video, found)
    chosen = [made for name, made in all_labels.items() if not wanted or name in wanted]
    return _table(video, exporting.table(exporting.majority(chosen)))


def _table(video: Video, text: str) -> Response:
    name = quote(f"{Path(video.name).stem}.csv")
    return Response(
        text, media_type="text/csv", headers={"content-disposition": f"attachment; filename*=UTF-8''{name}"}
    )


def agreements(request: Request) -> Response:
    """How much each annotator has labelled, and how far each two of them agree, by frame and by second."""
    video, found, _ = _ready(request)
    made = _labels(request).labels(video, found)
    seconds = np.floor(found.index.times + 1e-6).astype(int)
    names = list(made)
    pairs = [
        {"first": first, "second": second, **_said(agreement.compare(made[first], made[second], seconds))}
        for at, first in enumerate(names)
        for second in names[at + 1 :]
    ]
    counts = [
        {"name": name, **{NAMES[label]: int((each == label).sum()) for label in NAMES}} for name, each in made.items()
    ]
    merge = exporting.majority(list(made.values())) if made else np.full(0, UNLABELLED, np.int8)
    whole = {NAMES[label]: int((merge == label).sum()) for label in NAMES}
    return JSONResponse({"frames": len(found.index.times), "annotators": counts, "pairs": pairs, "merged": whole})


def _said(found: agreement.Comparison) -> dict[str, Any]:
    return {key: each._asdict() if isinstance(each, Agreement) else each for key, each in found._asdict().items()}


# ---------------------------------------------------------------------------------------------------------------------
# Proposals
# ---------------------------------------------------------------------------------------------------------------------


def _proposal_folder(request: Request, video: Video, checkpoint: str | None) -> Path:
    said = json.dumps([video.stamp, checkpoint])
    return _labels(request).folder(video) / PROPOSALS / hashlib.sha256(said.encode()).hexdigest()[:16]


def classifiers(request: Request) -> Response:
    """The classifiers that can propose labels of a video, and whether they have."""
    video = video_of(request)
    given = [(f"checkpoint {number + 1}: {each}", each) for number, each in enumerate(_checkpoints(request)[1:])]
    said = [
        {
            "id": number,
            "name": name,
            "done": (_proposal_folder(request, video, checkpoint) / CONSISTENCY_RECORD).exists(),
        }
        for number, (name, checkpoint) in enumerate([("sound and motion (no weights)", None), *given])
    ]
    return JSONResponse({"classifiers": said})


def _checkpoints(request: Request) -> tuple[str | None, ...]:
    return (None, *site_of(request).settings.checkpoints)


def _classifier(request: Request) -> str | None:
    number, all_of_them = request.path_params["classifier"], _checkpoints(request)
    if number >= len(all_of_them):
        raise HTTPException(404, "there is no such classifier: load the page again")
    return all_of_them[number]


def propose(request: Request) -> Response:
    """Starts to score the video, unless that was done."""
    video, checkpoint = video_of(request), _classifier(request)
    site_of(request).library.info(video)
    folder = _proposal_folder(request, video, checkpoint)
    if (folder / CONSISTENCY_RECORD).exists():
        return JSONResponse({"job": None})
    task = {"kind": "propose", "video": str(video.path), "out": str(folder), "checkpoint": checkpoint}
    job = site_of(request).jobs.submit(f"propose {folder}", task, {"video": video.id, "name": video.name})
    return started(job)


def proposal(request: Request) -> Response:
    """The labels and probabilities that a classifier proposes; see `avsd_jax.labelling.proposals`."""
    video, found, _ = _ready(request)
    folder = _proposal_folder(request, video, _classifier(request))
    if not (folder / CONSISTENCY_RECORD).exists():
        raise HTTPException(404, "this classifier has proposed nothing yet")
    try:
        return JSONResponse(proposed.read(folder / CONSISTENCY_TABLE, len(found.index.times)))
    except InputError as error:
        raise HTTPException(409, str(error)) from error


_VIDEO = "/api/labels/{video}"
routes = [
    Route(_VIDEO, status),
    Route(f"{_VIDEO}/times", times),
    Route(f"{_VIDEO}/frames/{{number:int}}", frame),
    Route(f"{_VIDEO}/strip", columns),
    Route(f"{_VIDEO}/by/{{name}}", labels, methods=["GET"]),
    Route(f"{_VIDEO}/by/{{name}}", edit, methods=["POST"]),
    Route(f"{_VIDEO}/by/{{name}}/export", export),
    Route(f"{_VIDEO}/merged", merged),
    Route(f"{_VIDEO}/agreement", agreements),
    Route(f"{_VIDEO}/classifiers", classifiers),
    Route(f"{_VIDEO}/classifiers/{{classifier:int}}", proposal, methods=["GET"]),
    Route(f"{_VIDEO}/classifiers/{{classifier:int}}", propose, methods=["POST"]),
]
