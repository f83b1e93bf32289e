// What the page knows, and who wants to hear of changes.

export const PALETTE = ["#3ad66a", "#3cbef0", "#fa5ab4", "#fad75a", "#a087eb", "#64dcaa", "#fa966e", "#78a0ff"];
export const STATES = ["tracked", "uncertain", "lost"];
export const STATE_COLOURS = ["#3ad66a", "#ffb624", "#fa464a"];

export const state = {
  info: null,
  job: null,
  rows: new Map(),   // object -> one row or null a frame: [x, y, w, h, score, state]
  times: [],         // seconds of each frame, the first is 0
  frame: 0,
  selected: 1,
  adding: true,      // the next box drawn beside the chosen object's is a new object
  asked: false,      // and so is one drawn over it: by the button or its key
  offline: false,    // the server is not heard
  draft: null,       // a box that is being drawn or moved: [x, y, w, h]
  look: null,        // what the network sees in this frame
  layer: null,       // whose attention is shown
};

const listeners = new Map();

export function on(names, listener) {
  for (const name of names.split(" ")) {
    if (!listeners.has(name)) listeners.set(name, []);
    listeners.get(name).push(listener);
  }
}

export function emit(name, detail) {
  for (const listener of listeners.get(name) ?? []) listener(detail);
}

export const byId = (id) => document.getElementById(id);

export function say(text) { byId("said").textContent = text; }

let asked = "", askedTimer = 0;

/** Whether the user has asked for this twice within some seconds; the first time he is told what it does. */
export function sure(what, text) {
  clearTimeout(askedTimer);
  if (asked === what) { asked = ""; return true; }
  asked = what;
  askedTimer = setTimeout(() => { asked = ""; }, 4000);
  complain(new Error(text));
  return false;
}

let toastTimer = 0;
export function complain(error) {
  const toast = byId("toast");
  toast.textContent = error.message ?? String(error);
  toast.hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { toast.hidden = true; }, 8000);
}

export const colourOf = (id) => PALETTE[(id - 1) % PALETTE.length];
export const objects = () => state.job?.objects ?? [];
export const nameOf = (id) => objects().find((one) => one.id === id)?.name ?? `Object ${id}`;
export const selectedObject = () => objects().find((one) => one.id === state.selected);
export const count = () => state.job?.video?.count ?? (state.job?.video ? 1 : 0);
export const prompt = (id, frame) => objects().find((one) => one.id === id)?.prompts.find((p) => p.frame === frame);
export const row = (id, frame) => state.rows.get(id)?.[frame] ?? null;
/** Whether something was tracked: a frame without a box from hand, or all that there is. */
export const isTracked = () => objects().some(({ id }) => state.rows.get(id)?.some((found, frame) => found && !prompt(id, frame)))
  || (objects().length > 0 && state.times.length > 0 && objects().every((one) => missing(one) === 0));
/** Whether what is done to a box is done to the chosen object's, and not to a new one's. */
export const editing = () => !state.adding || (!state.asked && Boolean(boxAt(state.selected, state.frame)));
export const busy = () => ["waiting", "tracking", "preparing", "rendering"].includes(state.job?.status);

/** The box of an object that is shown on a frame: a row, or what was drawn there. */
export function boxAt(id, frame) {
  return row(id, frame)?.slice(0, 4) ?? prompt(id, frame)?.box ?? null;
}

export function nextFreeId() {
  const taken = new Set(objects().map((one) => one.id));
  let id = 1;
  while (taken.has(id)) id += 1;
  return id;
}

/** Frames of an object that are still to be tracked. */
export function missing(object) {
  const rows = state.rows.get(object.id);
  if (!rows || !rows.length) return Math.max(1, count());
  const first = Math.min(...object.prompts.map((one) => one.frame));
  let found = 0;
  for (let i = state.job.backward ? 0 : first; i < rows.length; i += 1) if (!rows[i]) found += 1;
  return found;
}

export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.startsWith("aria-") || key === "role") made.setAttribute(key, value);
    else made[key] = value;
  }
  made.append(...children);
  return made;
}

export function clock(seconds) {
  const minutes = Math.floor(seconds / 60), rest = seconds - 60 * minutes;
  return `${minutes}:${rest.toFixed(2).padStart(5, "0")}`;
}
