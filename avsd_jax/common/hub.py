"""Models on the Hugging Face hub, or any server of its protocol: addresses, download, upload.

An address is `hf://owner/name[/folder][@revision]`: a repository, a folder in it, and a branch, tag or commit (by
default the branch `main`). What is downloaded is kept in the library's own cache (`HF_HOME`, `HF_HUB_CACHE`), from
where it is read without a network if the address names a commit, or if `HF_HUB_OFFLINE` is set. `HF_ENDPOINT` names
another server, and tokens are looked for where the library does (`HF_TOKEN`, `hf auth login`).

Only the files that `FILES` describes are asked for, and nothing in them is executed.
"""

import contextlib
import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType

from absl import logging

from avsd_jax.common.extras import need
from avsd_jax.errors import InputError, storage_error

SCHEME = "hf://"
CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
SHARDS = re.compile(r"model-\d+-of-\d+\.safetensors")
# Beside them, if there are any.
OPTIONAL = ("calibration.json",)

_WORD = r"\w[\w.-]*"
_ADDRESS = re.compile(
    rf"(?P<repo>{_WORD}/{_WORD})(?P<folder>(?:/{_WORD})*)(?:@(?P<revision>\w[\w./-]*))?", flags=re.ASCII
)
_COMMIT = re.compile(r"[0-9a-f]{40}")
# Weights of other libraries: most are pickles, which may run code when they are opened.
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib")
_MOST_SECONDS = 10.0  # of waiting for an answer about a repository


@dataclasses.dataclass(frozen=True)
class Address:
    """The address of a model.

    Attributes:
        repo: "owner/name".
        folder: within the repository; "" for its root.
        revision: branch, tag or commit; "" for the default branch.
    """

    repo: str
    folder: str = ""
    revision: str = ""

    @classmethod
    def of(cls, place: str | Path) -> "Address":
        """Parses an address.

        Raises:
            InputError: it is spelled wrong.
        """
        text = str(place)
        found = _ADDRESS.fullmatch(re.sub(r"^hf:/+", "", text))  # a `Path` has lost a slash
        if found is None or ".." in text:
            raise InputError(f"{text} is no address of a model: write hf://owner/name[/folder][@revision]")
        return cls(found["repo"], found["folder"].lstrip("/"), found["revision"] or "")

    def __str__(self) -> str:
        folder = f"/{self.folder}" if self.folder else ""
        return f"{SCHEME}{self.repo}{folder}" + (f"@{self.revision}" if self.revision else "")

    @property
    def is_commit(self) -> bool:
        """Returns whether the revision is a commit, which never changes."""
        return bool(_COMMIT.fullmatch(self.revision))

    def at(self, commit: str) -> "Address":
        """Returns the address at a commit."""
        return dataclasses.replace(self, revision=commit)

    def path(self, name: str) -> str:
        """Returns the path of a file in the repository."""
        return f"{self.folder}/{name}" if self.folder else name


# ---------------------------------------------------------------------------------------------------------------------
# Download
# ---------------------------------------------------------------------------------------------------------------------


def is_address(place: str | Path) -> bool:
    """Returns whether a place is meant as an address of a hub, spelled right or wrong, and not as a folder."""
    return re.match(r"hf:/", str(place)) is not None


def folder(place: str | Path) -> Path:
    """Returns the folder of a model: the given one, or that in the cache into which an address is downloaded.

    Raises:
        InputError: the address is spelled wrong; there is no such repository, revision or model, or no access to it;
            or the hub cannot be reached, and the model is not in the cache.
        StorageError: the disk is full or read-only.
    """
    if not is_address(place):
        return Path(place)
    return _download(Address.of(place))


def pinned(place: str | Path) -> str:
    """Returns the name of a model for records: the folder as it is given, or an address at the commit that it has now.

    The model of an address is downloaded.

    Raises:
        InputError: as `folder`.
    """
    if not is_address(place):
        return str(Path(place))
    address = Address.of(place)
    return str(address.at(_commit_of(_download(address), address)))


def at(place: str, commit: str) -> str:
    """Returns an address at a commit.

    Raises:
        InputError: it is spelled wrong.
    """
    return str(Address.of(place).at(commit))


def cached(place: str | Path) -> Path | None:
    """Returns the folder in the cache of an address, or None if it is not there; asks no server.

    Raises:
        InputError: the address is spelled wrong.
    """
    return _cached(Address.of(place))


def _cached(address: Address) -> Path | None:
    found = _library().try_to_load_from_cache(address.repo, address.path(CONFIG), revision=address.revision or None)
    return Path(found).parent if isinstance(found, str) else None


