// The strip: the waveform, its spectrogram, the labels and a proposal along time, at any zoom.

import { clock } from "/static/common.js";
import { CONSISTENT, INCONSISTENT, UNLABELLED, UNSURE } from "/static/label_track.js";

// Parts from top to bottom, in CSS pixels.
const RULER = 20;
const WAVE = 62;
const SPECTRUM = 84;
const GAP = 4;
const LANE = 30;
const PROPOSED = 28;
const STEPS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600];
const LEAST_SECONDS = 0.2;
const COLOURS = { [INCONSISTENT]: "--is0", [CONSISTENT]: "--is1", [UNSURE]: "--is2", [UNLABELLED]: "--faint" };
const SILENCE = 128; // of a sample in a byte

export class Strip {
  // times, end: of the frames, and of the last one's end. audio(start, stop, columns): promise of bytes, or null.
  // track: of the labels. onseek(frame), onselect([start, stop] or null), onpick(frame): a run was double-clicked.
  constructor(canvas, overview, { times, end, track, audio, bands, onseek, onselect, onpick }) {
    Object.assign(this, { canvas, overview, times, end, track, audio, bands, onseek, onselect, onpick });
    Object.assign(this, { start: 0, stop: end, frame: 0, selection: null, proposal: null, tile: null, asked: null });
    this.listen();
    this.resized = new ResizeObserver(() => this.draw());
    this.resized.observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  // The frame that is shown at a time.
  frameAt(time) {
    let [low, high] = [0, this.times.length];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (this.times[middle] <= time) low = middle;
      else high = middle;
    }
    return low;
  }

  timeOf(frame) {
    return frame < this.times.length ? this.times[frame] : this.end;
  }

  x(time) {
    return ((time - this.start) / (this.stop - this.start)) * this.canvas.clientWidth;
  }

  // Shows another part, as long as it can be.
  view(start, stop) {
    const seconds = Math.min(this.end, Math.max(LEAST_SECONDS, stop - start));
    this.start = Math.max(0, Math.min(this.end - seconds, start));
    this.stop = this.start + seconds;
    this.draw();
  }

  zoom(factor, at = this.timeOf(this.frame)) {
    const inside = at >= this.start && at <= this.stop ? at : (this.start + this.stop) / 2;
    const seconds = Math.min(this.end, Math.max(LEAST_SECONDS, (this.stop - this.start) / factor));
    const share = (inside - this.start) / (this.stop - this.start);
    this.view(inside - share * seconds, inside + (1 - share) * seconds);
  }

  // Marks the present frame, and keeps it in view.
  show(frame) {
    this.frame = frame;
    const [time, seconds] = [this.timeOf(frame), this.stop - this.start];
    if (time < this.start || this.timeOf(frame + 1) > this.stop) this.view(time - 0.15 * seconds, time + 0.85 * seconds);
    else this.draw();
  }

  // -- pointer ----------------------------------------------------------------------------------------------------

