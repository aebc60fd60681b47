// The page Label: a player that steps exactly by frames, the strip, and labels by keys.

import { api, chooser, clock, el, follow, playableVideo, say, sleep } from "/static/common.js";
import { Strip } from "/static/label_strip.js";
import { Sync } from "/static/label_sync.js";
import { CONSISTENT, INCONSISTENT, Track, UNLABELLED, UNSURE, WORDS } from "/static/label_track.js";
import { Player } from "/static/label_player.js";
import { agreementTables, download } from "/static/label_results.js";

const $ = (id) => document.getElementById(id);
const NAME = "avsd-annotator";
const AGREEMENT_MS = 2000;
const id = new URLSearchParams(location.search).get("video");
const messages = $("messages");
let video, track, sync, strip, player;
let selection = null; // [first frame, frame after the last one] or null
let idle; // timer of the agreement, which follows the labels when nobody edits
let anchor = null; // where a selection by keys began

if (id) open().catch((error) => say(messages, error.message));
else {
  $("choose").hidden = false;
  chooser($("chooser"), { page: "/label" });
}

// ---------------------------------------------------------------------------------------------------------------------
// Beginning
// ---------------------------------------------------------------------------------------------------------------------

async function open() {
  $("editor").hidden = false;
  const about = await api(`/api/videos/${id}`);
  $("title").textContent = about.name;
  document.title = `Label ${about.name}`;
  const [ready, annotator] = await Promise.all([prepared(), named(localStorage.getItem(NAME))]);
  video = { ...about, ...ready };
  const data = await fetch(`/api/labels/${id}/times?v=${ready.stamp}`).then((answer) => answer.arrayBuffer());
  video.times = new Float64Array(data);
  const last = video.times.length - 1;
  const step = last > 0 ? video.times[last] / last : 1 / video.fps;
  video.end = video.times[last] + step;

  track = new Track(ready.frames);
  $("work").hidden = false;
  const audio = async (start, stop, columns) => {
    const query = new URLSearchParams({ start, stop, columns, v: ready.stamp });
    return new Uint8Array(await fetch(`/api/labels/${id}/strip?${query}`).then((answer) => answer.arrayBuffer()));
  };
  strip = new Strip($("strip"), $("overview"), {
    times: video.times,
    end: video.end,
    track,
    audio: ready.audio ? audio : null,
    bands: ready.bands,
    onseek: (frame) => player.go(frame),
    onselect: (range) => select(range),
    onpick: (frame) => select(track.around(frame)),
  });
  player = new Player($("screen"), { video, id, frameAt: (time) => strip.frameAt(time), onframe: shown, onplay: playing });
  $("screen").style.setProperty("--aspect", ready.aspect);
  $("strip").setAttribute("aria-valuemin", "1");
  $("strip").setAttribute("aria-valuemax", String(ready.frames));
  buttons();
  await begin(annotator);
  player.go(0);
  play(about);
  classifiers();
}

// Waits until the server has read the video.
async function prepared() {
  for (;;) {
    const said = await api(`/api/labels/${id}`);
    $("preparing").hidden = said.state === "ready";
    if (said.state === "ready") return said;
    const bar = $("prepared");
    if (said.total) Object.assign(bar, { max: said.total, value: Math.min(said.total, said.done) });
    else bar.removeAttribute("value");
    $("preparing-what").textContent = `The first time the video is read from beginning to end: ${said.phase}`;
    await sleep(300);
  }
}

// Asks for the annotator's name, unless it is known.
function named(known) {
  if (known) return Promise.resolve(known);
  const dialog = $("who");
  $("name").value = localStorage.getItem(NAME) ?? "";
  dialog.showModal();
  dialog.oncancel = (event) => localStorage.getItem(NAME) || event.preventDefault();
  return new Promise((done) => {
    $("who-form").onsubmit = (event) => {
      const name = $("name").value.trim().normalize("NFC");
      $("who-error").hidden = /^(?=.{1,40}$)[\p{L}\p{N}_](?:[\p{L}\p{M}\p{N}_ .-]*[\p{L}\p{M}\p{N}_.])?$/u.test(name);
      if (!$("who-error").hidden) {
        event.preventDefault();
        $("who-error").textContent = "Up to 40 letters, digits, spaces, '-', '_' and '.'";
        return;
      }
      localStorage.setItem(NAME, name);
      done(name);
    };
  });
}

