"""Routes of the page Watch: models, predictions, results and their files."""

import functools
import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

import cv2
import numpy as np
from anyio.to_thread import run_sync
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from avsd_jax.prediction.traits import MODES
from avsd_jax.web.results import FILES, SCORES, id_of
from avsd_jax.web.site import file, json_of, shown, site_of, video_of
from avsd_jax.web.video_routes import started

WITHOUT_WEIGHTS = "gbvs_av"
# Colour maps of the page; `turbo` is that of the overlay file.
_COLOURS = {
    "turbo": cv2.COLORMAP_TURBO,
    "viridis": cv2.COLORMAP_VIRIDIS,
    "inferno": cv2.COLORMAP_INFERNO,
    "hot": cv2.COLORMAP_HOT,
    "jet": cv2.COLORMAP_JET,
}
# Pixels of the longer side of a map on the page: maps are smooth, and the page enlarges them.
_LONGEST = 480
_CHUNK = 1 << 20


def _models(request: Request) -> dict[str, str | None]:
    """Returns the checkpoints by the names of their models on the page; None is the model without weights."""
    given = site_of(request).settings.checkpoints
    return {**{str(number): each for number, each in enumerate(given)}, WITHOUT_WEIGHTS: None}


def models(request: Request) -> Response:
    """The models to choose from, the default first, and the modes."""
    said = [
        {"id": name, "name": f"{WITHOUT_WEIGHTS} (no weights needed)" if checkpoint is None else checkpoint}
        for name, checkpoint in _models(request).items()
    ]
    return JSONResponse({"models": said, "modes": MODES})


async def predict(request: Request) -> Response:
    """Starts a prediction, or finds the one that is running, or its result; with `again` an old result is removed."""
    asked = await json_of(request)
    return await run_sync(_predict, request, asked)


def _predict(request: Request, asked: dict) -> Response:
    site, choices = site_of(request), _models(request)
    found = video_of(request, str(asked.get("video")))
    site.library.info(found)
    model, mode = asked.get("model", next(iter(choices))), asked.get("mode", MODES[0])
    if not isinstance(model, str) or model not in choices or mode not in MODES:
        raise HTTPException(400, "there is no such model or mode: load the page again")
    checkpoint = choices[model]
    result = id_of(found, {"checkpoint": checkpoint, "mode": mode})
    if site.results.get(result) is not None:
        if asked.get("again") is not True:
            return JSONResponse({"result": result})
        site.results.remove(result)
    name = shown(found)["name"]
    record = {"video": found.id, "name": name, "stamp": found.stamp, "checkpoint": checkpoint, "mode": mode}
    task = {
        "kind": "predict",
        "video": str(found.path),
        "out": str(site.results.folder(result)),
        "checkpoint": checkpoint,
        "mode": mode,
        "record": record,
    }
    return started(site.jobs.submit(result, task, {"video": found.id, "name": name}))


def results(request: Request) -> Response:
    """Earlier results, the latest first; of one video with `?video=`."""
    video = request.query_params.get("video")
    said = [record for record in site_of(request).results.all() if video in (None, record["video"])]
    return JSONResponse({"results": said})


def _result(request: Request) -> str:
    result = request.path_params["result"]
    if site_of(request).results.get(result) is None:
        raise HTTPException(404, "there is no such result (any more): load the page again")
    return result


def result(request: Request) -> Response:
    """A result: its record, and the number and size of its files."""
    site, found = site_of(request), _result(request)
    sizes = [path.stat().st_size for path in site.results.files(found)]
    return JSONResponse({**site.results.get(found), "files": len(sizes), "bytes": sum(sizes)})


def remove(request: Request) -> Response:
    """Removes a result."""
    site_of(request).results.remove(_result(request))
    return Response(status_code=204)


def timeline(request: Request) -> Response:
    """The record of the prediction, frame by frame."""
    return file(site_of(request).results.timeline(_result(request)), "application/json")


def overlay(request: Request) -> Response:
    """The overlay file, or a range of it."""
    path = site_of(request).results.overlay(_result(request))
    if path is None:
        raise HTTPException(404, "there is no overlay")
    return file(path, "video/mp4", path.name if "save" in request.query_params else None)


def one_map(request: Request) -> Response:
    """The map of a frame, as PNG of at most 480 pixels."""
    site, found = site_of(request), _result(request)
    path = site.results.folder(found) / FILES / "maps" / f"{request.path_params['frame']:06d}.png"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise HTTPException(404, "there is no such frame") from error
    # A result never changes; another one of the same id has another `?v=`.
    return Response(_small(data), media_type="image/png", headers={"cache-control": "private, max-age=604800"})


