"""Routes of the page Watch: models, predictions, results and their files."""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from avsd_jax.web.results import id_of
from avsd_jax.web.site import file, json_of, shown, site_of, video_of
from avsd_jax.web.video_routes import started

WITHOUT_WEIGHTS = "gbvs_av"
MODES = ("exact", "fast")


def _models(request: Request) -> dict[str, str | None]:
    """Returns the checkpoints by the names of their models on the page; None is the model without weights."""
    given = site_of(request).settings.checkpoints
    return {**{str(number): each for number, each in enumerate(given)}, WITHOUT_WEIGHTS: None}


def models(request: Request) -> Response:
    """The models to choose from, the default first."""
    said = [
        {"id": name, "name": f"{WITHOUT_WEIGHTS}, which has no weights" if checkpoint is None else checkpoint}
        for name, checkpoint in _models(request).items()
    ]
    return JSONResponse({"models": said, "modes": MODES})


async def predict(request: Request) -> Response:
    """Starts a prediction, or finds the one that is running, or its result."""
    asked = await json_of(request)
    site, models_ = site_of(request), _models(request)
    found = video_of(request, str(asked.get("video")))
    model, mode = asked.get("model", next(iter(models_))), asked.get("mode", MODES[0])
    if model not in models_ or mode not in MODES:
        raise HTTPException(400, "there is no such model or mode: load the page again")
    checkpoint = models_[model]
    result = id_of(found, {"checkpoint": checkpoint, "mode": mode})
    if site.results.get(result) is not None:
        if not asked.get("again"):
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


def timeline(request: Request) -> Response:
    """The record of the prediction, frame by frame."""
    return file(site_of(request).results.timeline(_result(request)), "application/json")


routes = [
    Route("/api/models", models),
    Route("/api/predictions", predict, methods=["POST"]),
    Route("/api/results", results),
    Route("/api/results/{result}/timeline", timeline),
]
