// The frame with everything drawn over it, and boxes by mouse, touch and keyboard.

import * as player from "./player.js";
import { STATES, STATE_COLOURS, boxAt, byId, colourOf, complain, editing, emit, nextFreeId, objects, on, prompt, row, say, state } from "./state.js";

const stage = byId("stage"), view = byId("view"), pen = view.getContext("2d");
const hint = byId("hint");
const TRAIL = 40;
let scale = 1;        // pixels of the screen for one of the video
let drag = null;      // { kind, from, box, grip }
let typing = null;    // a box that is moved by the arrow keys,
let typed = null;     // and whose it is; null for a new object's
const saving = new Set();  // { id, frame, box } on their way to the server; id is null for a new object
let save = async () => {};

export function onBox(listener) { save = listener; }

export function fit() {
  const given = state.job?.video;
  if (!given) return;
  stage.style.aspectRatio = `${given.width} / ${given.height}`;
  stage.style.setProperty("--ratio", given.width / given.height);
  const room = view.getBoundingClientRect(), dense = window.devicePixelRatio || 1;
  if (!room.width) return;
  scale = room.width / given.width;
  const [width, height] = [Math.round(room.width * dense), Math.round(room.height * dense)];
  if (view.width !== width || view.height !== height) { view.width = width; view.height = height; }
  paint();
}

// --- painting ---

export function paint() {
  const given = state.job?.video;
  if (!given || !view.width) return;
  const dense = view.width / given.width;
  pen.setTransform(1, 0, 0, 1, 0, 0);
  pen.clearRect(0, 0, view.width, view.height);
  pen.setTransform(dense, 0, 0, dense, 0, 0);
  const still = player.picture(), unit = 1 / scale;
  if (still) pen.drawImage(still, 0, 0, given.width, given.height);
  const draft = typing ?? state.draft;
  if (draft) spotlight(draft, given);
  if (state.look && !draft) paintLook(unit);
  const coming = [...saving].filter((one) => one.frame === state.frame);
  for (const object of objects()) {
    const moving = draft && object.id === editedId();
    if (!moving && !coming.some((one) => one.id === object.id)) paintObject(object, unit);
  }
  for (const one of coming) outline(one.box, colourOf(one.id ?? nextFreeId()), 2.5 * unit, []);
  if (draft) paintDraft(draft, unit);
}

function spotlight([x, y, w, h], given) {  // what is not chosen steps back
  pen.save();
  pen.beginPath();
  pen.rect(0, 0, given.width, given.height);
  pen.rect(x, y, w, h);
  pen.fillStyle = "rgba(0, 0, 0, .45)";
  pen.fill("evenodd");
  pen.restore();
}

function paintObject(object, unit) {
  const box = boxAt(object.id, state.frame);
  const colour = colourOf(object.id), chosen = object.id === state.selected;
  paintTrail(object.id, colour, unit);
  if (!box) return;
  const now = row(object.id, state.frame), mark = prompt(object.id, state.frame);
  const level = mark || !now ? 0 : now[5];
  outline(box, level ? STATE_COLOURS[level] : colour, unit * (chosen ? 2.5 : 2), level === 2 ? [7 * unit, 6 * unit] : []);
  const words = [object.name ?? (objects().length > 1 ? `${object.id}` : ""), mark ? "by hand" : now ? now[4].toFixed(2) : "", level ? STATES[level] : ""];
  label(box, words.filter(Boolean).join("  "), level ? STATE_COLOURS[level] : colour, unit);
  if (chosen && !player.playing()) grips(box, colour, unit);
}

function paintTrail(id, colour, unit) {
  pen.lineWidth = 2 * unit;
  pen.strokeStyle = colour;
  for (let age = 0; age < TRAIL; age += 1) {
    const a = row(id, state.frame - age), b = row(id, state.frame - age - 1);
    if (!a || !b || a[5] === 2 || b[5] === 2) continue;
    pen.globalAlpha = 0.8 * (1 - age / TRAIL);
    pen.beginPath();
    pen.moveTo(a[0] + a[2] / 2, a[1] + a[3] / 2);
    pen.lineTo(b[0] + b[2] / 2, b[1] + b[3] / 2);
    pen.stroke();
  }
  pen.globalAlpha = 1;
}