  listen() {
    const { canvas, overview } = this;
    const frameOf = (event) => {
      const box = canvas.getBoundingClientRect();
      return this.frameAt(this.start + ((event.clientX - box.left) / box.width) * (this.stop - this.start));
    };
    let anchor = null;
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      canvas.setPointerCapture(event.pointerId);
      const frame = frameOf(event);
      if (event.shiftKey) {
        const [start, stop] = this.selection ?? [this.frame, this.frame + 1];
        anchor = { frame: Math.abs(frame - start) < Math.abs(frame - stop) ? stop - 1 : start, x: -1e9 };
        this.select(anchor.frame, frame);
      } else {
        anchor = { frame, x: event.clientX };
      }
      this.onseek(frame);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!anchor || !canvas.hasPointerCapture(event.pointerId) || Math.abs(event.clientX - anchor.x) < 4) return;
      anchor.x = -1e9;
      this.select(anchor.frame, frameOf(event));
      this.onseek(frameOf(event));
    });
    canvas.addEventListener("pointerup", (event) => {
      if (anchor && anchor.x > -1e9 && !event.shiftKey) this.onselect(null);
      anchor = null;
    });
    canvas.addEventListener("dblclick", (event) => this.onpick(frameOf(event)));
    canvas.addEventListener(
      "wheel",
      (event) => {
        const box = canvas.getBoundingClientRect();
        const seconds = this.stop - this.start;
        const at = this.start + ((event.clientX - box.left) / box.width) * seconds;
        if (event.ctrlKey || event.metaKey || event.altKey) this.zoom(Math.exp(-event.deltaY / 300), at);
        else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
          const by = (seconds * (event.deltaX || event.deltaY)) / box.width;
          this.view(this.start + by, this.stop + by);
        } else return;
        event.preventDefault();
      },
      { passive: false },
    );
    const pan = (event) => {
      const box = overview.getBoundingClientRect();
      const middle = ((event.clientX - box.left) / box.width) * this.end;
      const half = (this.stop - this.start) / 2;
      this.view(middle - half, middle + half);
    };
    overview.addEventListener("pointerdown", (event) => {
      overview.setPointerCapture(event.pointerId);
      pan(event);
    });
    overview.addEventListener("pointermove", (event) => overview.hasPointerCapture(event.pointerId) && pan(event));
  }

  select(first, last) {
    this.onselect([Math.min(first, last), Math.max(first, last) + 1]);
  }

  // -- drawing ----------------------------------------------------------------------------------------------------

  draw() {
    this.waiting ??= requestAnimationFrame(() => {
      this.waiting = null;
      this.drawNow();
    });
  }

  drawNow() {
    const [width, height] = [this.canvas.clientWidth, this.canvas.clientHeight];
    if (!width) return;
    const pen = sized(this.canvas);
    const style = getComputedStyle(this.canvas);
    const colour = (name) => style.getPropertyValue(name).trim();
    pen.fillStyle = colour("--panel");
    pen.fillRect(0, 0, width, height);
    this.drawRuler(pen, colour, width);
    this.drawAudio(pen, colour, width);
    const lane = RULER + WAVE + SPECTRUM + 2 * GAP;
    this.drawRuns(pen, colour, this.track.runs(this.frameAt(this.start), this.frameAt(this.stop) + 1), lane, LANE);
    if (this.proposal) this.drawProposal(pen, colour, lane + LANE + GAP);
    if (this.selection) {
      const [left, right] = this.selection.map((frame) => this.x(this.timeOf(frame)));
      pen.fillStyle = colour("--accent");
      pen.globalAlpha = 0.22;
      pen.fillRect(left, RULER, right - left, height - RULER);
      pen.globalAlpha = 1;
      for (const edge of [left, right]) pen.fillRect(edge - 0.75, RULER, 1.5, height - RULER);
    }
    const [left, right] = [this.x(this.timeOf(this.frame)), this.x(this.timeOf(this.frame + 1))];
    pen.fillStyle = colour("--warn");
    if (right - left > 3) {
      pen.globalAlpha = 0.25;
      pen.fillRect(left, RULER, right - left, height - RULER);
      pen.globalAlpha = 1;
    }
    pen.fillRect(left - 0.75, 0, 1.5, height);
    this.drawOverview(colour);
    this.drawn = true;
  }

  drawRuler(pen, colour, width) {
    const seconds = this.stop - this.start;
    const step = STEPS.find((each) => (each / seconds) * width > 74) ?? 7200;
    const digits = step < 0.1 ? 2 : step < 1 ? 1 : 0;
    pen.fillStyle = colour("--soft");
    pen.font = "12px system-ui, sans-serif";
    pen.textBaseline = "middle";
    for (let tick = Math.ceil(this.start / step); tick * step <= this.stop; tick++) {
      const place = this.x(tick * step);
      pen.fillRect(Math.round(place), RULER - 6, 1, 6);
      pen.textAlign = place < 20 ? "left" : place > width - 20 ? "right" : "center";
      pen.fillText(clock(tick * step, digits), place, RULER / 2 - 1);
    }
  }

  drawAudio(pen, colour, width) {
    pen.fillStyle = colour("--faint");
    pen.fillRect(0, RULER, width, WAVE);
    pen.fillStyle = colour("--deep");
    pen.fillRect(0, RULER + WAVE + GAP, width, SPECTRUM);
    if (!this.audio) {
      pen.fillStyle = colour("--soft");
      pen.textAlign = "center";
      pen.fillText("The video has no sound: nothing in it can be consistent.", width / 2, RULER + WAVE / 2);
      return;
    }
    this.ask(width);
    if (!this.tile) return;
    const { start, stop, wave, spectrum } = this.tile;
    const [left, right] = [this.x(start), this.x(stop)];
    pen.imageSmoothingEnabled = true;
    pen.drawImage(spectrum, left, RULER + WAVE + GAP, right - left, SPECTRUM);
    pen.fillStyle = colour("--wave");
    const middle = RULER + WAVE / 2;
    const columns = wave.length / 2;
    const each = (right - left) / columns;
    pen.beginPath();
    for (let column = Math.max(0, Math.floor(-left / each)); column < columns; column++) {
      const place = left + column * each;
      if (place > width) break;
      const [low, high] = [wave[2 * column], wave[2 * column + 1]];
      pen.rect(place, middle - (high / 128) * (WAVE / 2 - 2) - 0.5, Math.max(each, 0.6), ((high - low) / 128) * (WAVE / 2 - 2) + 1);
    }
    pen.fill();
  }

  // Fetches columns for the view and half of it on both sides, unless they are there at about this zoom.
  ask(width) {
    const seconds = this.stop - this.start;
    const fits = (each) =>
      each && each.start <= Math.max(0, this.start) && each.stop >= Math.min(this.end, this.stop) && each.seconds < 1.6 * seconds && each.seconds > seconds / 1.6;
    if (fits(this.tile) || fits(this.asked)) return;
    const [start, stop] = [Math.max(0, this.start - seconds / 2), Math.min(this.end, this.stop + seconds / 2)];
    const asked = (this.asked = { start, stop, seconds });
    const columns = Math.min(8000, Math.max(1, Math.round(((stop - start) / seconds) * width)));
    clearTimeout(this.timer);
    this.timer = setTimeout(async () => {
      try {
        const data = await this.audio(start, stop, columns);
        if (this.asked !== asked) return;
        this.tile = { ...asked, ...painted(data, columns, this.bands) };
        this.asked = null;
        this.draw();
      } catch {
        if (this.asked === asked) this.asked = null; // the next drawing asks again
      }
    }, this.tile ? 80 : 0);
  }

  drawRuns(pen, colour, runs, top, height, named = true) {
    pen.textBaseline = "middle";
    pen.textAlign = "left";
    pen.font = "12px system-ui, sans-serif";
    for (const [start, stop, label] of runs) {
      const [left, right] = [Math.max(-2, this.x(this.timeOf(start))), Math.min(this.canvas.clientWidth + 2, this.x(this.timeOf(stop)))];
      if (right < 0 || left > this.canvas.clientWidth) continue;
      pen.fillStyle = colour(COLOURS[label]);
      pen.fillRect(left, top, Math.max(0.75, right - left), height);
      if (label === UNSURE) hatch(pen, left, right, top, height);
      const word = { [CONSISTENT]: "consistent", [INCONSISTENT]: "inconsistent", [UNSURE]: "unsure" }[label];
      if (named && word && right - left > 84) {
        pen.fillStyle = colour("--panel");
        pen.fillText(word, Math.max(left, 0) + 8, top + height / 2);
      }
      pen.fillStyle = colour("--panel");
      if (right - left > 3) pen.fillRect(right - 0.5, top, 1, height);
    }
  }

  drawProposal(pen, colour, top) {
    pen.globalAlpha = 0.5;
    this.drawRuns(pen, colour, this.proposal.runs, top, PROPOSED, false);
    pen.globalAlpha = 1;
    pen.strokeStyle = colour("--ink");
    pen.lineWidth = 1.2;
    pen.beginPath();
    const y = (value) => top + 2 + (1 - value) * (PROPOSED - 4);
    this.proposal.probabilities.forEach(([frame, value], at, all) => {
      const until = at + 1 < all.length ? all[at + 1][0] : this.times.length;
      if (at) pen.lineTo(this.x(this.timeOf(frame)), y(value));
      else pen.moveTo(this.x(this.timeOf(frame)), y(value));
      pen.lineTo(this.x(this.timeOf(until)), y(value));
    });
    pen.stroke();
  }

  drawOverview(colour) {
    const { overview } = this;
    const pen = sized(overview);
    const [width, height] = [overview.clientWidth, overview.clientHeight];
    const x = (time) => (time / this.end) * width;
    pen.fillStyle = colour("--faint");
    pen.fillRect(0, 0, width, height);
    for (const [start, stop, label] of this.track.runs()) {
      if (label === UNLABELLED) continue;
      pen.fillStyle = colour(COLOURS[label]);
      pen.fillRect(x(this.timeOf(start)), 4, Math.max(0.75, x(this.timeOf(stop)) - x(this.timeOf(start))), height - 8);
    }
    pen.fillStyle = colour("--warn");
    pen.fillRect(x(this.timeOf(this.frame)) - 0.75, 0, 1.5, height);
    pen.strokeStyle = colour("--ink");
    pen.lineWidth = 1.5;
    pen.strokeRect(x(this.start) + 0.75, 0.75, Math.max(3, x(this.stop) - x(this.start) - 1.5), height - 1.5);
  }
}

