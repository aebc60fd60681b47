"""Layout of STAViS's preprocessed distribution (`fetch_data.sh`), with the maps behind all published tables.

  video_frames/<SET>/<video>/img_00001.jpg, ...
  video_audio/<SET>/<video>/<video>.wav
  annotations/<SET>/<video>/maps/eyeMap_00001.jpg, ...   density, grey
  annotations/<SET>/<video>/fixMap_00001.mat, ...        variable `eyeMap`, 0/1, of the map's size
  annotations/<SET>/<video>/eye_tracks.mat               not read: no known code does, and its format differs by dataset

A binary map does not distinguish viewers: they are unknown, and two fixations of one pixel are one point.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Float32, UInt8

from avsd_jax.common import safe_paths
from avsd_jax.data import dataset_names, density, schema
from avsd_jax.errors import InputError
from avsd_jax.map_files import fixation_maps, mat_files
from avsd_jax.sources import audio_files, damage, image_files, image_headers, label_files
from avsd_jax.sources.base import Findings, Inspection, MissingFile, Source, agreed_length, shortest
from avsd_jax.sources.fold_lists import ListedVideo

_VARIABLE = "eyeMap"
KINDS = ("frames", "maps", "fixMaps")
FOLDERS = {"frames": "video_frames", "audio": "video_audio", "annotations": "annotations"}


def looked_for(dataset: str) -> tuple[tuple[str, ...], ...]:
    """Returns groups of paths below the root, of each of which one must exist."""
    return Reader.looked_for(dataset)


class Reader(Source):
    """The videos of a dataset in this layout."""

    folders: ClassVar[dict[str, str]] = FOLDERS

    @classmethod
    def looked_for(cls, dataset: str) -> tuple[tuple[str, ...], ...]:
        """Returns the groups of paths of `looked_for` of the module."""
        names = dataset_names.named(dataset).spellings
        return tuple(tuple(f"{cls.folders[kind]}/{name}" for name in names) for kind in ("frames", "annotations"))

    def videos(self) -> tuple[str, ...]:
        """Returns the videos that have a folder of frames."""
        folder = self._set_folder("frames")
        found: dict[str, str] = {}
        for name in safe_paths.folder_names(folder):
            video = dataset_names.video_id(self.dataset, name)
            if video in found:
                raise InputError(f"{folder / found[video]} and {folder / name} are the same video: keep one of them")
            found[video] = name
        return tuple(sorted(found))

    def read(self, video: str, listed: ListedVideo | None) -> schema.SourceVideo:
        """Reads a video; one in no list is refused, because this layout has no other source of its rate."""
        frames, maps, fixations = self._files(video)
        if listed is None:
            raise InputError(f"{video} of {self.dataset} is in no fold list, which gives its rate: add it there")
        counts = {"list": listed.num_frames, "frames": len(frames), "maps": len(maps), "fixMaps": len(fixations)}
        n = agreed_length(f"{self.dataset}, {video}", counts)
        samples, rate = audio_files.read(self._audio_file(video), n / listed.fps)
        height, width = image_files.frame_size(frames[0])
        plane = image_files.grey(maps[0]).shape
        points = self._checked_points(fixations[:n], plane)
        if self.options.maps == "gaze":
            images = density.density_maps(points, n, plane, density.SHARE_OF_WIDTH * plane[1])
        else:
            images = _supplied(maps[:n], plane)
        return schema.SourceVideo(
            video_id=video,
            fps=listed.fps,
            num_frames=n,
            height=height,
            width=width,
            frames=image_files.jpegs(frames[:n], (height, width)),
            density=map(schema.encode_png, images),
            fixations=points,
            num_viewers=0,
            avc_label=np.full(n, label_files.UNLABELLED, np.int8),
            audio=samples,
            sample_rate=rate,
            map_height=plane[0],
            map_width=plane[1],
        )

    def inspect(self, video: str, listed: ListedVideo | None) -> Inspection:
        """Inspects a video; all files are opened, and the headers of images read."""
        findings = Findings()
        files: dict[str, tuple[Path, ...]] = {}
        for kind, number in self._kinds(video).items():
            with findings.caught():
                files[kind] = number()
        counts = {"list": listed.num_frames} if listed and listed.num_frames is not None else {}
        counts |= {kind: len(paths) for kind, paths in files.items()}
        n = 0
        with findings.caught():
            if len(files) == len(KINDS):
                n, remark = shortest(f"{self.dataset}, {video}", counts)
                findings.notes += [remark] if remark else []
        frames, maps, fixations = (files.get(kind, ())[: n or None] for kind in KINDS)
        size = image_headers.look(frames, "frames", findings)
        rendered = self.options.maps == "gaze"  # then only the first map is read, for the size
        plane = image_headers.look(maps[:1] if rendered else maps, "maps", findings)
        if plane:
            findings.each(fixations, lambda path: self._checked_points((path,), plane))
        empty = []
        with findings.caught():
            if not findings.problems and not rendered:
                empty = [number for number, path in enumerate(maps, 1) if image_files.is_empty(path)]
        audio = None
        with findings.caught():
            audio = audio_files.probe(self._audio_file(video))
            findings.notes += audio_files.notes(audio, n / listed.fps if listed and n else None)
        if listed is None:
            findings.notes.append("in no fold list: skipped")
        return Inspection(
            num_frames=0 if findings.problems else n,
            counts=counts,
            sample_rate=audio and audio.sample_rate,
            channels=audio.channels if audio else 0,
            size=size and size[::-1],
            empty_maps=tuple(empty),
            problems=tuple(findings.problems),
            missing=tuple(findings.missing),
            notes=tuple(findings.notes),
        )

    def _checked_points(self, paths: tuple[Path, ...], plane: tuple[int, int]) -> Float32[np.ndarray, "f 4"]:
        """Returns `_all_points`, if the number is plausible for the viewers of the dataset."""
        points = _all_points(paths, plane)
        fixation_maps.check_counts(points, self.dataset, paths)
        return points

    def _set_folder(self, kind: str) -> Path:
        """Returns the dataset's folder of a kind, under either name."""
        candidates = [
            safe_paths.below(self.root, self.folders[kind], name)
            for name in dataset_names.named(self.dataset).spellings
        ]
        there = [path for path in candidates if path.is_dir()]
        if len(there) > 1:
            raise InputError(f"{there[0]} and {there[1]} are the same dataset: keep one of them")
        return there[0] if there else candidates[-1]

    def _video_folder(self, kind: str, video: str) -> Path:
        """Returns the path of the video's folder of a kind, which may not exist."""
        folder = self._set_folder(kind)
        candidates = [safe_paths.below(folder, name) for name in dataset_names.spellings(self.dataset, video)]
        return next((path for path in candidates if path.is_dir()), candidates[0])

    def _kinds(self, video: str) -> dict[str, Callable[[], tuple[Path, ...]]]:
        """Returns functions that list a video's files of each of `KINDS`."""
        return {
            "frames": lambda: image_files.numbered(self._video_folder("frames", video), "img"),
            "maps": lambda: image_files.numbered(safe_paths.below(self._annotations(video), "maps"), "eyeMap"),
            "fixMaps": lambda: image_files.numbered(self._annotations(video), "fixMap", r"\.mat"),
        }

    def _files(self, video: str) -> tuple[tuple[Path, ...], ...]:
        """Returns the frames, maps and fixation maps of a video."""
        return tuple(number() for number in self._kinds(video).values())

    def _annotations(self, video: str) -> Path:
        return self._video_folder("annotations", video)

    def _audio_file(self, video: str) -> Path:
        """Returns the video's audio file, in its own folder or, in some copies, beside the others."""
        names = dataset_names.spellings(self.dataset, video)
        own, shared = self._video_folder("audio", video), self._set_folder("audio")
        candidates = [safe_paths.below(folder, f"{name}.wav") for folder in (own, shared) for name in names]
        path = next((path for path in candidates if path.is_file()), None)
        if path is None:
            raise MissingFile(f"{candidates[0]} is missing: put the video's audio there")
        return path


