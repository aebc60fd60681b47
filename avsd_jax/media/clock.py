"""One continuous clock for the packets of a file, whatever jumps its time stamps make.

Joined files (`cat a.ts b.ts`), paused recordings and broken recorders leave stamps that start again, fall or leap by
hours. As FFmpeg's command does for streams, such a jump is taken out of the stamps of video and audio alike, so that
their distance stays as it is within each part.
"""

import contextlib
import itertools
from collections import deque
from collections.abc import Iterator, Sequence

import av

# A gap in the stamps of streams whose clock may start again (MPEG), as in FFmpeg's -dts_delta_threshold.
HOLE_SECONDS_OF_STREAMS = 10.0
# A gap in the stamps of files (mp4, mkv): there it may be a still image or a pause. Longer ones are closed.
HOLE_SECONDS = 300.0
# Stamps that fall by less are out of order or rounded: what decodes them copes.
_FALL_SECONDS = 0.1
# Video or audio alone may fall by this much, and its stamps are followed: a recorder set its clock right.
_ONE_SIDED_SECONDS = 1.0
# Of two joined parts the second may begin this much before the end of a stream of the first.
_OVERLAP_SECONDS = 10.0
# A leap that may be one of few wrong stamps: the packets after it tell.
_LEAP_SECONDS = 1.0
_WRONG_STAMPS = 4
# Packets read ahead to tell a jump from a single wrong stamp.
_LOOK_AHEAD = 200


class _Epoch:
    """A stretch of a file with one offset, in seconds, from its stamps to the continuous clock."""

    def __init__(self, offset: float):
        self.offset = offset


class _Track:
    """Where a stream is on the continuous clock: its last packet, and the one expected next, in seconds."""

    def __init__(self, epoch: _Epoch):
        self.epoch = epoch
        self.first: float | None = None
        self.last: float | None = None
        self.expected = 0.0
        self._step = 0.0

    def advance(self, time: float, duration: float) -> None:
        """Takes a packet at `time` that lasts `duration`, 0 where that is unknown."""
        if self.last is not None and 0 < time - self.last < 1:
            self._step = time - self.last
        self.first = time if self.first is None else self.first
        self.last, self.expected = time, time + (duration or self._step)


class Clock:
    """Yields the packets of some streams with their stamps on the continuous clock.

    Attributes:
        jumps: number of jumps that were taken out.
        first_jump: time of the first on the continuous clock and what the stamps jump by, in seconds, or None.

    Args:
        container: the file.
        streams: the video and the audio stream that are read, or one of them. Every reader of a file must name the
            same ones, so that all see the same clock.
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
        """Yields all packets with data, in the file's order; where a file breaks off, those before."""
        while (packet := self._ahead.popleft() if self._ahead else self._read()) is not None:
            self._set_stamps(packet)
            yield packet

    def _read(self) -> av.Packet | None:
        with contextlib.suppress(av.error.FFmpegError):
            return next((packet for packet in self._source if packet.size), None)
        return None

    def _set_stamps(self, packet: av.Packet) -> None:
        if None not in (packet.pts, packet.dts) and abs(packet.pts - packet.dts) * packet.time_base > self._limit:
            packet.pts = None  # reordered over a jump: it is shown on the other side, after the frame before it
        time = _time(packet)
        track = self._tracks[packet.stream_index]
        # A last frame before a hole lasts as long as the hole in files that store durations.
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
        """Places a stream's first packet, beside the other stream where their clocks have nothing in common."""
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
        """Finds the epoch of a packet that does not go on where its stream was."""
        other = self._other(track)
        now = time + track.epoch.offset
        if other is not None and other.epoch is not track.epoch:
            # The other stream jumped before. Where this one's new part begins before its old one ends, both wait.
            short = track.expected - (time + other.epoch.offset)
            if -self._limit <= short <= _OVERLAP_SECONDS:
                track.epoch = other.epoch
                track.epoch.offset += max(0.0, short)
                return
        if other is not None and now > track.last and abs(other.expected - now) <= self._limit:
            return  # the other stream fills the hole
        if other is not None and 0 < track.last - now <= _ONE_SIDED_SECONDS and self._goes_on(packet, other):
            return
        self._begin(track, track.expected - time, track.expected)

    def _is_wrong(self, packet: av.Packet, track: _Track, time: float) -> bool:
        """Whether a packet's stamp is wrong: one of the stream's next continues where the stream was before it."""
        step = _duration(packet)
        for count, following in enumerate(itertools.islice(self._following(packet.stream_index), _WRONG_STAMPS), 1):
            after = _time(following)
            if after is not None:
                from_before = after + track.epoch.offset - track.expected - count * step
                if abs(from_before) < abs(after - time - count * step):
                    return True
        return False

    def _goes_on(self, packet: av.Packet, other: _Track) -> bool:
        """Whether the next packets of the other stream do not jump as this one does."""
        index = next(index for index, track in self._tracks.items() if track is other)
        times = [_time(each) for each in self._following(index)]
        stamps = [other.last, *(time + other.epoch.offset for time in times if time is not None)]
        return len(stamps) > 1 and all(b >= a - _FALL_SECONDS for a, b in itertools.pairwise(stamps))

    def _following(self, index: int) -> Iterator[av.Packet]:
        """Yields the packets of a stream that come next, a bounded number."""
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