// Fits a canvas to its place on the screen; returns its pen, which draws in CSS pixels.
function sized(canvas) {
  const scale = devicePixelRatio || 1;
  const [width, height] = [Math.round(canvas.clientWidth * scale), Math.round(canvas.clientHeight * scale)];
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const pen = canvas.getContext("2d");
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  return pen;
}

// Unsure is told from the others without colours, too.
function hatch(pen, left, right, top, height) {
  pen.save();
  pen.beginPath();
  pen.rect(left, top, right - left, height);
  pen.clip();
  pen.strokeStyle = "#ffffff66";
  pen.lineWidth = 2;
  pen.beginPath();
  for (let place = Math.floor(left / 9) * 9 - height; place < right; place += 9) {
    pen.moveTo(place, top + height);
    pen.lineTo(place + height, top);
  }
  pen.stroke();
  pen.restore();
}

// From columns as the server sends them to a waveform and a picture of the spectrogram.
function painted(data, columns, bands) {
  const wave = new Int8Array(2 * columns);
  const spectrum = document.createElement("canvas");
  Object.assign(spectrum, { width: columns, height: bands });
  const image = new ImageData(columns, bands);
  const pixels = new Uint32Array(image.data.buffer);
  for (let column = 0; column < columns; column++) {
    const at = column * (bands + 2);
    wave[2 * column] = Math.max(-127, data[at] - SILENCE);
    wave[2 * column + 1] = data[at + 1] - SILENCE;
    for (let band = 0; band < bands; band++) pixels[(bands - 1 - band) * columns + column] = HEAT[data[at + 2 + band]];
  }
  spectrum.getContext("2d").putImageData(image, 0, 0);
  return { wave, spectrum };
}

// From dark blue over violet and orange to pale yellow, for levels of 0 to 255.
const HEAT = (() => {
  const stops = [[0, 16, 24, 44], [80, 62, 40, 110], [150, 176, 60, 90], [210, 246, 146, 60], [255, 255, 240, 190]];
  return Uint32Array.from({ length: 256 }, (_, level) => {
    const after = stops.findIndex(([at]) => at >= level) || 1;
    const [low, high] = [stops[after - 1], stops[after]];
    const share = (level - low[0]) / (high[0] - low[0]);
    const [red, green, blue] = [1, 2, 3].map((part) => Math.round(low[part] + share * (high[part] - low[part])));
    return (255 << 24) | (blue << 16) | (green << 8) | red;
  });
})();
