"""A continuous clock for the packets of a file whose time stamps may have discontinuities.

Concatenated files (`cat a.ts b.ts`), paused recordings and faulty recorders leave time stamps that restart, decrease or
jump by hours. As in FFmpeg's command for streams, such a jump is removed from the time stamps of video and audio alike,
so that they stay synchronised within each part.
"""

import contextlib
import itertools
from collections import deque
from collections.abc import Iterator, Sequence

import av

# A gap in the time stamps of streams whose clock may restart (MPEG), as in FFmpeg's -dts_delta_threshold.
HOLE_SECONDS_OF_STREAMS = 10.0
# A gap in the time stamps of files (mp4, mkv), where it may be a still image or a pause. Longer ones are closed.
HOLE_SECONDS = 300.0
# Time stamps that decrease by less are out of order or rounded, which decoders tolerate.
_FALL_SECONDS = 0.1
# If video or audio alone decreases by at most this, its time stamps are followed: a recorder corrected its clock.
_ONE_SIDED_SECONDS = 1.0
# The second of two concatenated parts may begin this much before the end of a stream of the first.
_OVERLAP_SECONDS = 10.0
# A jump that may be one of a few wrong time stamps, depending on the packets after it.
_LEAP_SECONDS = 1.0
_WRONG_STAMPS = 4
# Packets read ahead to distinguish a jump from a single wrong time stamp.
_LOOK_AHEAD = 200


class _Epoch:
    """A part of a file with one offset, in seconds, from its time stamps to the continuous clock."""

    def __init__(self, offset: float):
        self.offset = offset


class _Track:
    """Position of a stream on the continuous clock: its last packet, and the next expected one, in seconds."""

    def __init__(self, epoch: _Epoch):
        self.epoch = epoch
        self.first: float | None = None
        self.last: float | None = None
        self.expected = 0.0
        self._step = 0.0

    def advance(self, time: float, duration: float) -> None:
        """Advances by a packet at `time` of `duration`, 0 if unknown."""
        if self.last is not None and 0 < time - self.last < 1:
            self._step = time - self.last
        self.first = time if self.first is None else self.first
        self.last, self.expected = time, time + (duration or self._step)


