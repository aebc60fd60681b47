"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const labels = { "1": "consistent", "0": "inconsistent", "-1": "unlabelled" };
const place = new Map(data.frames.map((frame, row) => [frame, row]));
const cards = [...document.querySelectorAll(".card")];
const slider = document.getElementById("frame");
const say = value => (value === null || value === undefined ? "–" : value.toFixed(3));

// The scored frame nearest to a number; frames ascend.
const nearest = frame => data.frames.reduce((a, b) => (Math.abs(b - frame) < Math.abs(a - frame) ? b : a));

function show(wanted) {
  const frame = nearest(wanted), row = place.get(frame);
  slider.value = frame;
  document.getElementById("said").textContent = `frame ${frame}, ${labels[data.labels[row]]}`;
  for (const line of document.querySelectorAll(".cursor")) {
    const { left, right } = line.closest("svg").dataset;
    const x = +left + ((frame + 0.5) / data.length) * (right - left);
    line.setAttribute("x1", x);
    line.setAttribute("x2", x);
    line.style.visibility = "visible";
  }
  for (const out of document.querySelectorAll(".chart output")) {
    const values = data.scores.map(model => say(model[out.dataset.metric][row]));
    out.textContent = data.models.map((name, i) => (data.models.length > 1 ? `${name} ` : "") + values[i]).join("   ");
  }
  return frame;
}

function open(frame) {
  const visible = cards.filter(card => !card.hidden);
  if (!visible.length) return;
  const gap = card => Math.abs(card.dataset.frame - frame);
  const card = visible.reduce((a, b) => (gap(b) < gap(a) ? b : a));
  for (const each of cards) each.classList.toggle("chosen", each === card);
  card.scrollIntoView({ block: "nearest" });
}

for (const svg of document.querySelectorAll("svg[data-left]")) {
  const at = event => {
    const box = svg.getBoundingClientRect(), { left, right, width } = svg.dataset;
    const x = ((event.clientX - box.left) / box.width) * width;
    return ((x - left) / (right - left)) * data.length - 0.5;
  };
  svg.addEventListener("pointermove", event => show(at(event)));
  svg.addEventListener("click", event => open(show(at(event))));
}
slider.addEventListener("input", () => show(+slider.value));
slider.addEventListener("change", () => open(show(+slider.value)));

// The worst of the models' scores decides; frames without a score come last.
function order(name) {
  const sign = data.descending.includes(name) ? -1 : 1;
  const worst = card => {
    if (name === "time") return +card.dataset.frame;
    const row = place.get(+card.dataset.frame);
    const known = data.scores.map(model => model[name][row]).filter(value => value !== null);
    return known.length ? Math.min(...known.map(value => sign * value)) : Infinity;
  };
  const keys = new Map(cards.map(card => [card, worst(card)]));
  const compare = (a, b) => (keys.get(a) === keys.get(b) ? a.dataset.frame - b.dataset.frame : keys.get(a) - keys.get(b));
  document.querySelector("ol.cards").append(...[...cards].sort(compare));
}
document.getElementById("order").addEventListener("change", event => order(event.target.value));
document.getElementById("label").addEventListener("change", event => {
  for (const card of cards) card.hidden = event.target.value !== "all" && card.dataset.label !== event.target.value;
});
document.getElementById("tools").hidden = false;
