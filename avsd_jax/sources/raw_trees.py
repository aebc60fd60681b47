"""Locations of files in the owners' unpacked archives.

  DIEM/<video>/video/<video>.mp4 (.mov), or frames/img_00001.jpg, ... instead
              audio/<video>.wav
              event_data/diem<session>s<subject>[letter].asc_<video>.txt
  Coutrot1/   coutrot_database1.mat and, from ERB3_Stimuli.zip, clip_1.avi, ... with their audio
  Coutrot2/   coutrot_database2.mat and, from ERB4_Stimuli.zip, clip_1.avi, ...
  SumMe_ETMD/ video/<video>.mp4 (.avi), audio_mono/<video>.wav, eyetracking/all_videos.mat

The folders may have STAViS's names (`Coutrot_db1`); SumMe's and ETMD's videos may also be in `SumMe/` and `ETMD/`,
each with the same folders. A missing audio file is replaced by the audio of the video file.
"""

import abc
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from avsd_jax.common import safe_paths
from avsd_jax.data import dataset_names
from avsd_jax.errors import InputError
from avsd_jax.sources.base import MissingFile
from avsd_jax.sources.build_options import BuildOptions
from avsd_jax.sources.gaze import coutrot, diem, ntua, points

_VIDEO_SUFFIXES = (".mp4", ".mov", ".avi")
_NTUA = "SumMe_ETMD"
_CLIP = re.compile(r"clip\d+")
# The owner's archive has the videos of both datasets in one folder; these names are ETMD's.
_ETMD_VIDEO = re.compile(r"(?:CHI|CRA|DEP|FNE|GLA|LOR)_\d_color")


@dataclass(frozen=True)
class Tree(abc.ABC):
    """The files of one dataset below `root`."""

    root: Path
    dataset: str

    @abc.abstractmethod
    def images(self) -> dict[str, Path]:
        """Returns a file, or a folder of frames, per video in STAViS's spelling.

        Raises:
            InputError: a folder cannot be listed, or two files belong to the same video.
        """

    @abc.abstractmethod
    def audio(self, video: str) -> Path | None:
        """Returns the path of a video's audio file, which may not exist; None if the video file has the audio."""

    @abc.abstractmethod
    def gaze(self, video: str, plane: tuple[int, int], options: BuildOptions, longest: int) -> points.Gaze:
        """Reads the gaze on a video of (height, width) `plane`; a different size in the owner's file takes precedence.

        A viewer's file of more than `longest` frames is refused by its name; the caller compares other lengths.

        Raises:
            MissingFile: a file is missing.
            NoGaze: the file does not contain the video.
            InputError: it is damaged.
        """


class Diem(Tree):
    """A folder per video."""

    def images(self) -> dict[str, Path]:
        """Returns video files, or else folders of frames."""
        folder = _set_folder(self.root, self.dataset)
        found = {}
        for video in safe_paths.folder_names(folder):
            own = safe_paths.below(folder, video)
            video_file = _videos(safe_paths.below(own, "video")).get(video)
            frames = safe_paths.below(own, "frames")
            if video_file or frames.is_dir():
                found[video] = video_file or frames
        return found

    def audio(self, video: str) -> Path:
        return safe_paths.below(_set_folder(self.root, self.dataset), video, "audio", f"{video}.wav")

    def gaze(self, video: str, plane: tuple[int, int], options: BuildOptions, longest: int) -> points.Gaze:
        folder = safe_paths.below(_set_folder(self.root, self.dataset), video, "event_data")
        return diem.read(
            diem.viewer_files(folder, video),
            diem.native_size(video) or plane,
            eye=options.eye,
            placement=options.placement,
            offset=(options.offset_x, options.offset_y),
            longest=longest,
        )