def _small(data: bytes) -> bytes:
    levels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    scale = _LONGEST / max(levels.shape)
    if scale >= 1:
        return data
    size = max(1, round(levels.shape[1] * scale)), max(1, round(levels.shape[0] * scale))
    return cv2.imencode(".png", cv2.resize(levels, size, interpolation=cv2.INTER_AREA))[1].tobytes()


@functools.cache
def _colours() -> bytes:
    ramp = np.arange(256, dtype=np.uint8)[:, None]
    tables = {name: cv2.applyColorMap(ramp, code)[:, 0, ::-1].tolist() for name, code in _COLOURS.items()}
    return json.dumps({**tables, "grey": np.repeat(ramp, 3, 1).tolist()}).encode()


def colours(request: Request) -> Response:
    """The colour maps: 256 triples each."""
    return Response(_colours(), media_type="application/json", headers={"cache-control": "private, max-age=86400"})


def scores(request: Request) -> Response:
    """Scores by frame; 202 with a job if they are to be computed first, 204 if there is no ground truth."""
    site, found = site_of(request), _result(request)
    path = site.results.folder(found) / SCORES
    if path.exists():
        return file(path, "application/json")
    truth = site.settings.ground_truth
    record = site.results.get(found)
    name = Path(record["name"]).stem
    if truth is None or not _has_truth(truth, name):
        return Response(status_code=204)
    task = {"kind": "score", "video_id": name, "out": str(site.results.folder(found)), "ground_truth": str(truth)}
    return started(site.jobs.submit(f"score {found}", task, {"video": record["video"], "name": record["name"]}))


def _has_truth(folder: Path, video: str) -> bool:
    """Returns whether a folder has density maps of a video, in either layout, as files or as a volume."""
    if (folder / "maps").is_dir():
        return any(path.name == video or path.stem == video for path in (folder / "maps").iterdir())
    return (folder / video / "maps").is_dir()


def archive(request: Request) -> Response:
    """All files of a result as a zip, made while it is sent."""
    site, found = site_of(request), _result(request)
    # Without what is a folder's separator elsewhere.
    stem = Path(site.results.get(found)["name"]).stem.replace("\\", "_")
    folder = site.results.folder(found)
    files = [(path, f"{stem}/{_inside(path, folder)}") for path in site.results.files(found)]
    named = f"attachment; filename*=UTF-8''{quote(stem + '.zip')}"
    return StreamingResponse(_zipped(files), media_type="application/zip", headers={"content-disposition": named})


def _inside(path: Path, folder: Path) -> str:
    name = path.relative_to(folder).as_posix()
    return name.removeprefix(f"{FILES}/")


class _Pieces(io.RawIOBase):
    """A file that can only be written to, and hands over what it got."""

    def __init__(self) -> None:
        self._got: list[bytes] = []

    def writable(self) -> bool:
        """Returns True."""
        return True

    def write(self, data: bytes) -> int:
        """Takes bytes."""
        self._got.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        """Returns what came since the last time."""
        got, self._got = b"".join(self._got), []
        return got


def _zipped(files: Sequence[tuple[Path, str]]) -> Iterator[bytes]:
    """Yields a zip of files, which are compressed already and are stored as they are."""
    pieces = _Pieces()
    with zipfile.ZipFile(pieces, "w", zipfile.ZIP_STORED) as opened:
        for path, name in files:
            entry = zipfile.ZipInfo.from_file(path, name, strict_timestamps=False)
            with path.open("rb") as source, opened.open(entry, "w") as target:
                while chunk := source.read(_CHUNK):
                    target.write(chunk)
                    yield pieces.take()
    yield pieces.take()


routes = [
    Route("/api/models", models),
    Route("/api/colours", colours),
    Route("/api/predictions", predict, methods=["POST"]),
    Route("/api/results", results),
    Route("/api/results/{result}", result, methods=["GET"]),
    Route("/api/results/{result}", remove, methods=["DELETE"]),
    Route("/api/results/{result}/timeline", timeline),
    Route("/api/results/{result}/overlay", overlay),
    Route("/api/results/{result}/maps/{frame:int}", one_map),
    Route("/api/results/{result}/scores", scores),
    Route("/api/results/{result}/zip", archive),
]
