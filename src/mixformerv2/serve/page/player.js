// The video: which frame is shown, playing, stepping, and waiting for the tracker while it runs.

import * as api from "./api.js";
import { byId, clock, count, emit, on, row, say, state } from "./state.js";

const video = byId("video");
let still = null;        // { frame, image } of a paused video: exact, whatever the browser's seek does
let stillTimer = 0;
let following = false;   // the video runs behind the tracker
let starved = false;     // and waits for it
let speed = 1;
let arrivals = [];       // when rows came in, for the speed of the tracker,
let active = new Set();  // and of which objects

export const picture = () => (still && still.frame === state.frame && video.paused ? still.image : null);
export const frameSource = () => picture() ?? (video.readyState >= 2 ? video : null);
export const playing = () => !video.paused || starved;

export function load() {
  stopFollowing();
  still = null;
  const wanted = state.times.length ? api.videoAddress(state.job.id) : "";
  if (wanted && !video.src.endsWith(wanted)) video.src = wanted;
  if (!wanted) video.removeAttribute("src");
  show(Math.min(state.frame, Math.max(0, count() - 1)));
}

export function unload() {
  video.pause();
  video.removeAttribute("src");
  video.load();
  still = null;
  stopFollowing();
}

const half = () => 0.5 / (state.job?.video?.fps || 30);

function frameAt(seconds) {
  let low = 0, high = state.times.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (state.times[middle] <= seconds + 1e-3) low = middle; else high = middle - 1;
  }
  return low;
}

/** Go to a frame and stay there. */
export function show(frame, { keep = false } = {}) {
  if (!keep) pause();
  const last = Math.max(0, count() - 1);
  setFrame(Math.max(0, Math.min(Math.round(frame) || 0, last)));
  if (state.times.length) video.currentTime = state.times[state.frame] + half() * 0.5;
  clearTimeout(stillTimer);
  stillTimer = setTimeout(fetchStill, still ? 120 : 0);
}

function fetchStill() {
  if (!state.job?.video) return;
  const frame = state.frame, id = state.job.id, image = new Image();
  image.onload = () => {
    if (state.job?.id !== id || state.frame !== frame) return;
    still = { frame, image };
    emit("paint");
  };
  image.src = api.frameAddress(id, frame);
}

function setFrame(frame) {
  if (frame !== state.frame) {
    state.frame = frame;
    state.draft = null;
    state.look = null;
    emit("frame");
  } else emit("paint");
}

export function step(frames) { show(state.frame + frames); }

export function toggle() { if (playing()) { pause(); settle(); } else play(); }

export function play() {
  if (!state.times.length) return;
  if (state.frame >= count() - 1) show(0);
  state.draft = null;
  video.playbackRate = speed;
  video.play().catch(() => {});
  emit("playing");
}

export function pause() {
  following = starved = false;
  if (!video.paused) video.pause();
  emit("playing");
}

function settle() { show(state.frame); }

// --- running behind the tracker ---

export function follow(from) {
  arrivals = [];
  active = new Set();
  show(from);
  following = starved = true;
  emit("playing");
}

function stopFollowing() { following = starved = false; }

export function rowsCame(frames, id) {
  active.add(id);
  const now = performance.now();
  arrivals.push([now, frames]);
  while (arrivals.length > 2 && now - arrivals[0][0] > 3000) arrivals.shift();
  if (following) keepUp();
}

export function trackingEnded() {
  if (!following) return;
  following = false;
  video.playbackRate = speed;
  if (starved) { starved = false; play(); }
}

function ahead() {  // frames that are tracked beyond the shown one, of all that are tracked just now
  let frame = state.frame;
  const ids = [...active];
  const end = Math.min(count(), frame + 90);
  while (frame + 1 < end && ids.some((id) => row(id, frame + 1))) frame += 1;
  return frame + 1 >= count() ? Infinity : frame - state.frame;
}

function keepUp() {
  const room = ahead(), fps = state.job.video.fps || 30;
  if (starved && room > 6) {
    starved = false;
    video.play().catch(() => {});
  } else if (!starved && room <= 1) {
    starved = true;
    video.pause();
  }
  if (!starved && !video.paused) {
    const span = arrivals.length > 1 ? (arrivals.at(-1)[0] - arrivals[0][0]) / 1000 : 0;
    const frames = arrivals.slice(1).reduce((sum, one) => sum + one[1], 0);
    const pace = span > 0.2 ? frames / span / fps : 1;
    // As fast as asked for, but no faster than the tracker: better slow than in jumps.
    video.playbackRate = Math.max(0.1, Math.min(speed, room > fps ? speed : pace * (room > 12 ? 1 : 0.8)));
  }
}

// --- the frame that is on the screen ---

function tick(seconds) {
  if (video.paused || video.seeking) return;
  setFrame(frameAt(seconds));
  if (following) keepUp();
}

if ("requestVideoFrameCallback" in video) {
  const heard = (now, meta) => { tick(meta.mediaTime); video.requestVideoFrameCallback(heard); };
  video.requestVideoFrameCallback(heard);
} else {
  const heard = () => { if (!video.paused) tick(video.currentTime); requestAnimationFrame(heard); };
  requestAnimationFrame(heard);
}
video.addEventListener("seeked", () => emit("paint"));
video.addEventListener("loadeddata", () => emit("paint"));
video.addEventListener("play", () => emit("playing"));
video.addEventListener("ended", () => { pause(); show(count() - 1); });

// --- controls ---

const frameInput = byId("frame");
byId("play").onclick = toggle;
byId("first").onclick = () => show(0);
byId("last").onclick = () => show(count() - 1);
byId("back").onclick = () => step(-1);
byId("next").onclick = () => step(1);
frameInput.onchange = () => { show(Number(frameInput.value)); frameInput.value = state.frame; };
byId("speed").onchange = (event) => { speed = Number(event.target.value); video.playbackRate = speed; };

on("playing", () => {
  const button = byId("play"), now = playing();
  button.classList.toggle("is-playing", now);
  button.setAttribute("aria-label", now ? "Pause" : "Play");
});
on("frame job results", () => {
  const last = Math.max(0, count() - 1), prepared = state.times.length > 0;
  if (document.activeElement !== frameInput) frameInput.value = state.frame;
  frameInput.max = last;
  byId("count").textContent = prepared ? `of ${last}` : "";
  byId("clock").textContent = prepared ? clock(state.times[state.frame] ?? 0) : "";
  for (const id of ["play", "first", "last", "back", "next", "frame"]) byId(id).disabled = !prepared;
});
on("frame", () => { if (!playing()) say(`Frame ${state.frame}`); });
