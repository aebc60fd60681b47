// The labels of a video's frames, as `avsd_jax/labelling/track.py` keeps them: ranges are set, undone and done again.

export const [UNLABELLED, INCONSISTENT, CONSISTENT, UNSURE] = [-1, 0, 1, 2];
export const WORDS = { [-1]: "no label", 0: "inconsistent", 1: "consistent", 2: "unsure" };

export class Track {
  constructor(frames) {
    this.labels = new Int8Array(frames).fill(UNLABELLED);
    this.done = []; // each { runs, before }, runs being [start, stop, label]
    this.undone = [];
  }

  // Takes over what the server says: the labels before the last edits, and these edits.
  load({ base, done, undone }) {
    this.labels.fill(UNLABELLED);
    this.done = [];
    this.put(base);
    for (const runs of done) this.set(runs);
    this.undone = undone.slice();
  }

  set(runs) {
    const before = runs.flatMap(([start, stop]) => this.runs(start, stop));
    this.put(runs);
    this.done.push({ runs, before });
    this.undone = [];
  }

  undo() {
    const edit = this.done.pop();
    this.put(edit.before);
    this.undone.push(edit.runs);
    return edit.runs;
  }

  redo() {
    const runs = this.undone.pop();
    const rest = this.undone;
    this.set(runs);
    this.undone = rest;
    return runs;
  }

  // Applies an edit as the server does; returns the runs that it touched.
  apply({ kind, runs }) {
    if (kind === "undo") return this.undo();
    if (kind === "redo") return this.redo();
    this.set(runs);
    return runs;
  }

  put(runs) {
    for (const [start, stop, label] of runs) this.labels.fill(label, start, stop);
  }

  // The longest runs of equal labels between two frames.
  runs(start = 0, stop = this.labels.length) {
    const found = [];
    for (let first = start; first < stop; ) {
      let last = first + 1;
      while (last < stop && this.labels[last] === this.labels[first]) last++;
      found.push([first, last, this.labels[first]]);
      first = last;
    }
    return found;
  }

  // The run that a frame is in.
  around(frame) {
    let [start, stop] = [frame, frame + 1];
    while (start > 0 && this.labels[start - 1] === this.labels[frame]) start--;
    while (stop < this.labels.length && this.labels[stop] === this.labels[frame]) stop++;
    return [start, stop];
  }

  // Parts of runs where the label would change, as one edit; empty if nothing would.
  changes(runs, wanted = () => true) {
    const found = [];
    for (const [start, stop, label] of runs) {
      for (const [first, last, old] of this.runs(start, stop)) if (old !== label && wanted(old)) found.push([first, last, label]);
    }
    return found;
  }
}
