"""Routes that all pages share: the videos, uploads, what a browser plays, and jobs."""

import shutil
from typing import Any

from anyio.to_thread import run_sync
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from avsd_jax.common.wording import printable
from avsd_jax.errors import InputError
from avsd_jax.web.jobs import Job
from avsd_jax.web.playable import Playable, playable
from avsd_jax.web.site import file, shown, site_of, video_of
from avsd_jax.web.video_library import MOST, TooLarge, Video


def videos(request: Request) -> Response:
    """All videos, without reading them."""
    site = site_of(request)
    folder = site.settings.folder
    return JSONResponse(
        {
            "videos": [shown(video) for video in site.library.videos()],
            "folder": None if folder is None else printable(folder),
            "most": MOST,
            "max_upload": site.settings.max_upload,
        }
    )


def video(request: Request) -> Response:
    """A video with its properties, and the address of what a browser plays, once it is there."""
    site, found = site_of(request), video_of(request)
    info = site.library.info(found)
    played = playable(found, info, site.settings.out, copied="copy" in request.query_params)
    said: dict[str, Any] = {
        "width": info.width,
        "height": info.height,
        "fps": info.fps,
        "duration": info.duration,
        "num_frames": info.num_frames,
        "codec": info.codec,
        "audio": None if info.audio is None else info.audio.codec,
        "copied": played.copied,
        "media": _address(found, played) if played.ready else None,
    }
    return JSONResponse(shown(found) | said)


def _address(found: Video, played: Playable) -> str:
    return f"/media/{found.id}?{'copy=1&' if played.copied else ''}v={found.stamp}"


def media(request: Request) -> Response:
    """The file that a browser plays, or a range of it."""
    site, found = site_of(request), video_of(request)
    played = playable(found, site.library.info(found), site.settings.out, copied="copy" in request.query_params)
    if not played.ready:
        raise HTTPException(404, "browsers do not play this file: ask for a copy first")
    return file(played.path, played.media_type)


def copy(request: Request) -> Response:
    """Starts to make a copy that browsers play."""
    site, found = site_of(request), video_of(request)
    played = playable(found, site.library.info(found), site.settings.out, copied=True)
    task = {"kind": "copy", "video": str(found.path), "target": str(played.path)}
    return started(site.jobs.submit(f"copy {played.path}", task, {"video": found.id, "name": shown(found)["name"]}))


def started(job: Job) -> Response:
    """Answers with a job that was submitted."""
    return JSONResponse({"job": job.described()}, 202)


async def upload(request: Request) -> Response:
    """Takes a file: its bytes are the body, its name is `?name=`."""
    length = request.headers.get("content-length", "")
    try:
        found = await site_of(request).library.upload(
            request.query_params.get("name", ""), int(length) if length.isdecimal() else None, request.stream()
        )
    except TooLarge as error:
        # The rest of the body is not read.
        return JSONResponse({"error": str(error)}, 413, {"connection": "close"})
    except ClientDisconnect:
        return Response(status_code=400)
    return JSONResponse(shown(found), 201)


async def remove(request: Request) -> Response:
    """Removes an upload; a file of the folder is not ours."""
    found = video_of(request)
    if not found.uploaded:
        raise HTTPException(403, "only uploads can be removed here")
    await run_sync(shutil.rmtree, found.path.parent)
    return Response(status_code=204)


def jobs(request: Request) -> Response:
    """All jobs."""
    return JSONResponse({"jobs": [job.described() for job in site_of(request).jobs.all()]})


def _job(request: Request) -> Job:
    found = site_of(request).jobs.get(request.path_params["job"])
    if found is None:
        raise HTTPException(404, "the server does not know this job (any more): it was started again; begin anew")
    return found


def job(request: Request) -> Response:
    """A job."""
    return JSONResponse(_job(request).described())


def cancel(request: Request) -> Response:
    """Ends a job."""
    found = _job(request)
    site_of(request).jobs.cancel(found)
    return JSONResponse(found.described())


def said(request: Request, error: Exception) -> Response:
    """Answers with the sentence of an exception."""
    if isinstance(error, HTTPException):
        return JSONResponse({"error": error.detail}, error.status_code)
    if isinstance(error, OverflowError):
        return JSONResponse({"error": str(error)}, 429)
    return JSONResponse({"error": str(error)}, 400 if isinstance(error, InputError) else 507)


routes = [
    Route("/api/videos", videos),
    Route("/api/videos/{video}", video, methods=["GET"]),
    Route("/api/videos/{video}", remove, methods=["DELETE"]),
    Route("/api/videos/{video}/copy", copy, methods=["POST"]),
    Route("/media/{video}", media),
    Route("/api/uploads", upload, methods=["POST"]),
    Route("/api/jobs", jobs),
    Route("/api/jobs/{job}", job),
    Route("/api/jobs/{job}/cancel", cancel, methods=["POST"]),
]