class Coutrot(Tree):
    """One MATLAB file and one folder of clips, at any depth in the archive's folder."""

    def images(self) -> dict[str, Path]:
        """Returns the files `clip_<n>.avi`."""
        found: dict[str, Path] = {}
        for folder in self._folders():
            for name, path in _videos(folder).items():
                video = dataset_names.video_id(self.dataset, name)
                if video in found:
                    raise InputError(f"{found[video]} and {path} are the same video: keep one of them")
                if _CLIP.fullmatch(video):
                    found[video] = path
        return found

    def audio(self, video: str) -> None:
        """Returns None: the clips contain their audio."""

    def gaze(self, video: str, plane: tuple[int, int], options: BuildOptions, longest: int) -> points.Gaze:
        del longest  # all viewers of a clip are in one array
        name = f"coutrot_database{self.dataset[-1]}.mat"
        found = [safe_paths.below(f, n) for f in self._folders() for n in safe_paths.file_names(f) if n.lower() == name]
        if len(found) != 1:
            where = _set_folder(self.root, self.dataset)
            if found:
                raise InputError(f"{found[0]} and {found[1]} are the same file: keep one of them")
            raise MissingFile(f"{where / name} is missing: put the owner's file there")
        offset = (options.offset_x, options.offset_y)
        return coutrot.read(found[0], self.dataset, video, plane, condition=options.condition, offset=offset)

    def _folders(self) -> Iterator[Path]:
        return _with_folders_below(_set_folder(self.root, self.dataset), depth=2)


class Ntua(Tree):
    """SumMe or ETMD, which share an archive."""

    def images(self) -> dict[str, Path]:
        """Returns those videos of the folder that belong to the dataset."""
        videos = _videos(safe_paths.below(self._base(), "video"))
        wanted = self.dataset == "etmd"
        return {name: path for name, path in videos.items() if bool(_ETMD_VIDEO.fullmatch(name)) == wanted}

    def audio(self, video: str) -> Path:
        return safe_paths.below(self._base(), "audio_mono", f"{video}.wav")

    def gaze(self, video: str, plane: tuple[int, int], options: BuildOptions, longest: int) -> points.Gaze:
        del longest  # all viewers of a video are in one array
        path = safe_paths.below(self._base(), "eyetracking", "all_videos.mat")
        if not path.is_file():
            raise MissingFile(f"{path} is missing: put the owner's file there")
        return ntua.read(path, video, plane, offset=(options.offset_x, options.offset_y))

    def _base(self) -> Path:
        return _one_of(self.root, [(*names, "video") for names in _ntua_folders(self.dataset)]).parent


def _ntua_folders(dataset: str) -> list[tuple[str, ...]]:
    names = dataset_names.named(dataset).spellings
    return [(_NTUA,), *((name,) for name in names), *((name, _NTUA) for name in names)]


_TREES = {"diem": Diem, "coutrot1": Coutrot, "coutrot2": Coutrot, "summe": Ntua, "etmd": Ntua}


def looked_for(dataset: str) -> tuple[tuple[str, ...], ...]:
    """Returns groups of paths below the root, of each of which one must exist; none without a known raw layout."""
    if dataset not in _TREES:
        return ()
    if _TREES[dataset] is Ntua:
        return (tuple("/".join((*names, "video")) for names in _ntua_folders(dataset)),)
    return (dataset_names.named(dataset).spellings,)


def tree(root: Path, dataset: str) -> Tree:
    """Returns the tree of a dataset.

    Raises:
        InputError: no raw layout of the dataset is known.
    """
    if dataset not in _TREES:
        raise InputError(
            f"no raw layout of {dataset} is known, because its owners distribute maps and not gaze: use STAViS's tree"
        )
    return _TREES[dataset](root, dataset)


def _set_folder(root: Path, dataset: str) -> Path:
    return _one_of(root, [(name,) for name in dataset_names.named(dataset).spellings])


def _one_of(root: Path, candidates: Sequence[tuple[str, ...]]) -> Path:
    """Returns the one of the folders that exists, each given by its path components."""
    there = [path for names in candidates if (path := safe_paths.below(root, *names)).is_dir()]
    if not there:
        raise MissingFile(f"{root / '/'.join(candidates[0])} is missing: unpack the owner's archive there")
    if len(there) > 1:
        raise InputError(f"{there[0]} and {there[1]} are the same dataset: keep one of them")
    return there[0]


def _with_folders_below(folder: Path, depth: int) -> Iterator[Path]:
    yield folder
    for name in safe_paths.folder_names(folder) if depth else ():
        yield from _with_folders_below(safe_paths.below(folder, name), depth - 1)


def _videos(folder: Path) -> dict[str, Path]:
    """Returns the video files of a folder by their stems; none if there is no folder."""
    found: dict[str, Path] = {}
    for name in safe_paths.file_names(folder):
        path = Path(name)
        if path.suffix.lower() in _VIDEO_SUFFIXES:
            if path.stem in found:
                raise InputError(f"{found[path.stem]} and {folder / name} are the same video: keep one of them")
            found[path.stem] = safe_paths.below(folder, name)
    return found