function outline([x, y, w, h], colour, width, dashes) {
  pen.setLineDash(dashes);
  pen.lineJoin = "round";
  pen.strokeStyle = "rgba(10, 12, 14, .75)";
  pen.lineWidth = width + 2.4 / scale;
  pen.strokeRect(x, y, w, h);
  pen.strokeStyle = colour;
  pen.lineWidth = width;
  pen.strokeRect(x, y, w, h);
  pen.setLineDash([]);
}

function label([x, y, w, h], text, colour, unit) {
  if (!text) return;
  const given = state.job.video;
  pen.font = `600 ${12.5 * unit}px system-ui, sans-serif`;
  const wide = pen.measureText(text).width + 12 * unit, high = 20 * unit;
  const left = Math.max(0, Math.min(x - unit, given.width - wide));
  let top = y - high - 3 * unit;
  if (top < 0) top = y + h + high + 3 * unit < given.height ? y + h + 3 * unit : Math.max(0, y) + 4 * unit;
  pen.fillStyle = colour;
  pen.beginPath();
  pen.roundRect(left, top, wide, high, 5 * unit);
  pen.fill();
  pen.fillStyle = "#0b1410";
  pen.textBaseline = "middle";
  pen.fillText(text, left + 6 * unit, top + high / 2 + 0.5 * unit);
}

const corners = ([x, y, w, h]) => [[x, y], [x + w / 2, y], [x + w, y], [x + w, y + h / 2], [x + w, y + h], [x + w / 2, y + h], [x, y + h], [x, y + h / 2]];

function grips(box, colour, unit) {
  const room = Math.min(box[2], box[3]) * scale;
  corners(box).forEach(([x, y], index) => {
    if (index % 2 && room < 44) return;
    pen.beginPath();
    pen.arc(x, y, 4.5 * unit, 0, 7);
    pen.fillStyle = "#fff";
    pen.fill();
    pen.lineWidth = 2 * unit;
    pen.strokeStyle = colour;
    pen.stroke();
  });
}

function paintDraft(box, unit) {
  outline(box, colourOf(editedId()), 2.5 * unit, []);
  if (!drag || drag.kind !== "new") grips(box, colourOf(editedId()), unit);
}

function paintLook(unit) {
  const seen = state.look, [x, y, side] = seen.search;
  if (seen.attention && state.layer !== null) paintHeat(seen.attention[state.layer], x, y, side);
  outline([x, y, side, side], "rgba(255, 255, 255, .9)", 1.3 * unit, [4 * unit, 4 * unit]);
  const [left, top, right, bottom] = seen.sides, given = state.job.video;
  const depth = Math.min(side * 0.14, 70 * unit);
  // Along the edges of the region, as far as they are in the picture.
  const [west, north] = [Math.max(0, x), Math.max(0, y)];
  const [east, south] = [Math.min(given.width, x + side), Math.min(given.height, y + side)];
  const bars = (shares, place) => {
    const most = Math.max(...shares), step = side / shares.length;
    shares.forEach((share, i) => { if (share > most * 0.01) place(i * step, step, depth * share / most); });
  };
  const paintSide = (colour, shares, place) => { pen.fillStyle = colour; bars(shares, place); };
  paintSide("rgba(60, 190, 240, .85)", left, (at, step, length) => pen.fillRect(x + at, north, step, length));
  paintSide("rgba(250, 215, 90, .85)", right, (at, step, length) => pen.fillRect(x + at, south - length, step, length));
  paintSide("rgba(250, 90, 180, .85)", top, (at, step, length) => pen.fillRect(west, y + at, length, step));
  paintSide("rgba(160, 135, 235, .95)", bottom, (at, step, length) => pen.fillRect(east - length, y + at, length, step));
  outline(seen.found, "#fff", 1.6 * unit, [3 * unit, 3 * unit]);
}

