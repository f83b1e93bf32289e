// Beside the video: objects, tracking, the box as numbers, downloads.

import * as api from "./api.js";
import * as player from "./player.js";
import { STATES, boxAt, busy, byId, colourOf, complain, count, editing, element, emit, isTracked, missing, nameOf, nextFreeId, objects, on, prompt, row, say, selectedObject, state, sure } from "./state.js";

const FORMATS = [
  ["mp4", "Video with boxes (MP4)", "the video with the boxes drawn in"],
  ["csv", "CSV", "for spreadsheets and pandas"],
  ["json", "JSON", "everything in one document"],
  ["mot", "MOT", "for MOTChallenge tools"],
  ["coco", "COCO", "COCO-video (CocoVID)"],
  ["cvat", "CVAT", "CVAT for video 1.1"],
  ["labelstudio", "Label Studio", "video rectangles"],
];

let changed = () => {};
let savingVideo = null;   // the job whose video is downloaded once it is drawn
let following = false;    // the video runs behind the tracker once that begins

/** Told of each answer of the server that holds the job. */
export function onJob(listener) { changed = listener; }

// --- objects ---

/** Elements that are there stay: one that is replaced between press and release is not clicked. */
function listObjects() {
  const list = byId("objects"), ids = objects().map((one) => one.id).join();
  byId("no-objects").hidden = objects().length > 0;
  if (list.dataset.ids !== ids) {
    list.dataset.ids = ids;
    list.replaceChildren(...objects().map(({ id }) => {
      const choose = element("button", { type: "button", className: "object" }, element("i", { className: "swatch" }), element("span", { className: "name" }), element("span", { className: "now" }));
      choose.querySelector(".swatch").style.background = colourOf(id);
      choose.dataset.id = id;
      choose.onclick = () => select(id);
      const drop = element("button", { type: "button", className: "quiet icon drop-object", textContent: "×" });
      drop.onclick = () => removeObject(id);
      return element("li", {}, choose, drop);
    }));
  }
  for (const item of list.children) {
    const [choose, drop] = item.children, id = Number(choose.dataset.id);
    choose.setAttribute("aria-pressed", String(id === state.selected));
    choose.querySelector(".name").textContent = nameOf(id);
    drop.title = `Remove ${nameOf(id)}`;
    drop.setAttribute("aria-label", drop.title);
  }
  tellNow();
}

/** Frames of an object that would have to be tracked again. */
const found = (id) => (state.rows.get(id) ?? []).filter((row, frame) => row && !prompt(id, frame)).length;

function removeObject(id) {
  const frames = found(id);
  if (frames && !sure(`object ${id}`, `${nameOf(id)} is tracked in ${frames} frames. Press again to remove it with all of them.`)) return;
  act(() => api.removeObject(state.job.id, id));
}

function tellNow() {
  for (const button of byId("objects").querySelectorAll(".object")) {
    const id = Number(button.dataset.id), now = row(id, state.frame), mark = prompt(id, state.frame);
    const words = button.querySelector(".now");
    words.textContent = mark ? "by hand" : now ? `${STATES[now[5]]} ${now[4].toFixed(2)}` : "";
    words.className = `now ${mark ? "given" : now ? STATES[now[5]] : ""}`;
  }
}

export function select(id) {
  if (!objects().some((one) => one.id === id)) return;
  state.selected = id;
  setAdding(false);
  emit("select");
}

export function setAdding(wanted, byUser = false) {
  state.adding = wanted || !objects().length;
  state.asked = byUser && state.adding;
  byId("add").setAttribute("aria-pressed", String(state.adding));
  emit("adding");
}

// Where drags add objects anyhow, who presses it wants just that; only a second press takes it back.
byId("add").onclick = () => { player.pause(); setAdding(!state.asked, true); };

async function act(work) {
  try {
    const job = await work();
    if (job?.id) await changed(job);
    return job;
  } catch (error) { complain(error); return null; }
}

// --- boxes ---

let saved = Promise.resolve();

/** Boxes are saved one after the other; one without an id is that of one more object. */
export function saveBox(id, frame, box) {
  const job = state.job.id;
  const sent = saved.then(() => (state.job?.id === job ? sendBox(id ?? nextFreeId(), frame, box) : null));
  saved = sent.catch(() => {});  // who asked for it is told
  return sent;
}

async function sendBox(id, frame, box) {
  const isNew = !objects().some((one) => one.id === id);
  await changed(await api.setPrompt(state.job.id, id, frame, box));
  state.selected = id;
  // Until something is tracked each drag is one more object, as in the command's own page.
  setAdding(!isTracked() && (isNew || state.adding));
  say(isNew ? `Object ${id} added.` : `${nameOf(id)} corrected on frame ${frame}.`);
  emit("select");
}

const title = byId("object-name");

