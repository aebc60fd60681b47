// The player: the browser plays the video, and at rest the server's picture of the very frame lies over it.

export class Player {
  // onframe(frame): another one is shown; onplay(whether it plays).
  constructor(screen, { video, id, frameAt, onframe, onplay }) {
    Object.assign(this, { screen, video, id, frameAt, onframe, onplay, frame: 0, until: null });
    [this.element, this.picture] = [screen.querySelector("video"), screen.querySelector("img")];
    const shape = `${video.aspect}`;
    for (const each of [this.element, this.picture]) each.style.aspectRatio = shape;
    Object.assign(this, { wanted: null, loading: false, followed: 0 });
    this.picture.onload = this.picture.onerror = () => this.loaded();
    this.element.onplay = () => this.started();
    this.element.onpause = this.element.onended = () => this.stopped();
  }

  get playing() {
    return !this.element.paused && !this.element.ended;
  }

  // Shows a frame, from 0; playback goes on from there.
  go(frame) {
    this.frame = Math.max(0, Math.min(this.video.times.length - 1, frame));
    if (this.playing) this.element.currentTime = this.middle(this.frame);
    else this.show();
    this.onframe(this.frame);
  }

  toggle() {
    if (this.playing) return this.element.pause();
    this.until = null;
    const from = this.frame === this.video.times.length - 1 ? 0 : this.frame;
    this.playFrom(from);
  }

  // Plays frames up to one, and goes back to the first.
  playRange(start, stop) {
    this.until = stop;
    this.playFrom(start);
    this.range = [start, stop];
  }

  playFrom(frame) {
    this.range = null;
    this.frame = frame;
    this.element.currentTime = this.middle(frame);
    this.element.play().catch(() => {});
  }

  // A time within a frame: at its edge a rounded number may be the frame before.
  middle(frame) {
    const { times, end } = this.video;
    return times[frame] + 0.3 * ((frame + 1 < times.length ? times[frame + 1] : end) - times[frame]);
  }

  started() {
    this.screen.classList.add("playing");
    this.onplay(true);
    const turn = ++this.followed;
    const follow = (time) => {
      if (turn !== this.followed || !this.playing) return;
      const frame = this.frameAt(time + 1e-4);
      if (this.until !== null && frame >= this.until) return this.element.pause();
      if (frame !== this.frame) {
        this.frame = frame;
        this.onframe(frame);
      }
      next();
    };
    // The time of the picture that is on the screen, where the browser says it.
    const next = () =>
      this.element.requestVideoFrameCallback
        ? this.element.requestVideoFrameCallback((now, { mediaTime }) => follow(mediaTime))
        : requestAnimationFrame(() => follow(this.element.currentTime));
    next();
  }

  stopped() {
    this.followed++;
    this.screen.classList.remove("playing");
    if (this.range && this.until !== null) this.frame = this.range[0];
    else if (this.element.ended) this.frame = this.video.times.length - 1;
    Object.assign(this, { until: null, range: null });
    this.onplay(false);
    this.go(this.frame);
  }

  // Fetches the picture of the present frame; of those that were passed meanwhile only the last one.
  show() {
    this.wanted = `/api/labels/${this.id}/frames/${this.frame + 1}?v=${this.video.stamp}`;
    if (!this.loading) this.load();
  }

  load() {
    this.loading = true;
    this.asked = this.wanted;
    this.picture.src = this.asked;
  }

  loaded() {
    this.loading = false;
    this.picture.dataset.frame = this.asked.match(/frames\/(\d+)/)[1];
    this.picture.alt = `Frame ${this.picture.dataset.frame}`;
    if (this.wanted !== this.asked) this.load();
  }
}
