// The page Watch: a video is chosen, predicted and watched with its maps, its curve of consistency and its scores.

import { api, bytes, chooser, clock, el, follow, playableVideo, say } from "/static/common.js";
import { Curve } from "/static/curves.js";
import { Player } from "/static/player.js";

const $ = (id) => document.getElementById(id);
const asked = new URLSearchParams(location.search);
const complain = (error) => say($("messages"), error.message ?? String(error));

// ---------------------------------------------------------------------------------------------------------------------
// Choosing
// ---------------------------------------------------------------------------------------------------------------------

const modelOf = (result) => `${result.model}${result.checkpoint ? `, ${result.checkpoint}` : ""}, ${result.mode}`;
const madeAt = (result) => new Date(result.made).toLocaleString();

async function choose() {
  $("choose").hidden = false;
  let results = [];
  const list = chooser($("chooser"), {
    page: "/watch",
    badge: (video) => (results.some((result) => result.video === video.id) ? "predicted" : null),
  });
  async function load() {
    ({ results } = await api("/api/results"));
    list.draw();
    $("earlier").hidden = !results.length;
    $("results").replaceChildren(
      ...results.map((result) =>
        el(
          "li",
          {},
          el("a", { class: "name", href: `/watch?video=${result.video}&result=${result.id}` }, result.name),
          el("span", { class: "badge" }, modelOf(result)),
          el("span", { class: "badge" }, madeAt(result)),
          el("button", { type: "button", class: "plain", "aria-label": `Remove the result of ${result.name}`, onclick: () => remove(result, load) }, "Remove"),
        ),
      ),
    );
  }
  await load();
}

async function remove(result, then) {
  if (!confirm(`Remove the result of ${result.name} by ${modelOf(result)}?`)) return;
  await api(`/api/results/${result.id}`, { method: "DELETE" });
  await then();
}

// ---------------------------------------------------------------------------------------------------------------------
// Watching
// ---------------------------------------------------------------------------------------------------------------------

let video = null; // as /api/videos says; null if the file is gone
let player = null;
let colours = null;
let curves = [];

async function watch(id) {
  $("viewer").hidden = false;
  try {
    video = await api(`/api/videos/${id}`);
    title(video.name);
    const rate = `${Number(video.fps.toFixed(2))} frames per second`;
    const length = clock(video.duration ?? NaN, 1);
    $("about").textContent = [`${video.width}×${video.height}`, rate, length, video.audio ? null : "no audio"].filter(Boolean).join(" · ");
    await models();
    if (!video.media) video = await playableVideo(id, progress);
  } catch (error) {
    $("form").hidden = true;
    if (error.status !== 404 || !asked.get("result")) return complain(error);
  } finally {
    progress(null);
  }
  await showResults(asked.get("result"));
  if (!video) return;
  const { jobs } = await api("/api/jobs");
  const running = jobs.find((job) => job.video === id && job.kind === "predict" && ["waiting", "running"].includes(job.state));
  if (running) await followed(running.id);
  else if (asked.get("new")) {
    const { results } = await api(`/api/results?video=${id}`);
    if (!results.length) await predict();
  }
}

function title(name) {
  $("title").textContent = name;
  document.title = `${name} – Watch`;
}

async function models() {
  const { models: found } = await api("/api/models");
  $("model").replaceChildren(...found.map((model) => el("option", { value: model.id }, model.name)));
  $("form").onsubmit = (event) => {
    event.preventDefault();
    predict(true).catch(complain);
  };
}

async function predict(again = false) {
  say($("messages"), "");
  const json = { video: video.id, model: $("model").value, mode: $("mode").value, again };
  const answer = await api("/api/predictions", { json });
  if (answer.result) await showResults(answer.result);
  else await followed(answer.job.id);
}

// Follows a prediction to its end, and shows its result.
async function followed(job) {
  $("predict").disabled = true;
  $("cancel").onclick = () => api(`/api/jobs/${job}/cancel`, { method: "POST" }).catch(complain);
  try {
    const ended = await follow(job, progress);
    await showResults(ended.result.result);
  } catch (error) {
    if (!error.cancelled) complain(error);
  } finally {
    $("predict").disabled = false;
    progress(null);
  }
}