def _supplied(maps: tuple[Path, ...], plane: tuple[int, int]) -> Iterator[UInt8[np.ndarray, "h w"]]:
    tally = damage.Tally(len(maps), "maps")
    for path in maps:
        image = image_files.grey(path, tally)
        if image.shape != plane:
            raise InputError(
                f"{path} has {_pixels(image.shape)}, the maps before it {_pixels(plane)}: restore the file"
            )
        yield image
    tally.end()


def _all_points(paths: tuple[Path, ...], plane: tuple[int, int]) -> Float32[np.ndarray, "f 4"]:
    """Reads rows (frame, viewer, x, y) of all frames; the viewer is -1, unknown."""
    found = [_points(path, plane) for path in paths]
    rows = np.full((sum(map(len, found)), 4), -1, np.float32)
    rows[:, 0] = np.repeat(np.arange(len(found)), [len(points) for points in found])
    rows[:, 2:] = np.concatenate(found)
    return rows


def _points(path: Path, plane: tuple[int, int]) -> Float32[np.ndarray, "n 2"]:
    """Reads the points (x, y) of a binary map, which must have the size `plane` = (height, width)."""
    variables = mat_files.load(safe_paths.below(path.parent, path.name))
    values = variables.get(_VARIABLE)
    if values is None:
        raise InputError(f"{path} has no map named {_VARIABLE} (but {', '.join(variables) or 'nothing'}): restore it")
    if values.dtype.kind not in "buif" or values.ndim != 2:
        raise InputError(
            f"{path} holds {mat_files.described(values)} as {_VARIABLE}, where a map of numbers [height, width] is "
            "expected: save one map per file"
        )
    if values.shape != plane:
        raise InputError(f"{path} has {_pixels(values.shape)}, the maps {_pixels(plane)}: restore the file")
    return fixation_maps.points(values, path)


def _pixels(shape: tuple[int, int]) -> str:
    return f"{shape[1]}x{shape[0]} pixels"
