"""The server: routes, the parts that they share, and the files of the pages."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from avsd_jax.errors import InputError, StorageError
from avsd_jax.web import label_routes, playable, video_routes, watch_routes
from avsd_jax.web.jobs import Jobs
from avsd_jax.web.labels import Labels
from avsd_jax.web.results import Results
from avsd_jax.web.security import Guard
from avsd_jax.web.settings import Settings
from avsd_jax.web.site import Site, file
from avsd_jax.web.video_library import VideoLibrary

_STATIC = Path(__file__).parent / "static"
_TYPES = {".css": "text/css", ".html": "text/html", ".js": "text/javascript", ".svg": "image/svg+xml"}
# Pages by their addresses.
_PAGES = {"/": "home.html", "/watch": "watch.html", "/label": "label.html"}


def create_app(settings: Settings, jobs: Jobs | None = None) -> Starlette:
    """Builds the server.

    Args:
        settings: what it was started with.
        jobs: its jobs; by default those of `avsd_jax.web.worker`. They end with the server.

    Raises:
        InputError: a folder is missing.
    """
    settings.check()
    playable.remove_unfinished(settings.out)
    library = VideoLibrary(settings.out, settings.folder, settings.max_upload)
    site = Site(settings, library, Results(settings.out), jobs or Jobs())

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        try:
            yield
        finally:
            site.jobs.close()
            app.state.labels.close()

    app = Starlette(
        routes=[*_pages(), *video_routes.routes, *watch_routes.routes, *label_routes.routes],
        middleware=[Middleware(Guard, token=settings.token, local=settings.local)],
        exception_handlers={
            error: video_routes.said for error in (HTTPException, InputError, StorageError, OverflowError)
        },
        lifespan=lifespan,
    )
    app.state.site = site
    app.state.labels = Labels(settings.out, library.videos)
    return app


def _pages() -> list[Route]:
    """Returns the routes of pages, and of the files that they load: those that are there now and no others."""
    addresses = _PAGES | {
        f"/static/{path.name}": path.name for path in _STATIC.iterdir() if path.suffix in _TYPES and path.is_file()
    }
    return [Route(address, _served(_STATIC / name)) for address, name in addresses.items()]


def _served(path: Path):
    def page(request: Request) -> Response:
        return file(path, _TYPES[path.suffix])

    return page
