// A camera: of this device, whose pictures go to the server, or of the server, whose pictures come.

import * as api from "./api.js";
import { STATES, STATE_COLOURS, byId, colourOf, complain, element, say } from "./state.js";

const camera = byId("camera"), view = byId("live-view"), pen = view.getContext("2d"), hint = byId("live-hint");
const LONGEST = 640;    // pixels of the pictures that are sent
const IN_FLIGHT = 2;
let session = null;

export async function start(source) {
  stop();
  const mine = { socket: null, media: null, source, size: null, objects: new Map(), sent: [], number: 0, draft: null, from: null, typing: null, times: [], waits: [], shown: null, note: "" };
  session = mine;
  veil("Opening the camera");
  listObjects();
  try {
    if (source === null) await openCamera(mine);
    if (session !== mine) { release(mine); return; }
    connect(mine);
  } catch (error) {
    ended(mine, error.message);
  }
}

/** Says why there is no stream any more, leaves the camera alone, and offers another one. */
function ended(one, why) {
  release(one);
  if (session !== one) return;
  veil(why, true);
  const again = element("button", { type: "button", className: "go", textContent: "Start again" });
  again.onclick = () => start(one.source);
  byId("live-veil-text").append(element("br"), again);
}

export function stop() {
  if (session) release(session);
  session = null;
}

function release(one) {
  one.over = true;
  one.socket?.close();
  one.media?.getTracks().forEach((track) => track.stop());
  camera.srcObject = null;
}

function veil(text, still = false) {
  byId("live-veil").hidden = !text;
  byId("live-veil").classList.toggle("still", still);
  byId("live-veil-text").textContent = text;
}

async function openCamera(one) {
  if (!navigator.mediaDevices?.getUserMedia) throw new Error("Browsers give a page the camera only on this very machine (localhost) or over https.");
  try {
    one.media = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1280 }, frameRate: { ideal: 30 } }, audio: false });
  } catch (error) {
    throw new Error(error.name === "NotAllowedError" ? "The camera was not allowed. Allow it in the address bar and open this again." : `No camera can be opened: ${error.message}`);
  }
  camera.srcObject = one.media;
  await camera.play();
  const fit = () => {  // again where the device is turned
    if (one.over || !camera.videoWidth) return;
    setSize(one, camera.videoWidth, camera.videoHeight);
    one.scale = Math.min(1, LONGEST / Math.max(...one.size));
    one.canvas = element("canvas", { width: Math.round(one.size[0] * one.scale), height: Math.round(one.size[1] * one.scale) });
  };
  fit();
  camera.onresize = fit;
}

function setSize(one, width, height) {
  one.size = [width, height];
  byId("live-stage").style.aspectRatio = `${width} / ${height}`;
  byId("live-stage").style.setProperty("--ratio", width / height);
}

function connect(one) {
  veil("Loading the model");
  const socket = api.liveSocket(one.source);
  one.socket = socket;
  socket.onmessage = (event) => {
    if (session !== one) return;
    if (typeof event.data === "string") heard(one, JSON.parse(event.data));
    else withPicture(one, event.data);
  };
  socket.onclose = (event) => {
    if (one.over) return;
    const hidden = document.hidden ? " A page in the background sends no pictures." : "";
    ended(one, (event.reason || "The stream has ended, or the server has no room for another one.") + hidden);
  };
}

// --- pictures out ---

function pump(one) {
  if (session !== one || one.over) return;
  if (one.sent.length < IN_FLIGHT && one.socket.readyState === WebSocket.OPEN && !one.encoding) send(one);
  if ("requestVideoFrameCallback" in camera) camera.requestVideoFrameCallback(() => pump(one));
  else setTimeout(() => pump(one), 33);
}

