"""Names of the six eye-tracking datasets in builders, the survey's tree (SCDL) and STAViS's tree."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from avsd_jax.errors import InputError


@dataclass(frozen=True)
class DatasetName:
    """The names of one dataset.

    Attributes:
        key: the builder's name, such as "coutrot1".
        title: the survey's name, which is also its folder in SCDL's tree, such as "Coutrot1".
        stavis: its folder in STAViS's tree and the beginning of its fold lists' names, such as "Coutrot_db1".
    """

    key: str
    title: str
    stavis: str

    @property
    def spellings(self) -> tuple[str, ...]:
        """Returns the folder names that occur, each once."""
        return tuple(dict.fromkeys((self.title, self.stavis)))


SETS = {
    name.key: name
    for name in (
        DatasetName("diem", "DIEM", "DIEM"),
        DatasetName("avad", "AVAD", "AVAD"),
        DatasetName("coutrot1", "Coutrot1", "Coutrot_db1"),
        DatasetName("coutrot2", "Coutrot2", "Coutrot_db2"),
        DatasetName("summe", "SumMe", "SumMe"),
        DatasetName("etmd", "ETMD", "ETMD_av"),
    )
}

SIX = "six"
"""The name for all six."""

_COUTROT_CLIP = re.compile(r"clip_?(\d+)")


def named(key: str) -> DatasetName:
    """Returns the names of the dataset with that key.

    Raises:
        InputError: there is no such dataset; the message lists the existing ones.
    """
    if key not in SETS:
        raise InputError(f"unknown dataset {key!r}: choose one of {', '.join(SETS)}")
    return SETS[key]


def members(datasets: str | Sequence[str]) -> tuple[str, ...]:
    """Returns the datasets that a configuration names.

    Args:
        datasets: a name, such as "diem" or "sounding_shapes/tiny"; several, as a sequence or separated by commas; "six"
            or "six/CONFIG" means the six datasets, each with that config.

    Raises:
        InputError: no name, or a name twice.
    """
    given = datasets.split(",") if isinstance(datasets, str) else datasets
    names: list[str] = []
    for name in filter(None, (name.strip() for name in given)):
        first, slash, config = name.partition("/")
        names += [key + slash + config for key in SETS] if first == SIX else [name]
    if not names or len(set(names)) < len(names):
        raise InputError(f"dataset {datasets!r} names {'one twice' if names else 'none'}: name each once")
    return tuple(names)


def video_id(dataset: str, name: str) -> str:
    """Returns a video's name in STAViS's spelling: Coutrot's owner writes `clip_7` instead of `clip7`."""
    clip = _COUTROT_CLIP.fullmatch(name) if dataset.startswith("coutrot") else None
    return f"clip{clip[1]}" if clip else name


def spellings(dataset: str, video: str) -> tuple[str, ...]:
    """Returns the possible names of a video's files: inverse of `video_id`."""
    clip = _COUTROT_CLIP.fullmatch(video) if dataset.startswith("coutrot") else None
    return (f"clip{clip[1]}", f"clip_{clip[1]}") if clip else (video,)
