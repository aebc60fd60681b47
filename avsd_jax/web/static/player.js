// The player: a video, and beside it each of its frames under its map.

import { clock } from "/static/common.js";
import { Maps, draw, palette } from "/static/maps.js";

const $ = (id) => document.getElementById(id);
const EARLY = 0.002; // seconds by which times of the browser and of the record may differ by rounding

export class Player {
  // times: of the frames, or [] if unknown. onframe(frame, time): called when another frame is shown.
  constructor({ times, fps, onframe }) {
    Object.assign(this, { times, fps, onframe, frame: -1, maps: null, table: null, drawn: -1 });
    this.video = $("picture");
    this.canvas = $("overlay");
    this.controls();
    this.follow();
    this.loaded();
  }

  // Ends: another player takes the elements over.
  close() {
    this.closed = true;
    this.maps?.close();
  }

  // What the video shows already is not reported by the browser once more.
  loaded() {
    this.drawn = -1;
    this.settled();
  }

  // Shows the frame at rest: of several jumps in short time the browser may not report the last one.
  settled() {
    if (this.closed || this.video.seeking || this.video.readyState < 2) return;
    const picture = this.picture();
    this.shown(picture === this.video ? this.video.currentTime : picture.timestamp / 1e6);
    picture.close?.();
  }

  // Returns what the video shows now, with its time where the browser tells it.
  picture() {
    return window.VideoFrame ? new VideoFrame(this.video) : this.video;
  }

  // Shows maps beside the video: address(frame) is that of a map.
  overlay(address) {
    this.maps = new Maps(address, this.times.length, () => this.drawn !== this.frame && this.redraw());
    this.redraw();
  }

  look(colours, opacity) {
    this.table = palette(colours, opacity);
    this.drawn = -1;
    this.redraw();
  }

  get duration() {
    return Number.isFinite(this.video.duration) ? this.video.duration : (this.times.at(-1) ?? 0) + 1 / this.fps;
  }

  // Returns the number of the frame that is shown at a time.
  frameAt(time) {
    if (!this.times.length) return Math.floor((time + EARLY) * this.fps);
    let [low, high] = [0, this.times.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.times[middle] <= time + EARLY) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  // Shows a frame: in the middle of the time that it is shown for, which no rounding moves to another one.
  goto(frame) {
    if (!this.times.length) return this.seek((frame + 0.25) / this.fps);
    const last = this.times.length - 1;
    const number = Math.min(last, Math.max(0, frame));
    const until = number < last ? this.times[number + 1] : this.times[number] + 1 / this.fps;
    this.seek((this.times[number] + Math.min(until, this.times[number] + 0.02)) / 2);
  }

  // Steps on from the frame that is shown, or that is on its way.
  step(frames) {
    this.video.pause();
    this.goto(this.frameAt(this.video.currentTime) + frames);
  }

  seek(time) {
    this.video.currentTime = Math.min(Math.max(0, time), this.duration);
  }

  toggle() {
    if (this.video.paused) this.video.play().catch(() => {});
    else this.video.pause();
  }

  // Called with every frame that the browser shows, and with the time that it has in the file.
  follow() {
    const { video } = this;
    if (video.requestVideoFrameCallback) {
      const next = (_, { mediaTime }) => {
        if (this.closed) return;
        video.requestVideoFrameCallback(next); // first: a frame that comes while this one is drawn is reported, too
        this.shown(mediaTime);
      };
      video.requestVideoFrameCallback(next);
    } else {
      const next = () => {
        if (this.closed) return;
        if (video.readyState >= 2 && !video.seeking) this.shown(video.currentTime);
        requestAnimationFrame(next);
      };
      next();
    }
  }

  shown(time) {
    this.frame = this.frameAt(time);
    this.redraw();
    this.onframe(this.frame, time);
    $("seek").value = time;
    const of = this.times.length ? ` / ${this.times.length - 1}` : "";
    $("time").textContent = `${clock(time, 2)} / ${clock(this.duration, 2)}   frame ${this.frame}${of}`;
  }

  // Draws the frame under its map. A map that has not come yet leaves the picture before: never a frame with another's.
  redraw() {
    if (!this.maps || !this.table || this.frame < 0 || this.closed) return;
    if (this.video.readyState < 2) {
      // Just after a jump the frame cannot be read yet.
      cancelAnimationFrame(this.later);
      this.later = requestAnimationFrame(() => this.redraw());
      return;
    }
    // The picture that is read may be one later than the one that was reported: it says which it is.
    const picture = this.picture();
    const frame = picture === this.video ? this.frame : this.frameAt(picture.timestamp / 1e6);
    const map = this.maps.get(frame);
    if (map && this.drawn !== frame) {
      draw(this.canvas, picture, [this.video.videoWidth, this.video.videoHeight], map, this.table);
      this.drawn = frame;
      this.canvas.dataset.frame = frame;
    }
    picture.close?.();
  }

  controls() {
    const { video } = this;
    video.onloadedmetadata = () => {
      $("seek").max = this.duration;
    };
    video.onloadeddata = () => this.loaded();
    video.onseeked = video.onended = () => this.settled();
    video.onplay = video.onpause = () => {
      $("play").textContent = video.paused ? "Play" : "Pause";
      if (video.paused) this.settled();
    };
    $("play").onclick = video.onclick = this.canvas.onclick = () => this.toggle();
    $("back").onclick = () => this.step(-1);
    $("next").onclick = () => this.step(1);
    $("seek").oninput = () => this.seek(Number($("seek").value));
    $("speed").onchange = () => {
      video.playbackRate = Number($("speed").value);
    };
    $("volume").oninput = () => {
      video.volume = Number($("volume").value);
      video.muted = false;
    };
    document.onkeydown = (event) => this.key(event);
  }

  key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const within = event.target.tagName;
    if (["SELECT", "TEXTAREA"].includes(within) || (within === "INPUT" && event.target.id !== "seek")) return;
    if (event.key === " " && ["BUTTON", "A"].includes(within)) return;
    const side = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (side && event.shiftKey) this.seek(this.video.currentTime + side);
    else if (side) this.step(side);
    else if (event.key === " ") this.toggle();
    else if (event.key === "Home") this.goto(0);
    else if (event.key === "End") this.times.length ? this.goto(this.times.length - 1) : this.seek(this.duration);
    else if (event.key === "m") this.video.muted = !this.video.muted;
    else return;
    event.preventDefault();
  }
}
