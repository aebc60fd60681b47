"""The six eye-tracking sets' names, as builders, the survey's tree (SCDL) and STAViS's tree spell them."""

import re
from dataclasses import dataclass

from avsd_jax.errors import InputError


@dataclass(frozen=True)
class SetName:
    """One set.

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
        """The folder names that occur, each once."""
        return tuple(dict.fromkeys((self.title, self.stavis)))


SETS = {
    name.key: name
    for name in (
        SetName("diem", "DIEM", "DIEM"),
        SetName("avad", "AVAD", "AVAD"),
        SetName("coutrot1", "Coutrot1", "Coutrot_db1"),
        SetName("coutrot2", "Coutrot2", "Coutrot_db2"),
        SetName("summe", "SumMe", "SumMe"),
        SetName("etmd", "ETMD", "ETMD_av"),
    )
}

_COUTROT_CLIP = re.compile(r"clip_?(\d+)")


def named(key: str) -> SetName:
    """The set of that name.

    Raises:
        InputError: there is no such set; the message lists those there are.
    """
    if key not in SETS:
        raise InputError(f"unknown set {key!r}: choose one of {', '.join(SETS)}")
    return SETS[key]


def video_id(dataset: str, name: str) -> str:
    """A video's one name, STAViS's: Coutrot's owner writes `clip_7` for what the lists call `clip7`."""
    clip = _COUTROT_CLIP.fullmatch(name) if dataset.startswith("coutrot") else None
    return f"clip{clip[1]}" if clip else name