// Loads an annotator's labels.
async function begin(annotator) {
  sync?.close();
  $("annotator").textContent = annotator;
  video.annotator = annotator;
  track.load({ base: [], done: [], undone: [] }); // until this one's labels are there
  sync = new Sync({
    video: id,
    annotator,
    track,
    onstate: (words, unsent) => {
      $("saved").textContent = unsent ? `${words}: kept in this browser until the server answers` : words;
      $("saved").classList.toggle("unsent", unsent);
      clearTimeout(idle);
      if (words === "All saved") idle = setTimeout(agreement, AGREEMENT_MS);
    },
    onlabels: drawn,
    onerror: (words) => say(messages, words),
  });
  await sync.start();
  agreement();
}

// Makes the browser play the video; stepping through its frames does without.
async function play(about) {
  const source = (found) => ($("video").src = found.media);
  try {
    $("play").disabled = true;
    source(about.media ? about : await playableVideo(id, (job) => ($("time").textContent = job.phase)));
    $("video").onerror = async () => {
      $("video").onerror = null;
      $("play").disabled = true;
      source(await playableVideo(id, () => {}, { copy: true }));
      $("play").disabled = false;
    };
    $("play").disabled = false;
    shown(player.frame);
  } catch (error) {
    say(messages, `The video cannot be played here, but stepped through: ${error.message}`);
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// What is shown
// ---------------------------------------------------------------------------------------------------------------------

function shown(frame) {
  strip.show(frame);
  const label = track.labels[frame];
  if (document.activeElement !== $("number")) $("number").value = String(frame + 1);
  $("time").textContent = `of ${track.labels.length} · ${clock(video.times[frame], 3)}`;
  $("mark").className = `mark is${label}`;
  $("mark").textContent = WORDS[label];
  $("strip").setAttribute("aria-valuenow", String(frame + 1));
  $("strip").setAttribute("aria-valuetext", `Frame ${frame + 1} of ${track.labels.length}, ${clock(video.times[frame], 2)}, ${WORDS[label]}`);
}

function playing(is) {
  $("play").textContent = is ? "Pause" : "Play";
}

function drawn() {
  $("undo").disabled = !track.done.length;
  $("redo").disabled = !track.undone.length;
  counted();
  if (player) shown(player.frame);
}

function counted() {
  const counts = { [UNLABELLED]: 0, [INCONSISTENT]: 0, [CONSISTENT]: 0, [UNSURE]: 0 };
  for (const label of track.labels) counts[label]++;
  const open = [];
  if (counts[UNLABELLED]) open.push(`${counts[UNLABELLED]} without a label`);
  if (counts[UNSURE]) open.push(`${counts[UNSURE]} unsure`);
  $("export-note").textContent =
    `${counts[CONSISTENT]} frames are consistent, ${counts[INCONSISTENT]} inconsistent` +
    (open.length ? `, ${open.join(", ")}: these have no label in the file.` : ": every frame has a label.") +
    " The file is what python -m avsd_jax.avc_labels and the builders of datasets read.";
  $("export").disabled = !(counts[CONSISTENT] + counts[INCONSISTENT]);
}

function select(range) {
  selection = range;
  if (!range) anchor = null;
  strip.selection = range;
  strip.draw();
  $("chosen").textContent = range
    ? `Frames ${range[0] + 1} to ${range[1]} are selected: ${range[1] - range[0]} frames, ${(strip.timeOf(range[1]) - strip.timeOf(range[0])).toFixed(2)} s`
    : "Nothing is selected: a label is given to the frame that is shown. Drag over the strip, or press g after a stretch you have heard.";
}

function speak(words) {
  $("spoken").textContent = words;
}

// ---------------------------------------------------------------------------------------------------------------------
// What is done
// ---------------------------------------------------------------------------------------------------------------------

function label(value) {
  const range = selection ?? [player.frame, player.frame + 1];
  const runs = track.changes([[...range, value]]);
  if (runs.length) sync.edit("set", [[runs[0][0], runs.at(-1)[1], value]]);
  speak(range[1] - range[0] > 1 ? `Frames ${range[0] + 1} to ${range[1]}: ${WORDS[value]}` : `Frame ${range[0] + 1}: ${WORDS[value]}`);
  if (selection) select(null);
  else if (!player.playing) player.go(player.frame + 1);
}

function step(by, extend) {
  const from = player.frame;
  player.go(from + by);
  if (!extend) return;
  anchor ??= selection ? (from === selection[0] ? selection[1] - 1 : selection[0]) : from;
  strip.select(anchor, player.frame);
}

// Frames after the last one that has a label, up to here.
function sinceLast() {
  let start = player.frame;
  while (start > 0 && track.labels[start - 1] === UNLABELLED) start--;
  select([start, player.frame + 1]);
}

function change(direction) {
  const [start, stop] = track.around(player.frame);
  player.go(direction > 0 ? Math.min(stop, track.labels.length - 1) : start < player.frame ? start : track.around(Math.max(0, start - 1))[0]);
}

function edge(which) {
  const here = player.frame;
  const [start, stop] = selection ?? [here, here + 1];
  select(which === "start" ? [here, Math.max(stop, here + 1)] : [Math.min(start, here), here + 1]);
}

function accept() {
  if (!strip.proposal) return;
  const [first, after] = selection ?? [0, track.labels.length];
  const inside = strip.proposal.runs
    .map(([start, stop, value]) => [Math.max(start, first), Math.min(stop, after), value])
    .filter(([start, stop]) => start < stop);
  const runs = track.changes(inside, (old) => selection !== null || old === UNLABELLED);
  if (!runs.length) return speak("There is nothing to take over");
  sync.edit("set", runs);
  speak(`The proposal is taken over in ${runs.length} ranges`);
  select(null);
}

function history(kind) {
  if (!(kind === "undo" ? track.done : track.undone).length) return;
  const touched = sync.edit(kind);
  player.go(touched[0][0]);
  speak(kind === "undo" ? "Undone" : "Done again");
}

const ACTIONS = {
  consistent: () => label(CONSISTENT),
  inconsistent: () => label(INCONSISTENT),
  unsure: () => label(UNSURE),
  erase: () => label(UNLABELLED),
  undo: () => history("undo"),
  redo: () => history("redo"),
  play: () => player.toggle(),
  playSelection: () => selection && player.playRange(...selection),
  back: () => step(-1),
  next: () => step(1),
  backExtend: () => step(-1, true),
  nextExtend: () => step(1, true),
  backFar: () => step(-25),
  nextFar: () => step(25),
  backFarExtend: () => step(-25, true),
  nextFarExtend: () => step(25, true),
  first: () => player.go(0),
  last: () => player.go(track.labels.length - 1),
  change: () => change(1),
  changeBack: () => change(-1),
  sinceLast,
  run: () => select(track.around(player.frame)),
  all: () => select([0, track.labels.length]),
  none: () => select(null),
  from: () => edge("start"),
  to: () => edge("end"),
  zoomIn: () => strip.zoom(1.6),
  zoomOut: () => strip.zoom(1 / 1.6),
  fit: () => strip.view(0, video.end),
  zoomSelection: () => selection && strip.view(strip.timeOf(selection[0]), strip.timeOf(selection[1])),
  accept,
};

// Keys, what they do, and how the help says it. Letters are those of the keyboard's language.
const KEYS = [
  [["1", "c"], "consistent", "consistent"],
  [["0", "i"], "inconsistent", "inconsistent"],
  [["u"], "unsure", "unsure"],
  [["x", "Delete", "Backspace"], "erase", "take the label away"],
  [["z", "ctrl+z"], "undo", "undo"],
  [["y", "ctrl+y", "ctrl+shift+z"], "redo", "redo"],
  [[" "], "play", "play or pause"],
  [["shift+ "], "playSelection", "play the selection"],
  [["ArrowLeft", ","], "back", "frame before"],
  [["ArrowRight", "."], "next", "next frame"],
  [["shift+ArrowLeft"], "backExtend", "extend the selection back"],
  [["shift+ArrowRight"], "nextExtend", "extend the selection"],
  [["PageUp"], "backFar", "25 frames back"],
  [["PageDown"], "nextFar", "25 frames on"],
  [["shift+PageUp"], "backFarExtend", "select 25 frames back"],
  [["shift+PageDown"], "nextFarExtend", "select 25 frames on"],
  [["Home"], "first", "first frame"],
  [["End"], "last", "last frame"],
  [["n"], "change", "where the label changes next"],
  [["p"], "changeBack", "where it changed last"],
  [["g"], "sinceLast", "select from the last label to here"],
  [["r"], "run", "select the run of equal labels"],
  [["ctrl+a"], "all", "select everything"],
  [["["], "from", "select from this frame"],
  [["]"], "to", "select up to this frame"],
  [["Escape"], "none", "select nothing"],
  [["+", "="], "zoomIn", "zoom in"],
  [["-"], "zoomOut", "zoom out"],
  [["s"], "zoomSelection", "zoom to the selection"],
  [["f"], "fit", "the whole video"],
  [["t"], "accept", "take the proposal over"],
];
const BY_KEY = new Map(KEYS.flatMap(([keys, action]) => keys.map((key) => [key, action])));
const NAMES = { " ": "space", ArrowLeft: "←", ArrowRight: "→", PageUp: "page up", PageDown: "page down", Escape: "esc" };

document.addEventListener("keydown", (event) => {
  if (!sync || $("who").open || event.target.closest("input, select, textarea, summary")) return;
  if (event.target.closest("button, a") && (event.key === " " || event.key === "Enter")) return;
  if (event.altKey) return;
  const letter = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const shifted = event.shiftKey && (letter.length > 1 || letter === " " || event.ctrlKey || event.metaKey);
  const key = `${event.ctrlKey || event.metaKey ? "ctrl+" : ""}${shifted ? "shift+" : ""}${letter}`;
  const action = BY_KEY.get(key);
  if (!action) return;
  event.preventDefault();
  ACTIONS[action]();
});

function buttons() {
  $("keys").replaceChildren(
    ...KEYS.map(([keys, , words]) =>
      el("div", {}, ...keys.flatMap((key) => [el("kbd", {}, key.replace(/[^+]+$/, (last) => NAMES[last] ?? (last || " "))), " "]), words),
    ),
  );
  for (const button of document.querySelectorAll("[data-do]")) button.onclick = () => ACTIONS[button.dataset.do]();
  $("play").onclick = ACTIONS.play;
  $("back").onclick = ACTIONS.back;
  $("next").onclick = ACTIONS.next;
  // The space bar plays, also after a click on a button.
  for (const button of document.querySelectorAll("#work button")) button.addEventListener("click", (event) => event.detail && button.blur());
  $("speed").onchange = () => {
    $("video").playbackRate = Number($("speed").value);
    $("speed").blur();
  };
  $("number").onchange = () => player.go((Number.parseInt($("number").value, 10) || 1) - 1);
  $("number").onkeydown = (event) => event.key === "Enter" && $("number").blur();
  $("annotator").onclick = () => named(null).then(begin).catch((error) => say(messages, error.message));
  $("export").onclick = () => exported(`by/${encodeURIComponent(video.annotator)}/export`);
  $("export-merged").onclick = () => exported("merged");
  $("again").onclick = agreement;
  $("propose").onclick = propose;
  $("classifier").onchange = showProposal;
  select(null);
}

async function exported(path) {
  try {
    await sync.send();
    await download(`/api/labels/${id}/${path}`, video.name.replace(/^.*\//, "").replace(/\.[^.]*$/, "") + ".csv");
  } catch (error) {
    say(messages, error.message);
  }
}

async function agreement() {
  try {
    await sync.send();
    const found = await api(`/api/labels/${id}/agreement`);
    $("export-merged").hidden = found.annotators.length < 2;
    $("agreement").replaceChildren(...agreementTables(found));
  } catch (error) {
    say(messages, error.message);
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// Proposals
// ---------------------------------------------------------------------------------------------------------------------

async function classifiers() {
  const { classifiers: known } = await api(`/api/labels/${id}/classifiers`);
  $("classifier").replaceChildren(...known.map((each) => el("option", { value: each.id }, each.name)));
  const made = known.find((each) => each.done);
  if (!made) return;
  $("classifier").value = made.id;
  await showProposal();
}

// Shows what the chosen classifier has proposed, if it has.
async function showProposal() {
  try {
    strip.proposal = await api(`/api/labels/${id}/classifiers/${$("classifier").value}`);
  } catch (error) {
    if (error.status !== 404) say(messages, error.message);
    strip.proposal = null;
  }
  $("accept").disabled = !strip.proposal;
  $("propose").disabled = Boolean(strip.proposal);
  strip.draw();
}

async function propose() {
  const bar = $("proposing").querySelector("progress");
  $("proposing").hidden = false;
  $("propose").disabled = true;
  try {
    const { job } = await api(`/api/labels/${id}/classifiers/${$("classifier").value}`, { method: "POST" });
    if (job) {
      await follow(job.id, ({ done, total }) => {
        if (total) Object.assign(bar, { max: total, value: done });
        else bar.removeAttribute("value");
      });
    }
    await showProposal();
  } catch (error) {
    $("propose").disabled = false;
    say(messages, error.message);
  } finally {
    $("proposing").hidden = true;
  }
}