function fillName() {
  const object = selectedObject();  // the one just drawn too, while a drag would add another one
  byId("name-label").hidden = !object;
  title.placeholder = `Object ${state.selected}`;
  if (document.activeElement !== title) title.value = object?.name ?? "";
}

title.onchange = () => {
  const id = state.selected;
  if (title.value.trim() !== (selectedObject()?.name ?? "")) act(() => api.setName(state.job.id, id, title.value));
};
title.onkeydown = (event) => { if (event.key === "Enter") title.blur(); };

const inputs = ["x", "y", "w", "h"].map((name) => byId(`box-${name}`));

let filled = "";  // what the numbers are of: those that somebody types stay until they are of another box

function fillBox() {
  const known = objects().length > 0;
  for (const part of ["box-section", "look-section"]) byId(part).hidden = !state.job?.video;
  fillName();
  const box = state.draft ?? (editing() ? boxAt(state.selected, state.frame) : null);
  const of = JSON.stringify([state.job?.id, editing() && state.selected, state.frame, box]);
  if (of !== filled) {
    filled = of;
    inputs.forEach((input, i) => {
      if (document.activeElement !== input) input.value = box ? Math.round(box[i] * 100) / 100 : "";
    });
  }
  const mark = editing() && prompt(state.selected, state.frame);
  byId("box-set").textContent = !editing() ? `Add object ${nextFreeId()}` : mark ? "Change box" : "Correct here";
  byId("box-remove").disabled = !mark;
  const frames = selectedObject()?.prompts.map((one) => one.frame) ?? [];
  byId("mark-before").disabled = !frames.some((frame) => frame < state.frame);
  byId("mark-after").disabled = !frames.some((frame) => frame > state.frame);
  byId("doubt").disabled = !isTracked();
  byId("look-on").disabled = !known;
}

byId("box-form").onsubmit = (event) => {
  event.preventDefault();
  const box = inputs.map((input) => Number(input.value));
  const id = editing() ? state.selected : null;
  player.pause();
  saveBox(id, state.frame, box).catch(complain);
};

export function removeBox() {
  const object = selectedObject(), frames = found(state.selected);
  if (!editing() || !prompt(state.selected, state.frame)) return;
  const text = `This is the only box of ${nameOf(object.id)}, which is tracked in ${frames} frames. Press again to remove all of it.`;
  if (object.prompts.length === 1 && frames && !sure(`object ${object.id}`, text)) return;
  act(() => api.removePrompt(state.job.id, state.selected, state.frame));
}
byId("box-remove").onclick = removeBox;

function goToMark(direction) {
  const frames = selectedObject()?.prompts.map((one) => one.frame) ?? [];
  const found = frames.filter((frame) => (frame - state.frame) * direction > 0).sort((a, b) => (a - b) * direction)[0];
  if (found !== undefined) player.show(found);
}
byId("mark-before").onclick = () => goToMark(-1);
byId("mark-after").onclick = () => goToMark(1);

export function nextDoubt() {
  const rows = state.rows.get(state.selected) ?? [];
  const doubtful = (i) => rows[i] && rows[i][5] > 0;
  for (let step = 1; step <= rows.length; step += 1) {
    const i = (state.frame + step) % rows.length;
    if (doubtful(i) && !doubtful((i + rows.length - 1) % rows.length)) { player.show(i); return; }
  }
  say("The target is tracked in every frame.");
  complain(new Error(`${nameOf(state.selected)} is tracked in every frame: no doubts.`));
}
byId("doubt").onclick = nextDoubt;

let backward = null;  // what the user chose, until the server has it
byId("backward").onchange = () => { if (state.job) { state.job.backward = backward = byId("backward").checked; tellTrack(); } };

// --- tracking ---

const button = byId("track");

function tellTrack() {
  const job = state.job;
  if (!job) return;
  // With another wish for the frames before the first box only the page knows what is missing.
  const left = job.backward === job.wish ? job.pending : Math.max(job.pending, objects().reduce((sum, one) => sum + missing(one), 0));
  const running = isRunning(job), known = objects().length > 0;
  const tracked = isTracked();
  button.textContent = running ? "Pause" : !tracked ? "Track" : left ? "Carry on" : "✓ All tracked";
  button.classList.toggle("plain", running || (tracked && !left));
  button.disabled = job.status === "failed" || job.status === "rendering" || !known || (!running && known && tracked && !left);
  const { done = 0, total = null } = job.progress ?? {};
  const bar = byId("progress");
  bar.hidden = !["preparing", "tracking", "rendering", "waiting"].includes(job.status);
  if (total) bar.value = done / total; else bar.removeAttribute("value");
  const what = { preparing: "Reading the video", waiting: "Waiting for its turn", tracking: "Tracking", rendering: "Drawing the video" }[job.status];
  const engine = job.engine ? `${job.engine.name}, ${job.engine.engine}` : "";
  byId("progress-text").textContent = state.offline ? "The server is not heard; the page keeps trying." : job.error ? job.error
    : job.wanted && job.status === "preparing" ? `Tracking begins when the video is read${total ? ` · ${done} of ${total} frames` : ""}`
    : what ? `${what}${total ? ` · ${done} of ${total} frames` : ""}`
    : !known ? "" : left && tracked ? `${left} frames to track` : tracked ? `Tracked by ${engine}` : "";
  byId("progress-text").classList.toggle("bad", Boolean(job.error) || state.offline);
  tellVideo(job.video);
  byId("get-section").hidden = !tracked;
}

