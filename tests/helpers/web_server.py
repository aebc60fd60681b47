"""A running server of the page, and a browser, for tests."""

import contextlib
import os
import pathlib
import shutil
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from starlette.testclient import TestClient

from avsd_jax.web.__main__ import listening
from avsd_jax.web.app import create_app
from avsd_jax.web.jobs import Jobs
from avsd_jax.web.settings import Settings

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@contextlib.contextmanager
def client(settings: Settings, jobs: Jobs | None = None, **given: Any) -> Iterator[TestClient]:
    """A client of a server that opens no port."""
    app = create_app(settings, jobs)
    with TestClient(app, base_url="http://127.0.0.1:8765", **given) as opened:
        yield opened


@contextlib.contextmanager
def running(settings: Settings, jobs: Jobs | None = None, port: int = 0) -> Iterator[str]:
    """A server, on a free port by default; gives its address, without a slash at the end."""
    with listening("127.0.0.1", port) as opened:
        # uvicorn's set-up of logging would close absl's handler, whose stream may be pytest's.
        config = uvicorn.Config(
            create_app(settings, jobs), log_config=None, access_log=False, timeout_graceful_shutdown=1
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]}, daemon=True)
        thread.start()
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{opened.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)


@contextlib.contextmanager
def browser() -> Iterator[Any]:
    """The system's chromium or Playwright's own: `browser.new_page()`.

    Where there is none the test is skipped or, if AVSD_NEEDS_BROWSER is set, fails.
    """
    missing = pytest.fail if os.environ.get("AVSD_NEEDS_BROWSER") else pytest.skip
    try:
        from playwright import sync_api
    except ModuleNotFoundError:
        missing("no playwright: pip install playwright")
    with sync_api.sync_playwright() as playwright:
        chromium = CHROMIUM or playwright.chromium.executable_path
        if not os.path.exists(chromium):
            missing("no chromium: apt-get install chromium, or python -m playwright install chromium")
        flags = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required", "--mute-audio"]
        opened = playwright.chromium.launch(executable_path=chromium, args=flags)
        try:
            yield opened
        finally:
            opened.close()


@contextlib.contextmanager
def page(url: str, **given: Any) -> Iterator[Any]:
    """A page of a browser of its own; fails if a script of the page fails or breaks the server's rules."""
    errors: list[str] = []
    with browser() as opened:
        shown = opened.new_page(**given)
        shown.set_default_timeout(60_000)
        shown.on("pageerror", lambda error: errors.append(str(error)))
        shown.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
        shown.goto(url)
        yield shown
        assert not errors, errors


def waited(condition: Any, seconds: float = 60.0) -> Any:
    """Returns what a function returns, once that is true."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "this takes too long"
        time.sleep(0.02)
    return value


def left(folder: pathlib.Path) -> list[str]:
    """The files below a folder, hidden ones, too, but not the lock."""
    found = [pathlib.Path(parent, name) for parent, _, names in os.walk(folder) for name in names if name != ".lock"]
    return sorted(str(path.relative_to(folder)) for path in found)  # `rglob` fails if a folder is removed meanwhile