async function send(one) {
  one.encoding = true;
  try {
    // Kept until its answer comes: boxes are shown on the picture that they belong to.
    const picture = await createImageBitmap(camera), { canvas } = one;
    canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
    const blob = await new Promise((done) => { canvas.toBlob(done, "image/jpeg", 0.85); });
    if (!blob || session !== one || one.socket.readyState !== WebSocket.OPEN) return;
    one.socket.send(blob);
    one.sent.push([one.number, performance.now(), picture]);
    one.number += 1;
  } catch { /* no picture is there yet */ } finally { one.encoding = false; }
}

function display(one, picture) {
  one.shown?.close();
  one.shown = picture;
}

// --- answers in ---

function heard(one, event) {
  if (event.event === "ready") {
    one.engine = `${event.model}, ${event.engine}`;
    veil("");
    rest(one);
    if (one.source === null) pump(one);
    frame();
  } else if (event.event === "note") complain(new Error(event.sentence));
  else if (event.event === "result") result(one, event);
}

async function withPicture(one, data) {
  const length = new DataView(data).getUint32(0);
  const event = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
  const picture = await createImageBitmap(new Blob([new Uint8Array(data, 4 + length)], { type: "image/jpeg" }));
  display(one, picture);
  if (!one.size) setSize(one, ...event.size);
  result(one, event);
}

function result(one, event) {
  const now = performance.now(), factor = 1 / (one.scale ?? 1);
  // Pictures that were dropped on the way get no answer of their own.
  while (one.sent.length && one.sent[0][0] <= event.number) {
    const [number, when, picture] = one.sent.shift();
    if (number !== event.number) { picture.close(); continue; }
    one.waits.push(now - when);
    display(one, picture);
  }
  one.ms = event.ms;
  one.times.push(now);
  one.times = one.times.slice(-60);
  one.waits = one.waits.slice(-60);
  const seen = new Map(event.objects.map(([id, ...rest]) => [id, [...rest.slice(0, 4).map((v) => v * factor), rest[4], STATES.indexOf(rest[5])]]));
  const changed = [...one.objects.keys()].join() !== [...seen.keys()].join();
  one.objects = seen;
  if (changed) { listObjects(); rest(one); }
  tell(one);
}

function tell(one) {
  for (const item of byId("live-objects").querySelectorAll("[data-id]")) {
    const now = one.objects.get(Number(item.dataset.id));
    item.textContent = now ? `${STATES[now[5]]} ${now[4].toFixed(2)}` : "";
    item.className = `now ${now ? STATES[now[5]] : ""}`;
  }
  const span = one.times.at(-1) - one.times[0], facts = [];
  if (span > 0) facts.push(["frames a second", (1000 * (one.times.length - 1) / span).toFixed(0)]);
  facts.push(["tracker", `${(one.ms ?? 0).toFixed(1)} ms`]);
  if (one.waits.length) facts.push(["there and back", `${[...one.waits].sort((a, b) => a - b)[one.waits.length >> 1].toFixed(0)} ms`]);
  facts.push(["engine", one.engine ?? ""]);
  byId("live-facts").replaceChildren(...facts.flatMap(([name, value]) => [element("dt", { textContent: name }), element("dd", { textContent: value })]));
}

function listObjects() {
  const ids = [...(session?.objects.keys() ?? [])];
  byId("live-none").hidden = ids.length > 0;
  byId("live-objects").replaceChildren(...ids.map((id) => {
    const swatch = element("i", { className: "swatch" }), now = element("span", { className: "now" });
    swatch.style.background = colourOf(id);
    now.dataset.id = id;
    const drop = element("button", { type: "button", className: "quiet icon drop-object", "aria-label": `Forget object ${id}`, textContent: "×" });
    drop.onclick = () => order({ id });
    return element("li", {}, element("span", { className: "object" }, swatch, element("span", { textContent: `Object ${id}` }), now), drop);
  }));
}

function order(content) { if (session?.socket?.readyState === WebSocket.OPEN) session.socket.send(JSON.stringify(content)); }

// --- painting and drawing ---

function frame() {
  if (!session) return;
  paint(session);
  requestAnimationFrame(frame);
}

