// Which view is shown, the job that is open, and the keys of the whole page.

import * as api from "./api.js";
import * as live from "./live.js";
import * as look from "./look.js";
import * as panel from "./panel.js";
import * as player from "./player.js";
import * as stage from "./stage.js";
import * as start from "./start.js";
import "./timeline.js";
import { byId, complain, emit, isTracked, say, state } from "./state.js";

let hangUp = () => {};
let fetched = null;    // revision of the results that are here
let tracked = 0;       // frames of the run that goes on, as far as rows came in

// --- views ---

function view(name, title = "") {
  document.body.dataset.view = name;
  for (const one of ["start", "job", "live"]) byId(one).hidden = one !== name;
  byId("title").textContent = title;
  document.title = title ? `${title} · mixformerv2` : "mixformerv2";
}

async function route() {
  leave();
  const asked = location.hash, [what, value] = asked.slice(1).split("=");
  if (what === "job" && value) {
    try {
      const job = await api.job(value);
      if (location.hash === asked) await openJob(job);  // else the user has gone elsewhere meanwhile
    } catch (error) {
      complain(error);
      if (location.hash === asked) location.hash = "";
    }
    return;
  }
  if (what === "live") {
    view("live", "Camera");
    live.start(value === undefined ? null : Number(value));
    return;
  }
  view("start");
  start.show().catch(complain);
}

function leave() {
  hangUp();
  hangUp = () => {};
  live.stop();
  player.unload();
  Object.assign(state, { job: null, rows: new Map(), times: [], frame: 0, selected: 1, adding: true, draft: null, look: null, offline: false });
  fetched = null;
  emit("job");
}

async function openJob(job) {
  view("job", job.name);
  state.job = job;
  panel.setAdding(!job.objects.length);
  emit("job");
  stage.fit();
  player.load();
  await take(job);
  if (state.job?.id !== job.id) return;  // left while the results were on their way
  panel.setAdding(!isTracked() && !["waiting", "tracking"].includes(state.job.status));
  // What came before this connection is in no message of it.
  hangUp = api.events(job.id, heard, forget, lost);
}

start.onOpened((job) => { location.hash = `job=${job.id}`; });

// --- the job ---

const RUNNING = ["waiting", "tracking"];
const isPrepared = (job) => job.video?.count !== null && job.video?.count !== undefined;

function lost() {
  forget();
  say("The connection was interrupted.");
  state.offline = true;
  emit("rows");
}

/** The results that are here are not known to be all: the next form of the job fetches them. */
function forget() { fetched = null; }

/** A newer form of the job; results are fetched again where they have changed. */
async function take(job) {
  if (state.job?.id !== job.id || job.revision < state.job.revision) return;
  const before = state.job;
  state.job = job;
  const ended = RUNNING.includes(before.status) && !RUNNING.includes(job.status);
  if (ended) forget();  // rows that came while results were on their way were overwritten by them
  if (isPrepared(job) && fetched !== job.revision) await fetchResults(job);
  if (ended) player.trackingEnded();
  if (ended && !job.error) say("Tracking has ended.");
  if (job.status === "tracking" && before.status !== "tracking") say("Tracking.");
  veil(job);
  emit("job");
}

async function fetchResults(job) {
  const opening = !state.times.length;
  fetched = job.revision;
  try {
    const found = await api.results(job.id);
    if (state.job?.id !== job.id) return;
    fetched = found.revision;
    state.times = found.times.map((time) => time - found.times[0]);
    state.rows = new Map(found.objects.map((one) => [one.id, one.rows]));
  } catch (error) { fetched = null; complain(error); return; }
  state.look = null;
  if (opening) player.load();
  emit("results");
}

function heard(message) {
  state.offline = false;
  if (message.type === "job") take(message.job).catch(complain);
  else if (message.type === "gone") { complain(new Error("This job was deleted.")); location.hash = ""; }
  else if (message.type === "rows") takeRows(message);
}

function takeRows({ id, start: first, rows, progress, revision }) {
  if (!state.job || revision !== fetched) return;
  const all = state.rows.get(id);
  if (!all) return;
  rows.forEach((row, i) => { if (row) all[first + i] = row; });
  if (progress) state.job.progress = progress;
  // Each object has a message of its own for the same frames.
  const { done } = progress ?? { done: tracked };
  player.rowsCame(done < tracked ? done : done - tracked, id);
  tracked = done;
  emit("rows");
}

function veil(job) {
  byId("veil").hidden = job.status !== "failed";
  byId("veil").classList.toggle("still", job.status === "failed");
  byId("veil-text").textContent = job.error ?? "";
}

panel.onJob(take);
stage.onBox(panel.saveBox);

// --- keys ---

const KEYS = {
  " ": () => player.toggle(),
  ArrowLeft: (event) => player.step(event.shiftKey ? -10 : -1),
  ArrowRight: (event) => player.step(event.shiftKey ? 10 : 1),
  Home: () => player.show(0),
  End: () => player.show(state.times.length - 1),
  b: () => stage.startTyping(),
  n: () => byId("add").click(),
  t: () => panel.trackOrPause(),
  u: () => panel.nextDoubt(),
  l: () => look.toggle(),
  Delete: () => panel.removeBox(),
  Backspace: () => panel.removeBox(),
};

document.addEventListener("keydown", (event) => {
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) && event.target.type !== "checkbox";
  if (typing || event.ctrlKey || event.metaKey || byId("help").open) return;
  if (event.key === "?") { byId("help").showModal(); return; }
  if (document.body.dataset.view === "live") { if (live.key(event)) event.preventDefault(); return; }
  if (document.body.dataset.view !== "job") return;
  if (stage.key(event)) { event.preventDefault(); return; }
  // A focused button is pressed by the space bar as everywhere.
  if (event.key === " " && /^(BUTTON|A|INPUT|LABEL)$/.test(event.target.tagName)) return;
  if (event.altKey) return;
  if (/^[1-9]$/.test(event.key)) { panel.select(Number(event.key)); return; }
  const act = KEYS[event.key] ?? KEYS[event.key.toLowerCase()];
  if (!act) return;
  event.preventDefault();
  act(event);
});

// --- light and dark ---

function setTheme(name) {
  if (name) document.documentElement.dataset.theme = name;
  emit("theme");
}
byId("theme").onclick = () => {
  const dark = getComputedStyle(document.documentElement).colorScheme === "dark";
  const next = dark ? "light" : "dark";
  try { localStorage.setItem("theme", next); } catch { /* then it holds until the page is left */ }
  setTheme(next);
};
try { setTheme(localStorage.getItem("theme")); } catch { /* no storage: as the system says */ }
window.matchMedia("(prefers-color-scheme: light)").addEventListener("change", () => emit("theme"));
byId("help-open").onclick = () => byId("help").showModal();
byId("home").onclick = (event) => { event.preventDefault(); location.hash = ""; };
window.addEventListener("hashchange", route);
window.addEventListener("resize", stage.fit);

api.info().then((info) => { state.info = info; return route(); }).catch(complain);
