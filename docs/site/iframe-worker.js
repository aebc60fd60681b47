// The search runs in a Worker, which browsers refuse to pages that are opened as files. There, a hidden frame takes its place.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      const waiting = [];
      this.postMessage = (data) => waiting.push(data);
      const start = () => {
        document.body.append(frame);
        const inner = frame.contentWindow;
        inner.__index = window.__index;
        inner.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
        inner.importScripts = (...urls) => urls.reduce((before, each) => before.then(() => load(each)), Promise.resolve());
        const load = (each) => new Promise((done, failed) => {
          const script = inner.document.createElement("script");
          Object.assign(script, { src: each, onload: done, onerror: failed });
          inner.document.head.append(script);
        });
        load(new URL(url, location.href).href).then(() => {
          this.postMessage = (data) => inner.dispatchEvent(new inner.MessageEvent("message", { data }));
          waiting.forEach(this.postMessage);
        });
      };
      document.body ? start() : addEventListener("DOMContentLoaded", start);
    }
  };
}