function paintHeat(shares, x, y, side) {
  const most = Math.max(...shares.flat()), size = shares.length;
  const small = new OffscreenCanvas(size, size), image = small.getContext("2d").createImageData(size, size);
  shares.flat().forEach((share, i) => {
    const heat = share / most;  // black, red, yellow, white
    image.data.set([Math.min(1, heat * 2.2) * 255, Math.max(0, heat * 2.2 - 0.8) * 200, Math.max(0, heat - 0.75) * 900, 40 + 170 * Math.sqrt(heat)], 4 * i);
  });
  small.getContext("2d").putImageData(image, 0, 0);
  pen.imageSmoothingEnabled = true;
  pen.drawImage(small, x, y, side, side);
}

// --- drawing and moving ---

const editedId = () => (typing ? typed : drag?.id) ?? nextFreeId();

function place(event) {
  const edge = view.getBoundingClientRect(), given = state.job.video;
  const within = (value, size) => Math.round(Math.min(Math.max(value, 0), 1) * size * 100) / 100;
  return [within((event.clientX - edge.left) / edge.width, given.width), within((event.clientY - edge.top) / edge.height, given.height)];
}

function gripAt(box, [x, y], reach) {
  let best = null, nearest = reach;
  corners(box).forEach(([cx, cy], index) => {
    const far = Math.hypot(cx - x, cy - y);
    if (far < nearest) { nearest = far; best = index; }
  });
  return best;
}

const inside = ([x, y, w, h], [px, py]) => px > x && px < x + w && py > y && py < y + h;

/** What a press at this place would take hold of. */
function target(point, reach) {
  const own = editing() ? boxAt(state.selected, state.frame) : null;
  if (own) {
    const grip = gripAt(own, point, reach);
    if (grip !== null) return { kind: "grip", grip, id: state.selected, box: own };
    if (inside(own, point)) return { kind: "move", id: state.selected, box: own };
  }
  const other = objects().find((one) => one.id !== state.selected && boxAt(one.id, state.frame) && inside(boxAt(one.id, state.frame), point));
  if (other && !state.adding) return { kind: "choose", id: other.id, box: null };
  // While objects are added a box may begin within another one; a mere click there chooses that.
  return { kind: "new", id: state.adding ? null : state.selected, box: null, over: state.asked ? null : other?.id };
}

const between = (a, b) => [Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.abs(a[0] - b[0]), Math.abs(a[1] - b[1])];

function moved(box, dx, dy) {
  const { width, height } = state.job.video;
  return [Math.max(0, Math.min(box[0] + dx, width - box[2])), Math.max(0, Math.min(box[1] + dy, height - box[3])), box[2], box[3]];
}

function gripped(box, grip, point) {
  let [x1, y1, x2, y2] = [box[0], box[1], box[0] + box[2], box[1] + box[3]];
  if ([0, 6, 7].includes(grip)) x1 = point[0];
  if ([2, 3, 4].includes(grip)) x2 = point[0];
  if ([0, 1, 2].includes(grip)) y1 = point[1];
  if ([4, 5, 6].includes(grip)) y2 = point[1];
  return between([x1, y1], [x2, y2]);
}

view.addEventListener("pointerdown", (event) => {
  if (!event.isPrimary) letGo();  // a second finger: that is no drag
  if (event.button !== 0 || !event.isPrimary || !state.job?.video) return;
  if (player.playing()) { player.toggle(); return; }
  endTyping(false);
  const from = place(event), reach = (event.pointerType === "touch" ? 22 : 11) / scale;
  drag = { ...target(from, reach), from };
  if (drag.kind === "choose") { state.selected = drag.id; drag = null; emit("select"); return; }
  view.setPointerCapture(event.pointerId);
});

view.addEventListener("pointermove", (event) => {
  if (!event.isPrimary || !state.job?.video) return;
  const point = place(event);
  if (!drag) {
    const kind = player.playing() ? "play" : target(point, 11 / scale);
    const turns = ["nwse-resize", "ns-resize", "nesw-resize", "ew-resize"];
    view.style.cursor = kind === "play" || kind.kind === "choose" ? "pointer" : kind.kind === "grip" ? turns[kind.grip % 4] : kind.kind === "move" ? "move" : "crosshair";
    return;
  }
  if (drag.kind === "new") state.draft = between(drag.from, point);
  else if (drag.kind === "move") state.draft = moved(drag.box, point[0] - drag.from[0], point[1] - drag.from[1]);
  else state.draft = gripped(drag.box, drag.grip, point);
  hint.textContent = numbers(state.draft);
  emit("draft");
  paint();
});

