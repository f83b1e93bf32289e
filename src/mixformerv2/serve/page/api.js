// The server, as functions.

async function ask(method, path, body) {
  const options = { method, headers: {} };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["Content-Type"] = "application/json";
  }
  let answer;
  try {
    answer = await fetch(`/api${path}`, options);
  } catch {
    throw new Error("The server does not answer. Is it still running?");
  }
  if (answer.status === 204) return null;
  const content = await answer.json().catch(() => null);
  if (!answer.ok) {
    const error = new Error(sentence(content?.detail ?? `The server answered ${answer.status}.`));
    error.status = answer.status;
    throw error;
  }
  return content;
}

function sentence(text) {
  const trimmed = text.trim();
  return trimmed.charAt(0).toUpperCase() + trimmed.slice(1) + (/[.!?]$/.test(trimmed) ? "" : ".");
}

const place = (id, number, frame) => `/jobs/${id}/objects/${number}/prompts/${frame}`;

export const info = () => ask("GET", "/info");
export const jobs = () => ask("GET", "/jobs");
export const job = (id) => ask("GET", `/jobs/${id}`);
export const remove = (id) => ask("DELETE", `/jobs/${id}`);
export const openLibrary = (number) => ask("POST", `/library/${number}`);
export const setPrompt = (id, number, frame, box) => ask("PUT", place(id, number, frame), { box });
export const removePrompt = (id, number, frame) => ask("DELETE", place(id, number, frame));
export const removeObject = (id, number) => ask("DELETE", `/jobs/${id}/objects/${number}`);
export const setName = (id, number, name) => ask("PUT", `/jobs/${id}/objects/${number}/name`, { name });
export const track = (id, backward) => ask("POST", `/jobs/${id}/track`, { backward });
export const pause = (id) => ask("POST", `/jobs/${id}/pause`);
export const results = (id) => ask("GET", `/jobs/${id}/results`);
export const look = (id, number, frame, attention) => ask("GET", `/jobs/${id}/look/${number}/${frame}?attention=${attention}`);
export const render = (id) => ask("POST", `/jobs/${id}/render`);
export const frameAddress = (id, frame) => `/api/jobs/${id}/frames/${frame}`;
export const thumbAddress = (id) => `/api/jobs/${id}/thumb`;
export const videoAddress = (id) => `/api/jobs/${id}/video`;
export const downloadAddress = (id, form, thin = 0) => `/api/jobs/${id}/download/${form}${thin ? `?thin=${thin}` : ""}`;

/** Send a file; `progress` is called with 0..1. */
export function upload(file, progress) {
  return new Promise((done, failed) => {
    const request = new XMLHttpRequest();
    request.open("POST", `/api/jobs?name=${encodeURIComponent(file.name.slice(-200))}`);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.upload.onprogress = (event) => { if (event.lengthComputable) progress(event.loaded / event.total); };
    request.onload = () => {
      let content = null;
      try { content = JSON.parse(request.responseText); } catch { /* said below */ }
      if (request.status === 201 && content) done(content);
      else failed(new Error(sentence(content?.detail ?? `The server answered ${request.status}.`)));
    };
    // A server that refuses early closes while the browser still sends.
    request.onerror = () => failed(new Error("The upload broke off. Is the server running, and the file within its limits?"));
    request.send(file);
  });
}

const socketAddress = (path) => `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/api${path}`;

/**
 * Listen to a job; comes back by itself after an interruption. `opened` is called before the first
 * message of each connection. Returns a function that ends it.
 */
export function events(id, heard, opened, lost) {
  let socket = null, over = false, wait = 500, timer = 0;
  function open() {
    socket = new WebSocket(socketAddress(`/jobs/${id}/events`));
    socket.onopen = opened;
    socket.onmessage = (event) => { wait = 500; heard(JSON.parse(event.data)); };
    socket.onclose = () => {
      if (over) return;
      lost();
      timer = setTimeout(open, wait);
      wait = Math.min(8000, wait * 2);
    };
  }
  open();
  return () => { over = true; clearTimeout(timer); socket?.close(); };
}

export function liveSocket(source) {
  const socket = new WebSocket(socketAddress(source === null ? "/live" : `/live?source=${source}`));
  socket.binaryType = "arraybuffer";
  return socket;
}