def _commit_of(place: Path, address: Address) -> str:
    """Returns the commit of a model's folder in the cache, whose layout is `.../snapshots/COMMIT/FOLDER`."""
    depth = len(Path(address.folder).parts)
    return (place if depth == 0 else place.parents[depth - 1]).name


def _download(address: Address) -> Path:
    if address.is_commit:
        place = _cached(address)
        if place is not None and _is_complete(place):
            return place
    known = _known(address)
    if known is None:
        return _offline(address)
    commit, names = known
    fixed = address.at(commit)
    if CONFIG not in names:
        raise InputError(f"{address} is no model of avsd_jax: it has no {CONFIG}{_nearby(names)}")
    place = _fetch(address, CONFIG).parent  # so that the cache knows the revision by its name
    if _commit_of(place, address) != commit:  # it was changed meanwhile
        place = _fetch(fixed, CONFIG).parent
    _check_config(address, place / CONFIG)
    weights = [WEIGHTS] if WEIGHTS in names else [INDEX, *sorted(filter(SHARDS.fullmatch, names))]
    if weights[0] not in names and any(_is_foreign(name) for name in names):
        raise InputError(_without_safetensors(address, names))
    for name in (*OPTIONAL, *weights):
        if name in names:
            _fetch(fixed, name)
    return place


def _known(address: Address) -> tuple[str, set[str]] | None:
    """Returns the commit of an address and the files in its folder; None if the hub cannot be asked, but the cache."""
    library = _library()
    try:
        with _explained(address):
            if library.constants.HF_HUB_OFFLINE:
                raise library.errors.OfflineModeIsEnabled
            info = library.HfApi().model_info(address.repo, revision=address.revision or None, timeout=_MOST_SECONDS)
    except _UnreachableError as error:
        place = _cached(address)
        if place is None:
            raise InputError(str(error)) from error
        if not library.constants.HF_HUB_OFFLINE:
            logging.warning("%s: taken from the cache, %s", address, place)
        return None
    files = {sibling.rfilename for sibling in info.siblings or ()}
    begin = address.path("")
    return info.sha, {name.removeprefix(begin) for name in files if name.startswith(begin)}


def _offline(address: Address) -> Path:
    place = _cached(address)
    if place is None or not (place / CONFIG).is_file():
        raise InputError(f"{address} is not in the cache: download it once with a network")
    return place


def _fetch(address: Address, name: str) -> Path:
    try:
        with _explained(address):
            return Path(_library().hf_hub_download(address.repo, address.path(name), revision=address.revision or None))
    except _UnreachableError as error:
        raise InputError(str(error)) from error


def _is_complete(place: Path) -> bool:
    """Returns whether a folder of the cache holds a model: its weights are downloaded last."""
    if not (place / CONFIG).is_file():
        return False
    if (place / WEIGHTS).is_file():
        return True
    try:
        shards = set(json.loads((place / INDEX).read_text())["weight_map"].values())
        return all((place / name).is_file() for name in shards)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return False


def _check_config(address: Address, path: Path) -> None:
    """Raises InputError if a model is that of another library, before its weights are downloaded."""
    try:
        known = "model_name" in json.loads(path.read_text())
    except (ValueError, RecursionError, TypeError) as error:
        raise InputError(f"{address}: {CONFIG} is damaged ({error}): ask its owner") from error
    if not known:
        raise InputError(f"{address} is a model of another library: its {CONFIG} names no model_name of avsd_jax")


def _is_foreign(name: str) -> bool:
    return "/" not in name and name.endswith((*_PICKLES, ".h5", ".msgpack", ".onnx")) or name.startswith("checkpoints/")


def _without_safetensors(address: Address, names: set[str]) -> str:
    found = min(name for name in names if _is_foreign(name))
    if found.endswith(_PICKLES):
        return (
            f"{address} has no {WEIGHTS}, only {found}: a pickle can run code when it is opened, and none is loaded "
            "from a hub; ask its owner for safetensors, or download the file, if you trust it, and run python -m "
            "avsd_jax.convert"
        )
    return f"{address} has no {WEIGHTS}, only {found}: ask its owner to run python -m avsd_jax.share"


def _nearby(names: set[str]) -> str:
    """Returns the end of a sentence: where else in the repository there are models."""
    folders = sorted(name.rpartition("/")[0] for name in names if name.endswith(f"/{CONFIG}"))
    if folders:
        return f"; there is one in {', '.join(folders[:5])}: add the folder to the address"
    if any(name.endswith(_PICKLES) for name in names):
        return "; its weights are pickles, which can run code when they are opened: none is loaded from a hub"
    return ": check the address"


# ---------------------------------------------------------------------------------------------------------------------
# Upload
# ---------------------------------------------------------------------------------------------------------------------