view.addEventListener("pointerup", (event) => {
  if (!drag || !event.isPrimary) return;
  const { id, box: before, over } = drag, drawn = state.draft;
  const far = drawn && drawn[2] * scale >= 4 && drawn[3] * scale >= 4;
  const same = before && drawn && before.every((value, i) => Math.abs(value - drawn[i]) * scale < 1);
  drag = null;  // before the box is saved: meanwhile the next one may be drawn
  state.draft = null;
  if (far && !same) commit(id, drawn);
  else if (!far && over) { state.selected = over; emit("select"); }
  rest();
});
function letGo() { drag = null; state.draft = null; rest(); }
view.addEventListener("pointercancel", letGo);

async function commit(id, box) {
  const one = { id, frame: state.frame, box };
  saving.add(one);
  try {
    await save(id, state.frame, box.map((value) => Math.round(value * 100) / 100));
  } catch (error) { complain(error); }
  saving.delete(one);
  rest();
}

const numbers = (box) => `x ${Math.round(box[0])}, y ${Math.round(box[1])}, ${Math.round(box[2])} × ${Math.round(box[3])}`;

// --- the keyboard ---

export function startTyping() {
  if (!state.job?.video || player.playing()) return;
  const { width, height } = state.job.video;
  const known = editing() ? boxAt(state.selected, state.frame) : null;
  typed = known || !state.adding ? state.selected : null;
  typing = known ? [...known] : [width * 3 / 8, height * 3 / 8, width / 4, height / 4].map(Math.round);
  view.focus();
  rest();
  say(`Box at ${numbers(typing)}. Arrows move it, with Shift they resize it. Enter sets it.`);
}

function endTyping(keep) {
  if (!typing) return;
  const box = typing, id = typed;
  typing = null;
  if (keep) commit(id, box).then(() => say("Box set."));
  rest();
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** Keys while a box is moved; says whether the key was one of them. */
export function key(event) {
  if (event.key === "Escape" && (typing || drag)) { typing = drag = state.draft = null; rest(); return true; }
  if (!typing) return false;
  if (event.key === "Enter") { endTyping(true); return true; }
  if (!ARROWS[event.key]) return false;
  const { width, height } = state.job.video, step = event.altKey ? 10 : 1;
  const [dx, dy] = ARROWS[event.key].map((value) => value * step);
  if (event.shiftKey) {
    typing[2] = Math.max(2, Math.min(typing[2] + dx, width - typing[0]));
    typing[3] = Math.max(2, Math.min(typing[3] + dy, height - typing[1]));
  } else typing = moved(typing, dx, dy);
  hint.textContent = numbers(typing);
  say(numbers(typing));
  paint();
  return true;
}

function rest() {
  const coarse = window.matchMedia("(pointer: coarse)").matches;
  const many = objects().length, here = many && boxAt(state.selected, state.frame);
  let text = "";
  if (!state.job?.video) text = "";
  else if (typing) text = "Arrows move the box, with Shift they resize it, Alt takes big steps. Enter sets it, Esc does not.";
  else if (!many) text = coarse ? "Drag a box tightly around what shall be followed." : "Drag a box tightly around what shall be followed, or press B to place it by keyboard.";
  else if (state.adding) text = editing() ? "Drag the box or its corners to change it. Drag beside it to add another object, or press Track." : "Drag a box around another object, or press Track.";
  else if (player.playing()) text = "";
  else if (here) text = prompt(state.selected, state.frame) ? "This box was given by hand. Drag it, or its corners, to change it." : "Drag the box or its corners to correct it here, then carry on tracking.";
  else text = `Drag a box around object ${state.selected} to say where it is on this frame.`;
  hint.textContent = text;
  paint();
}

on("frame job results select playing adding rows", () => { if (!drag) rest(); });
on("paint look", paint);
new ResizeObserver(fit).observe(stage);
