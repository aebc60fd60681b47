"""The parts of a server that its routes share, and what they answer with."""

import json
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from avsd_jax.common.wording import printable
from avsd_jax.web.jobs import Jobs
from avsd_jax.web.results import Results
from avsd_jax.web.settings import Settings
from avsd_jax.web.video_library import Video, VideoLibrary

Handler = Callable[[Request], Awaitable[Response]]
# A proposal for two hours in which every frame's label differs from the one before has 4 MB.
_MOST_JSON = 1 << 23


class Site(NamedTuple):
    """What a server works with."""

    settings: Settings
    library: VideoLibrary
    results: Results
    jobs: Jobs


def site_of(request: Request) -> Site:
    """Returns the parts of the server that got a request."""
    return request.app.state.site


def video_of(request: Request, video_id: str | None = None) -> Video:
    """Returns the video of an id, by default of `{video}` in the address.

    Raises:
        HTTPException: 404 if there is none.
    """
    video = site_of(request).library.get(request.path_params["video"] if video_id is None else video_id)
    if video is None:
        raise HTTPException(404, "there is no such video (any more): load the page again")
    return video


async def json_of(request: Request) -> dict[str, Any]:
    """Returns the object in the body of a request.

    Raises:
        HTTPException: 415 if it is not sent as JSON, which another page's form cannot do; 413 if it is too large; 400
            if it is no object.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise HTTPException(415, "send JSON")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST_JSON:
            raise HTTPException(413, "too much at once")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, "this is not JSON") from error
    if not isinstance(value, dict):
        raise HTTPException(400, "send a JSON object")
    return value


def shown(video: Video) -> dict[str, Any]:
    """Returns what a page shows of a video without reading it."""
    return {
        "id": video.id,
        "name": printable(video.name),
        "uploaded": video.uploaded,
        "size": video.size,
        "stamp": video.stamp,
    }


def file(path: Any, media_type: str, name: str | None = None) -> FileResponse:
    """Answers with a file, or a range of it, of a fixed type; with a name it is for saving."""
    return FileResponse(path, media_type=media_type, filename=name, headers={"cache-control": "no-cache"})