def upload(files: Mapping[str, Path], address: Address, message: str, private: bool = False) -> str:
    """Uploads the files of a model in one commit, and removes what an earlier model had beside them.

    Args:
        files: name in the folder of the address -> file.
        address: of the model, without a revision; its repository is created if there is none.
        message: of the commit.
        private: whether a new repository is.

    Returns:
        The address at the new commit.

    Raises:
        InputError: there is no right to write there, or the hub cannot be reached or refuses the files.
    """
    library = _library()
    try:
        with _explained(address):
            api = library.HfApi()
            api.create_repo(address.repo, private=private or None, exist_ok=True)
            begin = address.path("")
            siblings = api.model_info(address.repo, timeout=_MOST_SECONDS).siblings or ()
            there = [sibling.rfilename for sibling in siblings if sibling.rfilename.startswith(begin)]
            stale = [name for name in there if _is_ours(name.removeprefix(begin)) and name[len(begin) :] not in files]
            steps = [library.CommitOperationAdd(address.path(name), path) for name, path in files.items()]
            steps += [library.CommitOperationDelete(name) for name in stale]
            done = api.create_commit(address.repo, steps, commit_message=message)
    except _UnreachableError as error:
        raise InputError(str(error)) from error
    return str(address.at(done.oid))


def _is_ours(name: str) -> bool:
    return name in (CONFIG, WEIGHTS, INDEX, *OPTIONAL) or SHARDS.fullmatch(name) is not None


# ---------------------------------------------------------------------------------------------------------------------
# Errors
# ---------------------------------------------------------------------------------------------------------------------


class _UnreachableError(Exception):
    """The hub cannot be asked; the message is that of the InputError if the cache does not help."""


def _library() -> ModuleType:
    for module in ("constants", "errors"):
        need(f"huggingface_hub.{module}", "hub")
    return need("huggingface_hub", "hub")


@contextlib.contextmanager
def _explained(address: Address) -> Iterator[None]:
    """Converts the library's errors to one sentence.

    Raises:
        InputError: the hub refuses.
        _UnreachableError: it cannot be asked.
        StorageError: the disk is full or read-only.
    """
    library, errors = _library(), _library().errors
    server = library.constants.ENDPOINT
    login = "log in by `hf auth login`, or set HF_TOKEN"
    transport = errors.HfHubHTTPError.__bases__[0]  # of the HTTP library that it is built on
    try:
        yield
    except errors.GatedRepoError as error:
        raise InputError(
            f"{address} is gated: accept its terms at {server}/{address.repo} and {login}, as one who may read it"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise InputError(
            f"{server} has no model {address.repo}, or it is private: check the spelling, or {login}"
        ) from error
    except errors.RevisionNotFoundError as error:
        hint = "; a folder is written before the @" if "/" in address.revision else ""
        raise InputError(
            f"{address.repo} has no revision {address.revision!r}: give one of its branches, tags or commits{hint}"
        ) from error
    except errors.HFValidationError as error:
        raise InputError(f"{address} is no address of a model ({_first_line(error)}): correct it") from error
    except errors.OfflineModeIsEnabled as error:
        raise _UnreachableError(
            f"{address} is not in the cache, and HF_HUB_OFFLINE is set: unset it, or download the model first"
        ) from error
    except errors.LocalEntryNotFoundError as error:
        raise _UnreachableError(
            f"{address} is not whole in the cache, and {server} gives no more: try again"
        ) from error
    except errors.EntryNotFoundError as error:
        raise InputError(f"{address}: a file of it is gone ({_first_line(error)}): check the address") from error
    except errors.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        if status in (401, 403):
            raise InputError(f"{server} refuses access to {address.repo} ({status}): {login}") from error
        if status is not None and status < 500:
            raise InputError(f"{server} refuses {address} ({_first_line(error)}): correct it") from error
        raise _UnreachableError(f"{server} gives no answer for {address} ({_first_line(error)}): try later") from error
    except (transport, OSError, RuntimeError) as error:  # RuntimeError: of an upload
        storage = storage_error(error)
        if storage is not None:
            raise storage from error
        if isinstance(error, OSError) and error.filename:
            raise InputError(
                f"{address}: the cache cannot be used ({error.strerror}: {error.filename}): set HF_HUB_CACHE to one "
                "that you may write to"
            ) from error
        raise _UnreachableError(
            f"{address}: {server} cannot be reached ({_cause(error)}): check the network; only what is in the cache "
            "needs none"
        ) from error


def _cause(error: BaseException) -> str:
    """Returns what led to an error, in one line."""
    while isinstance(error, RuntimeError) and error.__cause__ is not None:
        error = error.__cause__
    return _first_line(error)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
