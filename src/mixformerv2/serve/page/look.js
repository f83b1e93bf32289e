// What the network sees and answers in the frame that is shown.

import * as api from "./api.js";
import * as player from "./player.js";
import { STATES, byId, complain, element, emit, objects, on, state } from "./state.js";

const NAMES = ["left", "top", "right", "bottom"];
let timer = 0, asked = "", due = "";

export function toggle() {
  const box = byId("look-on");
  if (box.disabled) return;
  box.checked = !box.checked;
  box.dispatchEvent(new Event("change"));
}

byId("look-on").onchange = () => {
  byId("heat-label").hidden = !state.info?.attention || !byId("look-on").checked;
  if (byId("look-on").checked) { player.pause(); later(); } else close();
};

function close() {
  asked = "";
  state.look = null;
  byId("look").hidden = true;
  emit("look");
}

const wish = () => `${byId("heat").value !== ""} ${state.job.id} ${state.selected} ${state.frame} ${state.job.revision}`;

function later() {
  const wanted = byId("look-on").checked && !player.playing() && state.times.length && objects().length ? wish() : "";
  if (wanted && wanted === due) return;  // a job that is told of ten times a second would put it off for ever
  clearTimeout(timer);
  due = wanted;
  if (!wanted || (asked === wanted && state.look)) return;
  byId("look").hidden = false;
  byId("look").classList.add("stale");
  timer = setTimeout(fetchLook, 250);
}

async function fetchLook() {
  const heat = byId("heat").value !== "", wanted = wish();
  due = "";
  if (asked === wanted && state.look) { byId("look").classList.remove("stale"); return; }
  asked = wanted;
  try {
    const seen = await api.look(state.job.id, state.selected, state.frame, heat);
    if (asked !== wanted || !byId("look-on").checked) return;
    state.look = seen;
    listLayers(seen);
    show(seen);
    emit("look");
  } catch (error) {
    if (asked === wanted) { asked = ""; complain(error); }
  }
}

function listLayers(seen) {
  const choice = byId("heat"), layers = seen.attention?.length ?? 0;
  // Until the first answer nobody knows how many layers there are: the last one is asked for.
  if (layers && choice.options.length === 2) {
    const last = choice.value === "last";
    choice.options[1].remove();
    for (let layer = 0; layer < layers; layer += 1) choice.add(new Option(`layer ${layer + 1}`, layer));
    if (last) choice.value = String(layers - 1);
  }
  state.layer = choice.value === "" ? null : Number(choice.value);
}

byId("heat").onchange = () => {
  const { value } = byId("heat");
  state.layer = value === "" || value === "last" ? null : Number(value);
  if (value !== "" && !state.look?.attention) later(); else emit("look");
};

/** Entropy of a distribution in units of its greatest: 0 for one bin, 1 for all alike. */
function doubt(shares) {
  const sum = shares.reduce((a, b) => a + b, 0);
  return -shares.reduce((all, share) => (share > 0 ? all + (share / sum) * Math.log(share / sum) : all), 0) / Math.log(shares.length);
}

function show(seen) {
  const told = (box) => box.map((value) => value.toFixed(1)).join(", ");
  const facts = [["prediction", `${seen.state}, ${seen.score.toFixed(3)}`], ["box", told(seen.box)], ["network's own", told(seen.found)]];
  NAMES.forEach((name, i) => facts.push([`${name} entropy`, doubt(seen.sides[i]).toFixed(2)]));
  byId("look-facts").replaceChildren(...facts.flatMap(([name, value], i) => [
    element("dt", { textContent: name, className: i > 2 ? `side ${NAMES[i - 3]}` : "" }), element("dd", { textContent: value })]));
  const pictures = [[seen.templates[0], "first template"], [seen.crop, "search region"]];
  if (seen.online) pictures.splice(1, 0, [seen.templates[1], "latest template"]);
  byId("crops").replaceChildren(...pictures.map(([source, text]) =>
    element("figure", {}, element("img", { src: source, alt: text }), element("figcaption", { textContent: text }))));
  byId("look").classList.remove("stale");
}

on("frame select job playing", later);
on("job look", () => { byId("heat-label").hidden = !state.info?.attention || !byId("look-on").checked; });
on("job", () => { if (!state.job && byId("look-on").checked) { byId("look-on").checked = false; close(); } });
