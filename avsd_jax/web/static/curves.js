// A curve over time that follows playback and seeks: by a click, by dragging and by keys.

import { clock } from "/static/common.js";

export class Curve {
  // times: of the frames; duration: seconds. values: a number or null for each frame. shaded: 0 or 1 for each, or null.
  // low, high: of the axis. seek(seconds), said(frame): what a screen reader says of a frame.
  constructor(canvas, { times, duration, seek, said }) {
    Object.assign(this, { canvas, times, duration, seek, said, values: [], shaded: null, low: 0, high: 1, time: 0 });
    this.picture = document.createElement("canvas");
    const at = (event) => {
      const box = canvas.getBoundingClientRect();
      const share = (event.clientX - box.left - LEFT) / (box.width - LEFT - RIGHT);
      seek(Math.min(1, Math.max(0, share)) * duration);
    };
    canvas.onpointerdown = (event) => {
      canvas.setPointerCapture(event.pointerId);
      at(event);
    };
    canvas.onpointermove = (event) => canvas.hasPointerCapture(event.pointerId) && at(event);
    canvas.setAttribute("aria-valuemin", "0");
    canvas.setAttribute("aria-valuemax", duration.toFixed(2));
    this.resized = new ResizeObserver(() => this.redraw());
    this.resized.observe(canvas);
    this.dark = matchMedia("(prefers-color-scheme: dark)");
    this.dark.onchange = () => this.redraw();
  }

  set(values, { shaded = null, low = 0, high = 1 } = {}) {
    Object.assign(this, { values, shaded, low, high });
    this.redraw();
  }

  close() {
    this.resized.disconnect();
    this.dark.onchange = null;
  }

  // Draws everything but the line that marks the position.
  redraw() {
    const { canvas, picture } = this;
    const [width, height, scale] = [canvas.clientWidth, canvas.clientHeight, devicePixelRatio || 1];
    if (!width) return;
    for (const each of [canvas, picture]) Object.assign(each, { width: Math.round(width * scale), height: Math.round(height * scale) });
    const pen = picture.getContext("2d");
    pen.scale(scale, scale);
    const colour = (name) => getComputedStyle(canvas).getPropertyValue(name);
    const [top, bottom, right] = [6, height - 20, width - RIGHT];
    this.x = (time) => LEFT + (right - LEFT) * Math.min(1, time / this.duration);
    const y = (value) => bottom - ((bottom - top) * (value - this.low)) / (this.high - this.low || 1);
    const end = (frame) => (frame + 1 < this.times.length ? this.times[frame + 1] : this.duration);

    if (this.shaded) {
      pen.fillStyle = colour("--open-soft");
      for (let from = 0; from < this.times.length; from++) {
        if (!this.shaded[from]) continue;
        let to = from;
        while (this.shaded[to + 1]) to++;
        pen.fillRect(this.x(this.times[from]), top, this.x(end(to)) - this.x(this.times[from]), bottom - top);
        from = to;
      }
    }
    pen.font = "12px system-ui, sans-serif";
    pen.fillStyle = colour("--soft");
    pen.strokeStyle = colour("--line");
    pen.lineWidth = 1;
    pen.textAlign = "right";
    pen.textBaseline = "middle";
    for (const level of [this.low, (this.low + this.high) / 2, this.high]) {
      const line = Math.round(y(level)) + 0.5;
      pen.beginPath();
      pen.moveTo(LEFT, line);
      pen.lineTo(right, line);
      pen.stroke();
      pen.fillText(this.high - this.low >= 20 ? level.toFixed(0) : level.toFixed(this.high - this.low < 0.1 ? 3 : 1), LEFT - 6, line);
    }
    pen.textBaseline = "alphabetic";
    pen.textAlign = "center";
    const step = STEPS.find((each) => (this.duration / each) * 70 < right - LEFT) ?? 3600;
    for (let time = 0; time <= this.duration + 1e-6; time += step) {
      const place = Math.min(Math.max(this.x(time), LEFT + 12), right - 12);
      pen.fillText(clock(time, step < 1 ? 1 : 0), place, height - 4);
    }
    pen.strokeStyle = colour("--curve");
    pen.lineWidth = 1.6;
    pen.lineJoin = "round";
    pen.beginPath();
    let drawn = false;
    // Of the frames in one column of pixels the least and the greatest are drawn.
    for (let frame = 0; frame < this.values.length; ) {
      const column = Math.floor(this.x(this.times[frame]));
      let [least, most] = [Infinity, -Infinity];
      let last = frame;
      for (; frame < this.values.length && Math.floor(this.x(this.times[frame])) === column; last = frame++) {
        const value = this.values[frame];
        if (value == null) continue;
        [least, most] = [Math.min(least, value), Math.max(most, value)];
      }
      if (least > most) {
        drawn = false;
        continue;
      }
      const place = this.x(this.times[last]);
      drawn ? pen.lineTo(place, y(least)) : pen.moveTo(place, y(least));
      pen.lineTo(place, y(most));
      if (frame >= this.values.length) pen.lineTo(this.x(end(last)), y(this.values[last] ?? most));
      drawn = true;
    }
    pen.stroke();
    this.show(this.time);
  }

  // Marks a position.
  show(time, frame = null) {
    this.time = time;
    if (!this.x) return;
    const pen = this.canvas.getContext("2d");
    const scale = devicePixelRatio || 1;
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, this.canvas.width, this.canvas.height);
    pen.drawImage(this.picture, 0, 0);
    pen.scale(scale, scale);
    pen.fillStyle = getComputedStyle(this.canvas).getPropertyValue("--ink");
    pen.fillRect(Math.round(this.x(time)) - 0.75, 2, 1.5, this.canvas.clientHeight - 20);
    if (frame !== null) {
      this.canvas.setAttribute("aria-valuenow", time.toFixed(2));
      this.canvas.setAttribute("aria-valuetext", this.said(frame));
    }
  }
}

const [LEFT, RIGHT] = [44, 10];
const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800];
