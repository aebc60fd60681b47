// What all pages share: requests, uploads, jobs, and the chooser of videos.

// Builds an element: attributes by name, `on...` listeners, and children, which are text unless they are elements.
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

// Sends a request; returns the JSON of the answer, or throws an Error with the server's sentence.
export async function api(path, { method = "GET", json } = {}) {
  const options = { method, cache: "no-store" };
  if (json !== undefined) {
    options.method = method === "GET" ? "POST" : method;
    options.body = JSON.stringify(json);
    options.headers = { "Content-Type": "application/json" };
  }
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("the server does not answer: is it still running?");
  }
  if (answer.status === 204) return null;
  if (!answer.ok) throw await failure(answer.status, await answer.text());
  return answer.json();
}

function failure(status, text) {
  let words = text.trim() || `the server answered ${status}`;
  try {
    words = JSON.parse(text).error ?? words;
  } catch {}
  return Object.assign(new Error(words), { status });
}

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

// Sends a file; calls `onprogress(share)`. Returns {promise of the video, abort()}.
export function upload(file, onprogress = () => {}) {
  const request = new XMLHttpRequest();
  const promise = new Promise((done, failed) => {
    request.open("POST", `/api/uploads?name=${encodeURIComponent(file.name)}`);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.upload.onprogress = (event) => onprogress(event.loaded / Math.max(1, event.total));
    request.onload = () => {
      if (request.status === 201) done(JSON.parse(request.responseText));
      else failed(failure(request.status, request.responseText));
    };
    request.onerror = () => failed(new Error("the upload broke off: is the server still running, is the file too large?"));
    request.onabort = () => failed(new Error("the upload was stopped"));
    request.send(file);
  });
  return { promise, abort: () => request.abort() };
}

// Follows a job until it ends; calls `onupdate(job)`. Returns the job, or throws an Error with its sentence.
export async function follow(id, onupdate = () => {}) {
  for (let silent = 0; ; ) {
    try {
      const job = await api(`/api/jobs/${id}`);
      silent = 0;
      onupdate(job);
      if (job.state === "done") return job;
      if (job.state === "failed") throw Object.assign(new Error(job.error), { status: 500 });
      if (job.state === "cancelled") throw Object.assign(new Error("cancelled"), { status: 500, cancelled: true });
    } catch (error) {
      if (error.status !== undefined || ++silent > 20) throw error;
    }
    await sleep(400);
  }
}

// Returns a video with `media`, the address of what this browser plays. A copy is made first where one is needed.
export async function playableVideo(id, onupdate = () => {}, { copy = false } = {}) {
  const address = `/api/videos/${id}${copy ? "?copy=1" : ""}`;
  const video = await api(address);
  if (video.media) return video;
  const { job } = await api(`/api/videos/${id}/copy`, { method: "POST" });
  await follow(job.id, onupdate);
  return api(address);
}

export function clock(seconds, digits = 0) {
  if (!Number.isFinite(seconds)) return "–";
  const rounded = Number(seconds.toFixed(digits));
  const whole = Math.floor(rounded);
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const [h, m, s] = parts.map((part) => String(part).padStart(2, "0"));
  const rest = digits ? (rounded - whole).toFixed(digits).slice(1) : "";
  return (parts[0] ? `${parts[0]}:${m}:${s}` : `${parts[1]}:${s}`) + rest;
}

export function bytes(count) {
  for (const unit of ["B", "kB", "MB", "GB"]) {
    if (count < 1000 || unit === "GB") return `${count < 10 && unit !== "B" ? count.toFixed(1) : Math.round(count)} ${unit}`;
    count /= 1000;
  }
}

// Shows a sentence at the top of a container, in the place of the one before.
export function say(container, words, note = false) {
  container.querySelector(":scope > .message")?.remove();
  if (words) container.prepend(el("div", { class: note ? "message note" : "message", role: note ? "status" : "alert" }, words));
}