// Shows how far a job is; null: there is none.
function progress(job) {
  $("progress").hidden = job === null;
  if (job === null) return;
  $("cancel").hidden = job.kind !== "predict";
  const { done, total } = job;
  if (done && total) Object.assign($("bar"), { max: total, value: Math.min(done, total) });
  else $("bar").removeAttribute("value");
  const left = done > 20 && total > done ? `, about ${clock(((total - done) * (job.seconds ?? 0)) / done)} left` : "";
  const what = job.kind === "copy" ? "Making a copy that browsers play, once: " : "";
  $("phase").textContent = what + (done ? `${done} of ${total ?? "?"} frames${left}` : job.phase);
}

// Shows the results to choose from, and one of them: by default the latest, or the video alone if there is none.
async function showResults(wanted) {
  const id = video?.id ?? asked.get("video");
  const { results } = await api(`/api/results?video=${id}`);
  const chosen = results.find((result) => result.id === wanted) ?? results[0] ?? null;
  $("shown-label").hidden = results.length < 2;
  $("shown").replaceChildren(
    ...results.map((result) => el("option", { value: result.id, selected: result === chosen }, `${modelOf(result)}, ${madeAt(result)}`)),
  );
  $("shown").onchange = () => showResults($("shown").value).catch(complain);
  const address = new URL(location);
  address.search = new URLSearchParams({ video: id, ...(chosen && { result: chosen.id }) });
  history.replaceState(null, "", address);
  $("predict").textContent = results.length ? "Predict again" : "Predict";
  if (chosen) await show(chosen);
  else if (video) alone();
  else say($("messages"), "This result is not there any more.");
}

function reset() {
  player?.close();
  curves.forEach((curve) => curve.close());
  curves = [];
  for (const name of ["plots", "files", "looks", "overlaid", "consistency", "no-curve", "scored", "scoring"]) $(name).hidden = true;
  $("player").hidden = $("keys").hidden = false;
  document.querySelector(".pictures").classList.add("single");
}

function source(address) {
  const picture = $("picture");
  if (picture.dataset.source === address) return;
  picture.dataset.source = address;
  picture.src = address;
  picture.onerror = () => other().catch(complain);
}

// The browser does not play what the server took for playable: it gets a copy.
async function other() {
  if (!video || video.copied) {
    complain("This browser does not play H.264 video: open the page in another one.");
    return;
  }
  try {
    video = await playableVideo(video.id, progress, { copy: true });
    source(video.media);
  } finally {
    progress(null);
  }
}

// A video without a prediction.
function alone() {
  reset();
  player = new Player({ times: [], fps: video.fps, onframe: () => {} });
  source(video.media);
}

async function show(result) {
  reset();
  title(result.name);
  const timeline = await api(`/api/results/${result.id}/timeline`);
  const { frames, fps } = timeline;
  const times = frames.map((frame) => frame.time);
  const stale = !video || result.stamp !== video.stamp;
  player = new Player({ times, fps, onframe: (frame, time) => atFrame(frames, frame, time) });
  files(result, timeline);
  if (stale) {
    say($("messages"), video ? "The file has changed since this prediction: this is the overlay as it was written." : "The video itself is not there any more: this is the overlay as it was written.", true);
    source(`/api/results/${result.id}/overlay`);
  } else {
    source(video.media);
    $("overlaid").hidden = $("looks").hidden = false;
    document.querySelector(".pictures").classList.remove("single");
    player.overlay((frame) => `/api/results/${result.id}/maps/${frame}?v=${encodeURIComponent(result.made)}`);
    await looks();
  }
  const duration = (times.at(-1) ?? 0) + 1 / fps;
  plot(timeline, times, duration);
  scores(result, times, duration).catch(complain);
}

async function looks() {
  colours ??= await api("/api/colours");
  if (!$("colours").length) $("colours").replaceChildren(...Object.keys(colours).map((name) => el("option", {}, name)));
  const changed = () => {
    $("percent").textContent = `${Math.round(100 * $("opacity").value)} %`;
    player.look(colours[$("colours").value], Number($("opacity").value));
  };
  $("opacity").oninput = $("colours").onchange = changed;
  changed();
}

// ---------------------------------------------------------------------------------------------------------------------
// Curves
// ---------------------------------------------------------------------------------------------------------------------

const two = (value) => (value == null ? "–" : value.toFixed(2));
const used = (row) => (row.gate ? "audio used" : "audio ignored");