function paint(one) {
  if (!one.size) return;
  const room = view.getBoundingClientRect(), dense = window.devicePixelRatio || 1;
  const [width, height] = [Math.round(room.width * dense), Math.round(room.height * dense)];
  if (view.width !== width || view.height !== height) { view.width = width; view.height = height; }
  const scale = width / one.size[0], unit = dense / scale;
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, ...one.size);
  if (one.shown) pen.drawImage(one.shown, 0, 0, ...one.size);
  for (const [id, [x, y, w, h, , level]] of one.objects) strokeBox([x, y, w, h], level ? STATE_COLOURS[level] : colourOf(id), unit, level === 2);
  const draft = one.typing ?? one.draft;
  if (draft) strokeBox(draft, "#ffffff", unit, false);
}

function strokeBox(box, colour, unit, dashed) {
  pen.setLineDash(dashed ? [7 * unit, 6 * unit] : []);
  for (const [ink, width] of [["rgba(10, 12, 14, .75)", 4.6], [colour, 2.4]]) {
    pen.strokeStyle = ink;
    pen.lineWidth = width * unit;
    pen.strokeRect(...box);
  }
}

function place(event) {
  const edge = view.getBoundingClientRect(), [width, height] = session.size;
  const within = (value, size) => Math.min(Math.max(value, 0), 1) * size;
  return [within((event.clientX - edge.left) / edge.width, width), within((event.clientY - edge.top) / edge.height, height)];
}

function follow(box) {
  const ids = session.objects;
  let id = 1;
  while (ids.has(id)) id += 1;
  if (id > 16) { complain(new Error("A stream follows up to 16 objects.")); return; }
  order({ id, box: box.map((value) => value * (session.scale ?? 1)) });
  say(`Object ${id} is followed.`);
}

view.addEventListener("pointerdown", (event) => {
  if (!event.isPrimary && session) session.from = session.draft = null;  // a second finger: that is no drag
  if (!session?.size || event.button !== 0 || !event.isPrimary) return;
  view.setPointerCapture(event.pointerId);
  session.from = place(event);
});
view.addEventListener("pointermove", (event) => {
  if (!session?.from || !event.isPrimary) return;
  const a = session.from, b = place(event);
  session.draft = [Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.abs(a[0] - b[0]), Math.abs(a[1] - b[1])];
});
view.addEventListener("pointerup", () => {
  const box = session?.draft;
  if (box && box[2] > 4 && box[3] > 4) follow(box);
  if (session) session.from = session.draft = null;
});
view.addEventListener("pointercancel", () => { if (session) session.from = session.draft = null; });

/** Keys of the live view; says whether the key was one of them. */
export function key(event) {
  if (!session?.size) return false;
  const [width, height] = session.size, box = session.typing, step = event.altKey ? 20 : 4;
  const arrows = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key];
  if (event.key.toLowerCase() === "b") { session.typing = [width * 3 / 8, height * 3 / 8, width / 4, height / 4]; view.focus(); }
  else if (!box) return false;
  else if (event.key === "Escape") session.typing = null;
  else if (event.key === "Enter") { follow(box); session.typing = null; }
  else if (!arrows) return false;
  else if (event.shiftKey) { box[2] = Math.max(4, Math.min(box[2] + arrows[0], width - box[0])); box[3] = Math.max(4, Math.min(box[3] + arrows[1], height - box[1])); }
  else { box[0] = Math.max(0, Math.min(box[0] + arrows[0], width - box[2])); box[1] = Math.max(0, Math.min(box[1] + arrows[1], height - box[3])); }
  rest(session);
  return true;
}

function rest(one) {
  hint.textContent = one.typing ? "Arrows move the box, with Shift they resize it. Enter follows it, Esc does not."
    : one.objects.size ? "Drag another box to follow one more object." : "Drag a box around something, or press B to place it by keyboard.";
}

byId("live-stop").onclick = () => { location.hash = ""; };
