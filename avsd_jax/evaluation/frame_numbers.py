"""Inference of whether frame numbers start at 0 or 1, from the numbers themselves; the result is always reported.

A map that is scored one frame off looks almost as good, so the error would go unnoticed. A number 0 shows that frames
are counted from 0; a number equal to the video's number of frames, without a 0, that they are counted from 1. All
videos of a folder must agree, the file names of some models have a convention, and `--first_frame` always takes
precedence.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from avsd_jax.errors import InputError


@dataclass(frozen=True)
class Counting:
    """The number of the first frame.

    Attributes:
        first: the number of a video's first frame, 0 or 1.
        reason: how it was determined, in words.
    """

    first: int
    reason: str


def counting(
    where: str,
    numbers: Mapping[str, Collection[int]],
    num_frames: Mapping[str, int],
    usage: int | None = None,
    given: int | None = None,
    flag: str = "--first_frame",
) -> Counting:
    """Infers the number of the first frame in a folder.

    Args:
        where: the folder, for messages.
        numbers: video id -> numbers of its maps.
        num_frames: video id -> number of its frames.
        usage: the convention of file names of this kind; None: unknown.
        given: the number given by the user, or None.
        flag: the option by which the user gives it.

    Raises:
        InputError: videos contradict each other, or the numbers are ambiguous; the message names the option.
    """
    if given is not None:
        return Counting(given, f"{flag}={given} says so")
    zero = [video for video, found in numbers.items() if 0 in found]
    last = [video for video, found in numbers.items() if 0 not in found and num_frames[video] in found]
    one = [video for video, found in numbers.items() if found and min(found) == 1 and video not in last]
    if zero and (last or one):
        other = (last or one)[0]
        why = f"has number {num_frames[other]} and no 0" if last else "begins with number 1"
        raise InputError(
            f"{where}: video {zero[0]!r} counts frames from 0 (it has number 0) and {other!r} seems to count from 1 "
            f"(it {why}): number them alike, or give {flag}=0 or {flag}=1 for all"
        )
    if zero:
        return Counting(0, f"video {zero[0]!r} has number 0")
    if last:
        return Counting(1, f"video {last[0]!r} has number {num_frames[last[0]]}, its number of frames, and no 0")
    if usage is None or (usage == 0 and one):
        video, found = next(iter(numbers.items()))
        raise InputError(
            f"{where}: do the files' numbers count frames from 0 or from 1? No video has a number 0, nor one equal to "
            f"its number of frames ({video!r} has numbers {min(found)} to {max(found)} of {num_frames[video]} frames): "
            f"give {flag}=0 or {flag}=1"
        )
    return Counting(usage, "as usual for names of this kind; no number contradicts it")
