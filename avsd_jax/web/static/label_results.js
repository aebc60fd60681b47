// Tables of agreement, and files to be saved.

import { el } from "/static/common.js";

const percent = (share) => `${(100 * share).toFixed(1)} %`;

function kappa(found, unit) {
  if (!found) return "–";
  if (found.observed === null) return found.undefined;
  const words = found.kappa === null ? `undefined: ${found.undefined}` : found.kappa.toFixed(3);
  return `${words} (${percent(found.observed)} of ${found.units} ${unit} the same)`;
}

function table(heads, rows) {
  return el(
    "div",
    { class: "scroll" },
    el(
      "table",
      {},
      el("thead", {}, el("tr", {}, ...heads.map((head) => el("th", { scope: "col" }, head)))),
      el("tbody", {}, ...rows.map((row) => el("tr", {}, ...row.map((cell) => el("td", {}, String(cell)))))),
    ),
  );
}

// Returns what is shown of the agreement on a video.
export function agreementTables({ annotators, pairs }) {
  if (!annotators.length) return [el("p", { class: "small soft" }, "Nobody has labelled this video yet.")];
  const shares = table(
    ["Annotator", "Consistent", "Inconsistent", "Unsure", "No label"],
    annotators.map((each) => [each.name, each.consistent, each.inconsistent, each.unsure, each.unlabelled]),
  );
  if (!pairs.length) return [shares, el("p", { class: "small soft" }, "With a second annotator, Cohen's kappa is shown here.")];
  const rows = pairs.flatMap((pair) => {
    const names = `${pair.first}, ${pair.second}`;
    const decided = [names, "left out", kappa(pair.frames, "frames"), kappa(pair.segments, "seconds")];
    return pair.frames_unsure
      ? [decided, [names, "a label of its own", kappa(pair.frames_unsure, "frames"), kappa(pair.segments_unsure, "seconds")]]
      : [decided];
  });
  const note = "A second has the label of most of its frames. Frames that one of both has not labelled are left out.";
  return [
    shares,
    table(["Pair", "Unsure is", "Kappa by frame", "Kappa by second"], rows),
    el("p", { class: "small soft" }, note),
  ];
}

// Saves what an address answers under a name.
export async function download(address, name) {
  const answer = await fetch(address, { cache: "no-store" });
  if (!answer.ok) throw new Error((await answer.json()).error);
  const link = el("a", { href: URL.createObjectURL(await answer.blob()), download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
