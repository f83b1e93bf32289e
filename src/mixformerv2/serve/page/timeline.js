// Score and state of every frame; a click goes there.

import * as player from "./player.js";
import { STATE_COLOURS, byId, colourOf, count, objects, on, row, state, STATES } from "./state.js";

const canvas = byId("timeline"), pen = canvas.getContext("2d");
const PAD = 8, CURVE = 62, STRIP = 9, GAP = 4;
let wide = 0, high = 0, scrubbing = false, waiting = false;

function fit() {
  const dense = window.devicePixelRatio || 1, lanes = Math.max(1, objects().length);
  high = CURVE + 14 + lanes * (STRIP + GAP) + 4;
  canvas.style.height = `${high}px`;
  wide = canvas.clientWidth;
  canvas.width = Math.max(1, Math.round(wide * dense));
  canvas.height = Math.round(high * dense);
  pen.setTransform(dense, 0, 0, dense, 0, 0);
  paint();
}

function soon() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; paint(); });
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const x = (frame) => PAD + (wide - 2 * PAD) * (count() > 1 ? frame / (count() - 1) : 0);
const y = (score) => 6 + (CURVE - 6) * (1 - Math.max(0, Math.min(1, score)));

function paint() {
  if (!wide) return;
  pen.clearRect(0, 0, wide, high);
  const line = colour("--line"), dim = colour("--dim"), ink = colour("--ink");
  pen.lineWidth = 1;
  pen.strokeStyle = line;
  for (const score of [0, 0.5, 1]) {
    pen.beginPath();
    pen.moveTo(PAD, Math.round(y(score)) + 0.5);
    pen.lineTo(wide - PAD, Math.round(y(score)) + 0.5);
    pen.stroke();
  }
  pen.fillStyle = dim;
  pen.font = "10px system-ui, sans-serif";
  pen.textBaseline = "bottom";
  pen.fillText("score", PAD + 2, y(0) - 2);
  const ordered = [...objects()].sort((a, b) => (a.id === state.selected) - (b.id === state.selected));
  for (const object of ordered) curve(object);
  objects().forEach((object, lane) => strip(object, CURVE + 12 + lane * (STRIP + GAP), line));
  const now = x(state.frame);
  pen.strokeStyle = ink;
  pen.lineWidth = 1.5;
  pen.beginPath();
  pen.moveTo(now, 2);
  pen.lineTo(now, high - 2);
  pen.stroke();
  pen.fillStyle = ink;
  pen.beginPath();
  pen.arc(now, 4, 4, 0, 7);
  pen.fill();
  tellSlider();
}

/** For each column of the screen the frame with the lowest score: doubts must not fall between. */
function columns(id) {
  const rows = state.rows.get(id) ?? [], each = Math.max(1, rows.length / Math.max(1, wide - 2 * PAD));
  const found = [];
  for (let at = 0; at < rows.length; at += each) {
    let worst = null, level = -1;
    for (let i = Math.floor(at); i < Math.min(rows.length, Math.floor(at + each)); i += 1) {
      if (!rows[i]) continue;
      if (!worst || rows[i][4] < worst[1]) worst = [i, rows[i][4]];
      level = Math.max(level, rows[i][5]);
    }
    found.push(worst ? [...worst, level] : null);
  }
  return found;
}

function curve(object) {
  const chosen = object.id === state.selected, found = columns(object.id);
  pen.globalAlpha = chosen ? 1 : 0.4;
  pen.lineWidth = chosen ? 1.8 : 1.2;
  pen.strokeStyle = objects().length > 1 ? colourOf(object.id) : colour("--accent-ink");
  pen.beginPath();
  let open = false;
  for (const one of found) {
    if (!one) { open = false; continue; }
    if (open) pen.lineTo(x(one[0]), y(one[1])); else pen.moveTo(x(one[0]), y(one[1]));
    open = true;
  }
  pen.stroke();
  pen.globalAlpha = 1;
}

function strip(object, top, line) {
  const chosen = object.id === state.selected;
  pen.globalAlpha = chosen || objects().length === 1 ? 1 : 0.55;
  pen.fillStyle = line;
  pen.beginPath();
  pen.roundRect(PAD, top, wide - 2 * PAD, STRIP, 3);
  pen.fill();
  const found = columns(object.id), step = (wide - 2 * PAD) / Math.max(1, found.length);
  for (let i = 0; i < found.length; i += 1) {
    if (!found[i]) continue;
    pen.fillStyle = STATE_COLOURS[found[i][2]];
    let end = i;
    while (end + 1 < found.length && found[end + 1]?.[2] === found[i][2]) end += 1;
    pen.fillRect(PAD + i * step, top, (end - i + 1) * step + 0.3, STRIP);
    i = end;
  }
  pen.globalAlpha = 1;
  for (const { frame } of object.prompts) diamond(x(frame), top + STRIP / 2, objects().length > 1 ? colourOf(object.id) : "#ffffff");
}

function diamond(cx, cy, fill) {
  const r = 6;
  pen.beginPath();
  pen.moveTo(cx, cy - r);
  pen.lineTo(cx + r, cy);
  pen.lineTo(cx, cy + r);
  pen.lineTo(cx - r, cy);
  pen.closePath();
  pen.fillStyle = fill;
  pen.fill();
  pen.lineWidth = 1.5;
  pen.strokeStyle = "#14171a";
  pen.stroke();
}

function tellSlider() {
  canvas.setAttribute("aria-valuemax", Math.max(0, count() - 1));
  canvas.setAttribute("aria-valuenow", state.frame);
  const now = row(state.selected, state.frame);
  canvas.setAttribute("aria-valuetext", `frame ${state.frame}${now ? `, ${STATES[now[5]]}, score ${now[4].toFixed(2)}` : ", not tracked"}`);
}

function scrub(event) {
  const edge = canvas.getBoundingClientRect();
  const share = (event.clientX - edge.left - PAD) / (edge.width - 2 * PAD);
  player.show(share * (count() - 1));
}

canvas.addEventListener("pointerdown", (event) => {
  if (!state.times.length || event.button !== 0) return;
  scrubbing = true;
  canvas.setPointerCapture(event.pointerId);
  scrub(event);
});
canvas.addEventListener("pointermove", (event) => { if (scrubbing) scrub(event); });
for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => { scrubbing = false; });

on("frame select rows paint", soon);
on("job results theme", fit);
new ResizeObserver(() => { if (canvas.clientWidth !== wide) fit(); }).observe(canvas);
