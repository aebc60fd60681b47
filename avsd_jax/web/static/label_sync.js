// Edits on their way to the server: each is kept in this browser until the server has it on its disk.
//
// A tab is a client with a random name and counts its edits, so that one that is sent twice is applied once. Edits say
// which revision of the labels they were made on. If another tab has edited since, the server refuses them (409): the tab
// takes the new labels over, and sets its own ranges again on top. What a killed browser did not send is sent by the next
// tab that opens these labels.

import { sleep } from "/static/common.js";

const RETRY_MS = [500, 1000, 2000, 4000, 8000];
const AT_ONCE = 200;
const SILENT = "the server does not answer: is it still running?";

export class Sync {
  // onstate(words, unsent): of the display; onlabels(): the labels are others now; onerror(words).
  constructor({ video, annotator, track, onstate, onlabels, onerror }) {
    Object.assign(this, { track, onstate, onlabels, onerror });
    this.address = `/api/labels/${video}/by/${encodeURIComponent(annotator)}`;
    this.prefix = `avsd-label ${video} ${annotator} `;
    this.client = Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join("");
    Object.assign(this, { revision: 0, sequence: 0, queue: [], sending: null, closed: false });
    this.channel = new BroadcastChannel(this.prefix);
    this.channel.onmessage = () => this.refresh();
    this.woken = () => document.visibilityState === "visible" && this.refresh();
    document.addEventListener("visibilitychange", this.woken);
    window.addEventListener("focus", this.woken);
  }

  close() {
    this.closed = true;
    this.channel.close();
    document.removeEventListener("visibilitychange", this.woken);
    window.removeEventListener("focus", this.woken);
  }

  // Loads the labels, after what earlier tabs did not send.
  async start() {
    // What follows the prefix is a client's name: that of "Ann" begins the keys of "Ann B", too.
    const own = (key) => key.startsWith(this.prefix) && /^[0-9a-f]+$/.test(key.slice(this.prefix.length));
    for (const key of Object.keys(localStorage).filter(own)) await this.adopt(key);
    await this.fetchState();
  }

  async adopt(key) {
    let left;
    try {
      left = JSON.parse(localStorage.getItem(key));
    } catch {}
    const client = key.slice(this.prefix.length);
    let { base, edits } = left ?? {};
    for (let most = AT_ONCE; edits?.length; ) {
      const some = edits.slice(0, most);
      const answer = await this.post({ client, base, edits: some });
      if (answer.ok) {
        edits = edits.slice(some.length);
        base += some.length;
      } else if (answer.status === 409 && answer.body.revision !== undefined) {
        edits = rebased(edits, answer.body.seen);
        base = answer.body.revision;
      } else if (answer.status === 413 && some.length > 1) {
        most = some.length >> 1;
      } else {
        // Kept for the next time, unless the server will never take them.
        if (!refused(answer)) throw new Error(answer.body.error ?? SILENT);
        this.onerror(`Earlier edits of this browser were not taken over: ${answer.body.error}`);
        break;
      }
    }
    localStorage.removeItem(key);
  }

  edit(kind, runs) {
    const edit = runs ? { sequence: ++this.sequence, kind, runs } : { sequence: ++this.sequence, kind };
    const touched = this.track.apply(edit);
    this.queue.push(edit);
    this.keep();
    this.onlabels();
    this.send();
    return touched;
  }

  keep() {
    try {
      const key = this.prefix + this.client;
      if (this.queue.length) localStorage.setItem(key, JSON.stringify({ base: this.revision, edits: this.queue }));
      else localStorage.removeItem(key);
    } catch {} // the browser keeps nothing: what is unsent is lost if it is closed
    const count = this.queue.length;
    this.onstate(count ? `${count} ${count === 1 ? "edit" : "edits"} not saved yet` : "All saved", Boolean(count && this.failed));
  }

  // Resolves when everything is on the server's disk.
  send() {
    this.sending ??= this.sendAll().finally(() => (this.sending = null));
    return this.sending;
  }

  async sendAll() {
    for (let tries = 0, most = AT_ONCE; this.queue.length && !this.closed; ) {
      const edits = this.queue.slice(0, most);
      const answer = await this.post({ client: this.client, base: this.revision, edits });
      // The annotator is another one by now: what is unsent stays in this browser for the next time.
      if (this.closed) return;
      if (answer.ok) {
        [tries, this.failed] = [0, false];
        const foreign = answer.body.revision !== this.revision + edits.length;
        this.revision = answer.body.revision;
        this.queue.splice(0, edits.length);
        this.channel.postMessage(this.revision);
        this.keep();
        if (foreign) await this.fetchState().catch((error) => this.onerror(error.message));
      } else if (answer.status === 409 && answer.body.revision !== undefined) {
        this.take(answer.body);
      } else if (answer.status === 413 && edits.length > 1) {
        most = edits.length >> 1;
      } else if (refused(answer)) {
        this.onerror(`The server did not take the last edits: ${answer.body.error}`);
        this.queue = [];
        this.keep();
        await this.fetchState().catch((error) => this.onerror(error.message));
      } else {
        if (answer.body.error && !this.failed) this.onerror(answer.body.error);
        this.failed = true;
        this.keep();
        await sleep(RETRY_MS[Math.min(tries++, RETRY_MS.length - 1)]);
      }
    }
  }

  // Takes over labels of another revision, and sets again what is unsent.
  take(state) {
    if (this.closed) return;
    const kept = rebased(this.queue, state.seen);
    if (kept.length < this.queue.filter((edit) => edit.sequence > state.seen).length) {
      this.onerror("Another tab has edited these labels: an undo that was not saved yet is left out.");
    }
    this.queue = kept;
    this.revision = state.revision;
    this.track.load(state);
    for (const edit of this.queue) this.track.apply(edit);
    this.keep();
    this.onlabels();
  }

  async fetchState() {
    const answer = await fetch(`${this.address}?client=${this.client}`, { cache: "no-store" });
    const state = await answer.json();
    if (!answer.ok) throw new Error(state.error);
    this.take(state);
  }

  // Looks whether somebody else has edited.
  async refresh() {
    if (this.queue.length || this.sending || this.closed) return;
    try {
      const answer = await fetch(`${this.address}?client=${this.client}`, { cache: "no-store" });
      const state = await answer.json();
      if (answer.ok && state.revision !== this.revision && !this.queue.length && !this.sending) this.take(state);
    } catch {} // the next time will do
  }

  async post(json) {
    try {
      const answer = await fetch(this.address, {
        method: "POST",
        body: JSON.stringify(json),
        headers: { "Content-Type": "application/json" },
      });
      const text = await answer.text();
      let body;
      try {
        body = JSON.parse(text);
      } catch {
        body = { error: text.trim() };
      }
      return { ok: answer.ok, status: answer.status, body };
    } catch {
      return { ok: false, status: 0, body: {} };
    }
  }
}

// Whether the server will never take these edits. Other errors pass: a full disk, a file that is open elsewhere.
const refused = ({ status, body }) => status === 413 || (status === 400 && body.refused === true);

// Ranges can be set on any labels; undoing what somebody else did meanwhile was not meant.
function rebased(edits, seen) {
  return edits.filter((edit) => edit.sequence > seen && edit.kind === "set");
}