// The chooser: a place to drop a file, and the list of videos. Files may be dropped anywhere on the page.
//   page: address that a chosen video is opened by, as `${page}?video=ID`.
//   badge(video): text beside a name, or null.
//   chosen(video): called after an upload; by default the video is opened.
export function chooser(container, { page, badge = () => null, chosen } = {}) {
  const opened = chosen ?? ((video) => location.assign(`${page}?video=${video.id}&new=1`));
  const input = el("input", { type: "file", accept: "video/*,.mkv,.mxf,.ts", class: "visually-hidden", id: "file", tabindex: "-1" });
  const bar = el("progress", { max: 1, value: 0, "aria-label": "Upload" });
  const stop = el("button", { type: "button" }, "Stop");
  const busy = el("div", { hidden: true }, bar, el("p", { class: "small soft" }), stop);
  const hint = el("p", { class: "small soft" });
  const drop = el(
    "div",
    { class: "drop" },
    el("p", {}, "Drop a video here, or ", el("button", { type: "button", class: "primary", onclick: () => input.click() }, "Choose a file"), input),
    hint,
    busy,
  );
  const filter = el("input", { type: "search", placeholder: "Filter", "aria-label": "Filter the videos" });
  const list = el("ul", { class: "list" });
  const heading = el("div", { class: "heading" }, el("h2", {}, "Videos"), filter);
  container.append(drop, heading, list);
  let videos = [];
  let folder = null;
  let limit = Infinity;
  let most = Infinity;

  function draw() {
    const wanted = filter.value.trim().toLowerCase();
    const shown = videos.filter((video) => video.name.toLowerCase().includes(wanted));
    filter.hidden = videos.length < 8;
    list.replaceChildren(
      ...shown.map((video) =>
        el(
          "li",
          {},
          el("a", { class: "name", href: `${page}?video=${video.id}` }, video.name),
          badge(video) ? el("span", { class: "badge" }, badge(video)) : null,
          el("span", { class: "badge" }, bytes(video.size)),
          video.uploaded
            ? el("button", { type: "button", class: "plain", "aria-label": `Remove ${video.name}`, onclick: () => remove(video) }, "Remove")
            : null,
        ),
      ),
    );
    list.hidden = !shown.length;
    heading.hidden = !videos.length;
    const none = !videos.length && folder ? `There are no videos in ${folder}.` : "";
    say(container, videos.length >= most ? `Only the first ${most} videos of ${folder} are listed.` : none, true);
  }

  async function remove(video) {
    if (!confirm(`Remove the upload ${video.name}?`)) return;
    try {
      await api(`/api/videos/${video.id}`, { method: "DELETE" });
      await load();
    } catch (error) {
      say(container, error.message);
    }
  }

  async function load() {
    const answer = await api("/api/videos");
    ({ videos, folder, most, max_upload: limit } = answer);
    hint.textContent = `Up to ${bytes(limit)}. ${folder ? `Or choose one of ${folder} below.` : "It stays on the machine that runs the server."}`;
    draw();
    return answer;
  }

  async function send(file) {
    if (!file || !busy.hidden) return;
    say(container, "");
    if (file.size > limit) {
      say(container, `${file.name} has ${bytes(file.size)}, more than the ${bytes(limit)} that the server takes: put it into the folder of videos, or start the server with a larger --max_upload.`);
      return;
    }
    const text = busy.querySelector("p");
    busy.hidden = false;
    const sending = upload(file, (share) => {
      bar.value = share;
      text.textContent = share < 1 ? `${file.name}: ${Math.round(100 * share)} %` : `${file.name}: checking`;
    });
    stop.onclick = sending.abort;
    try {
      opened(await sending.promise);
    } catch (error) {
      say(container, error.message);
    } finally {
      busy.hidden = true;
      input.value = "";
    }
  }

  filter.addEventListener("input", draw);
  input.addEventListener("change", () => send(input.files[0]));
  window.addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  window.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) drop.classList.remove("over");
  });
  window.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    send(event.dataTransfer.files[0]);
  });
  load().catch((error) => say(container, error.message));
  return { load, draw };
}