class Clock:
    """Yields the packets of some streams with time stamps on the continuous clock.

    Attributes:
        jumps: number of removed jumps.
        first_jump: time of the first on the continuous clock and its size, in seconds, or None.

    Args:
        container: the file.
        streams: the video and the audio stream that are read, or one of them. Every reader of a file must name the
            same ones, so that all use the same clock.
    """

    def __init__(self, container: av.container.InputContainer, streams: Sequence[av.stream.Stream]):
        self.jumps = 0
        self.first_jump: tuple[float, float] | None = None
        restarts = bool(container.format.flags & av.format.Flags.ts_discont.value)
        self._limit = HOLE_SECONDS_OF_STREAMS if restarts else HOLE_SECONDS
        self._source = container.demux(*streams)
        self._ahead: deque[av.Packet] = deque()
        epoch = _Epoch(0.0)
        self._tracks = {stream.index: _Track(epoch) for stream in streams}

    def packets(self) -> Iterator[av.Packet]:
        """Yields all packets with data, in file order; of a truncated file, those before its end."""
        while (packet := self._ahead.popleft() if self._ahead else self._read()) is not None:
            self._set_stamps(packet)
            yield packet

    def _read(self) -> av.Packet | None:
        with contextlib.suppress(av.error.FFmpegError):
            return next((packet for packet in self._source if packet.size), None)
        return None

    def _set_stamps(self, packet: av.Packet) -> None:
        if None not in (packet.pts, packet.dts) and abs(packet.pts - packet.dts) * packet.time_base > self._limit:
            packet.pts = None  # reordered across a jump: displayed after the preceding frame
        time = _time(packet)
        track = self._tracks[packet.stream_index]
        # In files that store durations, the last frame before a gap is as long as the gap.
        duration = _duration(packet)
        duration = duration if duration <= self._limit else 0.0
        if time is None:
            track.expected += duration
            return
        if track.last is None:
            self._start(track, time)
        else:
            now = time + track.epoch.offset
            leaps = now - track.expected > _LEAP_SECONDS or not self._fits(track, now)
            if leaps and self._is_wrong(packet, track, time):
                packet.pts = packet.dts = None
                track.expected += duration
                return
            if not self._fits(track, now):
                self._jump(packet, track, time)
        offset = track.epoch.offset
        track.advance(time + offset, duration)
        if offset:
            ticks = round(offset / packet.time_base)
            packet.pts = None if packet.pts is None else packet.pts + ticks
            packet.dts = None if packet.dts is None else packet.dts + ticks

    def _fits(self, track: _Track, time: float) -> bool:
        return time >= track.last - _FALL_SECONDS and time - track.expected <= self._limit

    def _other(self, track: _Track) -> _Track | None:
        return next((each for each in self._tracks.values() if each is not track and each.last is not None), None)

    def _start(self, track: _Track, time: float) -> None:
        """Places a stream's first packet, next to the other stream if their clocks are unrelated."""
        other = self._other(track)
        if other is None:
            return
        track.epoch = other.epoch
        if abs(time + track.epoch.offset - other.expected) > self._limit:
            self._begin(track, other.first - time, other.first)

    def _begin(self, track: _Track, offset: float, at: float) -> None:
        self.jumps += 1
        if self.first_jump is None:
            self.first_jump = at, track.epoch.offset - offset
        track.epoch = _Epoch(offset)

    def _jump(self, packet: av.Packet, track: _Track, time: float) -> None:
        """Finds the epoch of a packet that does not continue its stream."""
        other = self._other(track)
        now = time + track.epoch.offset
        if other is not None and other.epoch is not track.epoch:
            # The other stream jumped before. If this one's new part begins before its old one ends, both wait.
            short = track.expected - (time + other.epoch.offset)
            if -self._limit <= short <= _OVERLAP_SECONDS:
                track.epoch = other.epoch
                track.epoch.offset += max(0.0, short)
                return
        if other is not None and now > track.last and abs(other.expected - now) <= self._limit:
            return  # the other stream fills the gap
        if other is not None and 0 < track.last - now <= _ONE_SIDED_SECONDS and self._goes_on(packet, other):
            return
        self._begin(track, track.expected - time, track.expected)

    def _is_wrong(self, packet: av.Packet, track: _Track, time: float) -> bool:
        """Returns whether a packet's time stamp is wrong: a following packet continues the stream before it."""
        step = _duration(packet)
        for count, following in enumerate(itertools.islice(self._following(packet.stream_index), _WRONG_STAMPS), 1):
            after = _time(following)
            if after is not None:
                from_before = after + track.epoch.offset - track.expected - count * step
                if abs(from_before) < abs(after - time - count * step):
                    return True
        return False

    def _goes_on(self, packet: av.Packet, other: _Track) -> bool:
        """Returns whether the next packets of the other stream continue without this jump."""
        index = next(index for index, track in self._tracks.items() if track is other)
        times = [_time(each) for each in self._following(index)]
        stamps = [other.last, *(time + other.epoch.offset for time in times if time is not None)]
        return len(stamps) > 1 and all(b >= a - _FALL_SECONDS for a, b in itertools.pairwise(stamps))

    def _following(self, index: int) -> Iterator[av.Packet]:
        """Yields the next packets of a stream, a bounded number."""
        for position in range(_LOOK_AHEAD):
            if position == len(self._ahead):
                packet = self._read()
                if packet is None:
                    return
                self._ahead.append(packet)
            if self._ahead[position].stream_index == index:
                yield self._ahead[position]


def _time(packet: av.Packet) -> float | None:
    stamp = packet.pts if packet.dts is None else packet.dts
    return None if stamp is None else float(stamp * packet.time_base)


def _duration(packet: av.Packet) -> float:
    return float((packet.duration or 0) * packet.time_base)