// What is said of a frame: in the caption, beside the curves, and on them.
function atFrame(frames, frame, time) {
  const row = frames[frame];
  if (!row) return;
  const known = row.avc_probability != null;
  $("gate").textContent = known ? `AVC ${two(row.avc_probability)}, ${used(row)}` : "";
  $("gate").classList.toggle("open", Boolean(row.gate));
  $("probability").textContent = known ? `${two(row.avc_probability)}, ${used(row)}` : "";
  curves.forEach((curve) => curve.show(time, frame));
  if (!$("scored").hidden) $("score").textContent = curves.at(-1).values[frame]?.toFixed(3) ?? "undefined here";
}

function plot({ frames, sound, gate }, times, duration) {
  $("plots").hidden = false;
  if (frames.some((row) => row.avc_probability != null)) {
    $("consistency").hidden = false;
    const said = (frame) => `frame ${frame}, ${clock(times[frame], 2)}, consistency ${two(frames[frame].avc_probability)}, ${used(frames[frame])}`;
    const curve = new Curve($("curve"), { times, duration, seek: (time) => player.seek(time), said });
    curve.set(frames.map((row) => row.avc_probability), { shaded: frames.map((row) => row.gate) });
    curves.push(curve);
    return;
  }
  $("no-curve").hidden = false;
  const why = sound === false ? "The file has no audio track" : gate === "always" ? "This model has no gate" : "This model uses no audio";
  $("no-curve").textContent = `${why}: there is no curve of audio-visual consistency.`;
}

// Scores by frame, where there is ground truth; they are computed when they are first asked for.
async function scores(result, times, duration) {
  const address = `/api/results/${result.id}/scores`;
  let answer = await api(address);
  if (answer?.job) {
    $("scoring").hidden = false;
    try {
      await follow(answer.job.id, (job) => ($("scoring").textContent = `Comparing with the ground truth: ${job.phase}`));
      answer = await api(address);
    } finally {
      $("scoring").hidden = true;
    }
  }
  if (!answer || !player.times.length || player.times !== times) return;
  const names = Object.keys(answer.frames).filter((name) => answer.means[name] != null);
  if (!names.length) return;
  $("scored").hidden = false;
  $("metric").replaceChildren(...names.map((name) => el("option", {}, name)));
  const column = () => answer.frames[$("metric").value];
  const said = (frame) => `frame ${frame}, ${$("metric").value} ${column()[frame]?.toFixed(3) ?? "undefined"}`;
  const curve = new Curve($("score-curve"), { times, duration, seek: (time) => player.seek(time), said });
  curves.push(curve);
  $("metric").onchange = () => {
    const values = column().filter((value) => value != null);
    const [low, high] = axis(Math.min(...values, 0), Math.max(...values, 0));
    curve.set(column(), { low, high });
    const mean = answer.means[$("metric").value];
    $("mean").textContent = `mean ${mean.toFixed(3)} of ${values.length} frames`;
    $("score").textContent = column()[player.frame]?.toFixed(3) ?? "";
    curve.show(player.video.currentTime);
  };
  $("metric").onchange();
}

// Returns round ends of an axis.
function axis(low, high) {
  const unit = 10 ** Math.floor(Math.log10(Math.max(high - low, 1e-6)));
  return [Math.floor(low / unit) * unit, Math.ceil(high / unit) * unit];
}

// ---------------------------------------------------------------------------------------------------------------------
// Files
// ---------------------------------------------------------------------------------------------------------------------

async function files(result, { notes, num_frames }) {
  $("files").hidden = false;
  $("notes").replaceChildren(...notes.map((note) => el("li", {}, note)));
  $("zip").href = `/api/results/${result.id}/zip`;
  $("save").href = `/api/results/${result.id}/overlay?save=1`;
  $("record").textContent = `${num_frames} frames by ${modelOf(result)}`;
  $("remove").onclick = () => remove(result, () => location.assign(`/watch${video ? `?video=${video.id}` : ""}`)).catch(complain);
  const { files: count, bytes: size } = await api(`/api/results/${result.id}`);
  $("zip").textContent = `Download all ${count} files (${bytes(size)})`;
}

(asked.get("video") ? watch(asked.get("video")) : choose()).catch(complain);
