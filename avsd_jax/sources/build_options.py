"""Options of a build, which are part of the name of the built dataset.

They are written `key-value`, joined by `+`, as in `diem/maps-gaze+eye-left`, which TFDS allows in names of configs.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from avsd_jax.errors import InputError

_CHOICES = {
    "maps": ("any", "stavis", "gaze"),
    "eye": ("both", "left", "right"),
    "condition": ("own", "pooled"),
    "placement": ("centre", "corner"),
    "silent_last_video": ("off", "on"),
}
DEFAULT = "default"


@dataclass(frozen=True)
class BuildOptions:
    """The options.

    Attributes:
        maps: "stavis" uses the supplied density maps, and fails without; "gaze" renders them from
            gaze (`avsd_jax.sources.gaze`); "any" uses supplied ones if there are any, else renders them.
        eye: "both" is the mean of two eyes that both fixate (DIEM has both).
        condition: "own" uses the viewers who heard the video's own audio (`OriginalSounds`, `AudioVisual`), "pooled"
            all (Coutrot1 and 2).
        placement: of an unscaled video on DIEM's screen: "centre", or "corner", at the screen's origin.
        offset_x: pixels added to gaze, to the right, after placement.
        offset_y: pixels added to gaze, downwards, after placement.
        silent_last_video: "on" removes the audio of the last video of every list, as STAViS's loader did by mistake.
    """

    maps: str = "any"
    eye: str = "both"
    condition: str = "own"
    placement: str = "centre"
    offset_x: float = 0.0
    offset_y: float = 0.0
    silent_last_video: str = "off"


def parse(name: str, allowed: Collection[str], aliases: Mapping[str, str]) -> BuildOptions:
    """Parses the options in a name.

    Args:
        name: such as "maps-gaze+eye-left", or "default".
        allowed: the options that the dataset has.
        aliases: alternative spellings, such as "condition-AudioVisual" for "condition-own".

    Raises:
        InputError: an option is unknown, not available for the dataset, or has an invalid value.
    """
    given: dict[str, str | float] = {}
    for word in () if name == DEFAULT else name.split("+"):
        key, _, value = aliases.get(word, word).partition("-")
        if key not in allowed:
            raise InputError(f"no option {key!r} in {name!r}: write KEY-VALUE+..., with KEY of {', '.join(allowed)}")
        if key in given:
            raise InputError(f"{name!r} gives {key} twice: leave one out")
        if key in _CHOICES:
            if value not in _CHOICES[key]:
                raise InputError(f"{key}-{value} is not an option: choose {key}- and one of {', '.join(_CHOICES[key])}")
            given[key] = value
        else:
            try:
                given[key] = float(value)
            except ValueError:
                given[key] = math.nan
            if not math.isfinite(given[key]):
                raise InputError(f"{key}-{value} is not a number of pixels: write as in {key}--100")
    return BuildOptions(**given)
