// The maps of a result: fetched ahead of playback, and drawn over the frame that they belong to.

const AHEAD = 48; // maps that are fetched ahead
const KEPT = 240; // maps that are kept
const AT_ONCE = 4; // requests
const RETRY = 2000; // milliseconds after which a map that did not come is asked for again

export class Maps {
  // address(frame): of a map. onload(): called when one has come.
  constructor(address, count, onload) {
    this.address = address;
    this.count = count;
    this.onload = onload;
    this.levels = new Map(); // frame -> {width, height, values}, in the order of their last use
    this.coming = new Set();
    this.canvas = document.createElement("canvas");
    this.reader = this.canvas.getContext("2d", { willReadFrequently: true });
    this.at = 0;
  }

  close() {
    this.closed = true;
  }

  // Returns the levels of a frame's map, or null if they have not come; fetches it and those after it.
  get(frame) {
    this.at = frame;
    this.fetchAhead();
    const found = this.levels.get(frame);
    if (!found) return null;
    this.levels.delete(frame);
    this.levels.set(frame, found);
    return found;
  }

  fetchAhead() {
    for (let frame = this.at; frame < Math.min(this.count, this.at + AHEAD); frame++) {
      if (this.closed || this.coming.size >= AT_ONCE) return;
      if (!this.levels.has(frame) && !this.coming.has(frame)) this.fetch(frame);
    }
  }

  async fetch(frame) {
    this.coming.add(frame);
    try {
      const answer = await fetch(this.address(frame));
      if (!answer.ok) throw new Error(answer.statusText);
      const image = await createImageBitmap(await answer.blob());
      this.keep(frame, image);
      image.close();
      this.coming.delete(frame);
      this.onload();
      this.fetchAhead();
    } catch {
      setTimeout(() => {
        this.coming.delete(frame);
        this.fetchAhead(); // it is tried again, if it is still wanted
      }, RETRY);
    }
  }

  keep(frame, image) {
    const { width, height } = image;
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
    this.reader.drawImage(image, 0, 0);
    const pixels = this.reader.getImageData(0, 0, width, height).data;
    const values = new Uint8Array(width * height);
    for (let i = 0; i < values.length; i++) values[i] = pixels[4 * i];
    this.levels.set(frame, { width, height, values });
    for (const old of this.levels.keys()) {
      if (this.levels.size <= KEPT) break;
      this.levels.delete(old);
    }
  }
}

// The colour of each level, with its opacity, as the overlay file has them: the more salient, the more opaque.
export function palette(colours, opacity) {
  const table = new Uint32Array(256);
  const bytes = new Uint8ClampedArray(table.buffer);
  for (let level = 0; level < 256; level++) {
    bytes.set([...colours[level], Math.round(255 * opacity * (level / 255) ** 0.7)], 4 * level);
  }
  return table;
}

// Draws a picture of a frame, desaturated by half, under a map.
export function draw(canvas, picture, [width, height], map, table) {
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d", { alpha: false });
  context.filter = "saturate(50%)";
  context.drawImage(picture, 0, 0, width, height);
  context.filter = "none";
  const painted = (draw.painted ??= document.createElement("canvas"));
  if (painted.width !== map.width || painted.height !== map.height) {
    Object.assign(painted, { width: map.width, height: map.height });
  }
  const image = new ImageData(map.width, map.height);
  const pixels = new Uint32Array(image.data.buffer);
  for (let i = 0; i < pixels.length; i++) pixels[i] = table[map.values[i]];
  painted.getContext("2d").putImageData(image, 0, 0);
  context.imageSmoothingQuality = "high";
  context.drawImage(painted, 0, 0, width, height);
}
