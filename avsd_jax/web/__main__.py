"""Serves a page in the browser on which videos are watched with their prediction, and labelled.

    python -m avsd_jax.web [--folder=VIDEOS] [--checkpoint=DIR ...] [--ground_truth=FOLDER] [--out=runs/web]
                           [--port=8765] [--host=127.0.0.1] [--token] [--max_upload=4000]

It prints the address to open. Only this machine can connect; with --host=ADDRESS others can, if they know the token,
which is part of the address that is printed. Uploads, results and labels are in the folder --out, and are there again
at the next start. Ctrl-C ends the server. See docs/web.md.
"""

import argparse
import contextlib
import os
import secrets
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from avsd_jax.common import cli, file_locks
from avsd_jax.common.atomic_files import make_folder
from avsd_jax.common.extras import need
from avsd_jax.errors import InputError
from avsd_jax.web.settings import DEFAULT_OUT, DEFAULT_PORT, Settings, is_local

_LEAST_TOKEN = 16


def _parser() -> cli.Parser:
    parser = cli.Parser("python -m avsd_jax.web", __doc__)
    parser.add_argument("--folder", type=Path, metavar="VIDEOS", help="videos to choose from, with subfolders")
    parser.add_argument(
        "--checkpoint",
        action="append",
        default=[],
        metavar="DIR",
        help="a training run or a converted model; several can be given, the first is the default (without: gbvs_av)",
    )
    parser.add_argument("--ground_truth", type=Path, metavar="FOLDER", help="density maps and fixations, for scores")
    parser.add_argument(
        "--out", type=Path, default=DEFAULT_OUT, metavar="DIR", help=f"uploads, results, labels ({DEFAULT_OUT})"
    )
    parser.add_argument("--port", type=cli.at_least(0), default=DEFAULT_PORT, help=f"{DEFAULT_PORT}; 0: any free one")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument(
        "--token",
        nargs="?",
        const="",
        metavar="TEXT",
        help="ask browsers for a token, by default a random one; always so if --host is not this machine alone",
    )
    parser.add_argument(
        "--max_upload", type=cli.positive, default=4000, metavar="MB", help="size of the largest upload (4000)"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line; returns the exit status."""
    return cli.run(lambda: _serve(_parser().parse_args(argv)))


def _serve(args: argparse.Namespace) -> None:
    uvicorn = need("uvicorn", "web")
    need("starlette", "web")
    from avsd_jax.web.app import create_app  # imports both

    local = is_local(args.host)
    settings = Settings(
        out=args.out,
        folder=args.folder,
        checkpoints=tuple(args.checkpoint),
        ground_truth=args.ground_truth,
        max_upload=args.max_upload * 1_000_000,
        token=_token(args.token, local),
        local=local,
    )
    settings.check()
    with listening(args.host, args.port) as opened, alone(settings.out):
        app = create_app(settings)
        host = args.host.strip("[]") or "0.0.0.0"
        host = f"[{host}]" if ":" in host else host
        token = "" if settings.token is None else f"?token={settings.token}"
        print(f"http://{host}:{opened.getsockname()[1]}/{token}", flush=True)
        if host in ("0.0.0.0", "[::]"):  # all addresses of this machine
            print(f"From another machine, write this one's name in the place of {host}.", file=sys.stderr)
        print("Ctrl-C ends the server.", file=sys.stderr)
        # The access log would hold the token.
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=2
        )
        with contextlib.suppress(KeyboardInterrupt):  # the end that was meant
            uvicorn.Server(config).run(sockets=[opened])


def _token(given: str | None, local: bool) -> str | None:
    """Returns the token that browsers must know, or None.

    Raises:
        InputError: it could be guessed, or cannot be part of an address.
    """
    if given is None and local:
        return None
    if not given:
        return secrets.token_urlsafe(24)
    if len(given) < _LEAST_TOKEN or not all(c.isascii() and (c.isalnum() or c in "-_.~") for c in given):
        raise InputError(f"--token: give {_LEAST_TOKEN} or more letters, digits and -_.~, or --token alone")
    return given


@contextlib.contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """Opens the socket of the server.

    Raises:
        InputError: the port is in use, or the address is not one of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        opened = socket.socket(family, kind, protocol)
    except (OSError, OverflowError) as error:
        raise InputError(f"--host={host} --port={port}: {error}: give an address of this machine") from error
    with opened:
        if os.name == "posix":  # elsewhere it would let two servers share the port
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            opened.bind(address)
            opened.listen(128)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(
                f"{host}:{port} cannot be opened ({reason}): give another --port, or 0 for any free one"
            ) from error
        yield opened


@contextlib.contextmanager
def alone(out: Path) -> Iterator[None]:
    """Locks the folder of a server: two would remove each other's unfinished work.

    Raises:
        InputError: another server uses it, or it cannot be made.
    """
    make_folder(out)
    try:
        file = (out / ".lock").open("w")
    except OSError as error:
        raise InputError(f"{out} cannot be written to ({error.strerror}): give another --out") from error
    with file:
        try:
            file_locks.lock(file)
        except BlockingIOError as error:
            raise InputError(f"{out} is used by another server: give another --out, or end that one") from error
        except OSError:
            pass  # there are no locks here
        yield


if __name__ == "__main__":
    sys.exit(main())
