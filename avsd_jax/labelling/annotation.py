"""One annotator's labels of one video, kept in a journal: each edit once, in order, on the state it was made on.

The first line of the journal names video, annotator, number of frames and the SHA-256 of the video's file, which older
journals lack; each further line is an edit:

    {"format": "avsd_jax labels 1", "video": "clip.mp4", "annotator": "Ann", "frames": 300, "sha256": "9f86d081..."}
    {"client": "f3a1", "sequence": 1, "kind": "set", "runs": [[0, 25, 1]]}
    {"client": "f3a1", "sequence": 2, "kind": "undo"}

Runs are [start, stop, label]: frames from 0, stop exclusive, label -1 none, 0 inconsistent, 1 consistent, 2 unsure.
"""

import re
import threading
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int8

from avsd_jax.errors import InputError
from avsd_jax.labelling import journal
from avsd_jax.labelling.track import Run, Track

FORMAT = "avsd_jax labels 1"
SUFFIX = ".jsonl"
# Edits that a client can undo after it has loaded the labels.
_MOST_UNDONE = 200
_MOST_EDITS = 1000
_CLIENT = re.compile(r"[\w-]{1,64}")
# A name of people, which is a file's name as well, with "_" for each combining mark: many scripts need them.
_ANNOTATOR = re.compile(r"\w[\w .-]{0,38}[\w.]|\w")


class Conflict(Exception):
    """Edits were made on another state than the present one: somebody else has edited in between."""


def checked_annotator(name: str) -> str:
    """Returns the name of an annotator if it can be a file's.

    Raises:
        InputError: it cannot.
    """
    letters = name[:1] + "".join("_" if unicodedata.category(c)[0] == "M" else c for c in name[1:])
    if not _ANNOTATOR.fullmatch(letters):
        raise InputError(
            f"{name!r:.80} is no annotator's name: give up to 40 letters, digits, spaces, '-', '_' and '.'"
        )
    return name


def journals(folder: Path) -> dict[str, Path]:
    """Finds the journals of a video by annotator; none if there is no such folder."""
    found = sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else []
    return {path.name.removesuffix(SUFFIX): path for path in found if path.is_file() and not path.is_symlink()}


def journal_of(folder: Path, annotator: str) -> Path:
    """Returns the file of an annotator, whose name is found in whatever case it is written.

    Raises:
        InputError: see `checked_annotator`.
    """
    folded = checked_annotator(annotator).casefold()
    same = [path for name, path in journals(folder).items() if name.casefold() == folded]
    return same[0] if same else folder / f"{annotator}{SUFFIX}"


def read_labels(path: Path) -> Int8[np.ndarray, " n"]:
    """Reads the labels of a journal that may be open elsewhere; per frame -1, 0, 1 or 2.

    Raises:
        InputError: it cannot be read, is damaged or no journal of labels.
    """
    entries = journal.read(path)
    if not entries:
        raise InputError(f"{path} has no labels: label a frame first")
    return _replayed(path, entries)[0].labels


def _replayed(path: Path, entries: Sequence[Mapping[str, Any]]) -> tuple[Track, dict[str, int]]:
    """Returns the track after all edits of a journal, and the last sequence number of each client."""
    header = entries[0]
    if header.get("format") != FORMAT or type(header.get("frames")) is not int or header["frames"] < 1:
        raise InputError(f"{path} does not begin as a journal of labels does: give one that the Label page wrote")
    track, seen = Track(header["frames"]), {}
    for number, entry in enumerate(entries[1:], 2):
        try:
            _apply(track, entry)
            seen[entry["client"]] = entry["sequence"]
        except (InputError, KeyError) as error:
            raise InputError(f"{path}, line {number}, is damaged ({error}): restore the file") from error
    return track, seen


def _apply(track: Track, edit: Mapping[str, Any]) -> None:
    match edit.get("kind"):
        case "set":
            track.set(edit.get("runs"))
        case "undo":
            track.undo()
        case "redo":
            track.redo()
        case kind:
            raise InputError(f"{kind!r:.80} is no kind of edit: choose one of set, undo, redo")