/** Whether the job is tracked, or will be as soon as the video is read. */
const isRunning = (job) => ["waiting", "tracking"].includes(job.status) || (job.status === "preparing" && job.wanted);

/** What is wrong with the video itself. */
function tellVideo(video) {
  const broken = video?.broken?.length ?? 0;
  const words = [video?.note, broken ? `${broken} frame${broken > 1 ? "s" : ""} cannot be decoded; the last box stays there.` : ""];
  byId("video-note").textContent = words.filter(Boolean).join(" ");
  byId("video-note").hidden = !byId("video-note").textContent;
}

export async function trackOrPause() {
  if (button.disabled) return;
  following = false;
  if (isRunning(state.job)) {
    player.pause();
    await act(() => api.pause(state.job.id));
    return;
  }
  const { adding } = state, from = firstGap();
  setAdding(false);
  const answer = await act(() => api.track(state.job.id, byId("backward").checked));
  if (!answer) setAdding(adding);
  else if (answer.started && state.times.length) player.follow(from);
  else following = Boolean(answer.started);
}
button.onclick = trackOrPause;

/** Where tracking will begin: the prompt before the first frame that is missing. */
function firstGap() {
  let best = count();
  for (const object of objects()) {
    const rows = state.rows.get(object.id) ?? [];
    for (const { frame } of [...object.prompts].sort((a, b) => a.frame - b.frame)) {
      if (frame + 1 < count() && !rows[frame + 1]) { best = Math.min(best, frame); break; }
    }
  }
  return best < count() ? best : state.frame;
}

// --- downloads ---

function listDownloads() {
  const of = `${state.job.id} ${byId("thin").checked}`;
  if (byId("downloads").dataset.of === of) return;
  byId("downloads").dataset.of = of;
  byId("downloads").replaceChildren(...FORMATS.map(([form, name, what]) => {
    if (form !== "mp4") return element("a", { className: "small-button", href: api.downloadAddress(state.job.id, form, thinned(form)), download: "", title: what, textContent: name });
    const made = element("button", { type: "button", className: "small-button wide", id: "get-mp4", title: what, textContent: name });
    made.onclick = saveVideo;
    return made;
  }));
}

/** How far, in pixels, label tools may draw a side from where it was found. */
const thinned = (form) => (byId("thin").checked && ["cvat", "labelstudio"].includes(form) ? 2 : 0);
byId("thin").onchange = listDownloads;

async function saveVideo() {
  const answer = await act(() => api.render(state.job.id));
  if (!answer) return;
  if (answer.started) { savingVideo = state.job.id; say("The annotated video is being made."); } else fetchVideo();
}

function fetchVideo() {
  savingVideo = null;
  const link = element("a", { href: api.downloadAddress(state.job.id, "mp4"), download: "" });
  document.body.append(link);
  link.click();
  link.remove();
}

// --- deleting ---

const removal = byId("delete");
let armed = 0;
removal.onclick = async () => {
  if (!armed) {  // a second press within some seconds does it
    removal.textContent = "Press again to delete for good";
    armed = setTimeout(disarm, 4000);
    return;
  }
  disarm();
  try {
    await api.remove(state.job.id);
    location.hash = "";
  } catch (error) { complain(error); }
};
function disarm() { clearTimeout(armed); armed = 0; removal.textContent = "Delete this job"; }

on("job results", () => {
  if (!state.job) { backward = savingVideo = null; following = false; return; }
  state.job.wish ??= state.job.backward;
  if (state.job.wish === backward) backward = null;
  state.job.backward = backward ?? state.job.wish;
  if (!objects().some((one) => one.id === state.selected)) state.selected = objects()[0]?.id ?? 1;
  if (!objects().length && !state.adding) setAdding(true);
  byId("backward").checked = state.job.backward;
  listObjects();
  listDownloads();
  fillBox();
  tellTrack();
  if (following && state.job.status === "tracking" && state.times.length) { following = false; player.follow(firstGap()); }
  if (savingVideo === state.job.id && !busy()) {
    if (state.job.rendered) fetchVideo();
    else if (!state.job.error) complain(new Error("Boxes or names were changed while the video was drawn; press for it again."));
    savingVideo = null;
  }
});
on("select adding", () => { listObjects(); fillBox(); });
on("frame draft", () => { tellNow(); fillBox(); });
on("rows", () => { tellNow(); tellTrack(); });