class Annotation:
    """Labels that are edited by any number of clients (tabs), with a revision that counts the edits.

    Args:
        path: the journal.
        video: name of the video.
        annotator: name of the person.
        num_frames: of the video.
        digest: SHA-256 of the video's file.

    Raises:
        InputError: the journal is damaged, of another video, or open in another program.
        StorageError: the disk is full or read-only.
    """

    def __init__(self, path: Path, video: str, annotator: str, num_frames: int, digest: str):
        self._guard = threading.Lock()
        self._journal = journal.Journal(path)
        try:
            entries = self._journal.entries
            if not entries:
                header = {"format": FORMAT, "video": video, "annotator": annotator, "frames": num_frames}
                entries = [header | {"sha256": digest}]
                self._journal.append(entries)
            self._track, self._seen = _replayed(path, entries)
            self._digest = entries[0].get("sha256")
            if not self.is_of(num_frames, digest):
                now = num_frames if self.num_frames != num_frames else "as many, but other content,"
                raise InputError(
                    f"{path} labels {self.num_frames} frames of a video that has {now} now: it is another video; "
                    "rename it, or move the labels away"
                )
        except BaseException:
            self._journal.close()
            raise
        self.revision = len(entries) - 1
        self._journal.entries = []

    @property
    def num_frames(self) -> int:
        """Returns the number of frames of the video."""
        return len(self._track.labels)

    def is_of(self, num_frames: int, digest: str) -> bool:
        """Returns whether the labels are of the video of that length and SHA-256, which older journals do not tell."""
        return self.num_frames == num_frames and self._digest in (None, digest)

    @property
    def labels(self) -> Int8[np.ndarray, " n"]:
        """Returns a copy of the labels; per frame -1, 0, 1 or 2."""
        return self._track.labels.copy()

    def submit(self, client: object, base: object, edits: object) -> None:
        """Applies edits and writes them to the disk: all of them or, on an error, none.

        Those with a sequence number that was there before were sent twice and are left out.

        Args:
            client: name of the sender, unique to a tab.
            base: the revision that the first edit was made on.
            edits: each with `sequence`, a number that increases, `kind` and for kind "set" `runs`.

        Raises:
            Conflict: another client has edited since `base`.
            InputError: an edit is wrong.
            StorageError: the disk is full or read-only.
        """
        if not isinstance(client, str) or not _CLIENT.fullmatch(client) or type(base) is not int:
            raise InputError("edits need a client's name and a base revision: reload the page")
        entries = _checked_edits(client, edits)
        with self._guard:
            new = [entry for entry in entries if entry["sequence"] > self._seen.get(client, 0)]
            if not new:
                return
            if base + len(entries) - len(new) != self.revision:
                raise Conflict
            track = self._track.copy()
            for entry in new:
                _apply(track, entry)
            self._journal.append(new)
            self._track = track
            self._seen[client] = new[-1]["sequence"]
            self.revision += len(new)

    def state(self, client: str) -> dict[str, Any]:
        """Returns what a client needs to show the labels and to go on, as plain values.

        Its entries: `revision`; `seen`, the client's last sequence number that was applied; `frames`; and of
        `Track.history` `base`, `done` and `undone`.
        """
        with self._guard:
            base, done, undone = self._track.history(_MOST_UNDONE)
            return {
                "revision": self.revision,
                "seen": self._seen.get(client, 0),
                "frames": self.num_frames,
                "base": _plain(base),
                "done": [_plain(edit) for edit in done],
                "undone": [_plain(edit) for edit in undone],
            }

    def close(self) -> None:
        """Closes the journal."""
        with self._guard:
            self._journal.close()


def _plain(runs: Sequence[Run]) -> list[list[int]]:
    return [list(run) for run in runs]


def _checked_edits(client: str, edits: object) -> list[dict[str, Any]]:
    """Returns the entries of the journal for edits that came from a client."""
    if not isinstance(edits, list) or not 0 < len(edits) <= _MOST_EDITS:
        raise InputError(f"edits come in a list of 1 to {_MOST_EDITS}: reload the page")
    entries, last = [], 0
    for edit in edits:
        sequence = edit.get("sequence") if isinstance(edit, dict) else None
        if type(sequence) is not int or sequence <= last:
            raise InputError(f"{edit!r:.80} has no sequence number above {last}: reload the page")
        entries.append({"client": client, **{key: edit[key] for key in ("sequence", "kind", "runs") if key in edit}})
        last = sequence
    return entries
