// The first view: a video from the user, from the server, or a camera.

import * as api from "./api.js";
import { byId, complain, element, say, state } from "./state.js";

let opened = () => {};
let uploading = false;

export function onOpened(listener) { opened = listener; }

function size(bytes) { return bytes >= 2 ** 30 ? `${+(bytes / 2 ** 30).toFixed(1)} GB` : `${Math.max(1, Math.round(bytes / 2 ** 20))} MB`; }

export async function show() {
  const { info } = state;
  byId("drop-note").textContent = `up to ${size(info.limits.upload_bytes)} and ${Math.round(info.limits.seconds / 60)} minutes; it stays on this server`;
  const offers = [];
  for (const { id, name } of info.library) {
    const shipped = name === "demo.mp4" && id === info.library.length - 1;
    offers.push(offer(shipped ? "Try the demo clip" : name, "M8 5.5v13l11-6.5z", (event) => open(event.currentTarget, () => api.openLibrary(id))));
  }
  offers.push(offer("Use this device's camera", "M4 7.5h10.5v9H4zM14.5 11l5.5-3v8l-5.5-3", () => { location.hash = "live"; }));
  for (const { id, name } of info.live) offers.push(offer(`Server's ${name}`, "M4 7.5h10.5v9H4zM14.5 11l5.5-3v8l-5.5-3", () => { location.hash = `live=${id}`; }));
  byId("offers").replaceChildren(...offers);
  await listJobs();
}

function offer(text, path, act) {
  const button = element("button", { type: "button", className: "offer" });
  const icon = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  icon.setAttribute("viewBox", "0 0 24 24");
  icon.setAttribute("aria-hidden", "true");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
  line.setAttribute("d", path);
  icon.append(line);
  button.append(icon, element("span", { textContent: text }));
  button.onclick = act;
  return button;
}

async function open(button, work) {
  button.disabled = true;
  button.classList.add("working");
  try { opened(await work()); } catch (error) { complain(error); } finally {
    button.disabled = false;
    button.classList.remove("working");
  }
}

async function listJobs() {
  const jobs = (await api.jobs()).filter((job) => job.status !== "failed").slice(0, 12);
  byId("recent").hidden = !jobs.length;
  byId("cards").replaceChildren(...jobs.map((job) => {
    const many = job.objects.length, length = job.video?.count ? `${job.video.count} frames` : "";
    const text = [many ? `${many} object${many > 1 ? "s" : ""}` : "no box yet", length, job.status === "ready" ? "" : job.status].filter(Boolean).join(" · ");
    return element("li", {}, element("a", { href: `#job=${job.id}`, className: "card" },
      element("img", { src: api.thumbAddress(job.id), alt: "", loading: "lazy" }),
      element("strong", { textContent: job.name }), element("span", { className: "dim small", textContent: text })));
  }));
}

async function send(file) {
  if (uploading) return;
  const limit = state.info.limits.upload_bytes, bar = byId("upload"), text = byId("drop-text"), before = text.textContent;
  if (file.size > limit) { complain(new Error(`${file.name} has ${size(file.size)}; this server takes up to ${size(limit)}.`)); return; }
  uploading = true;
  bar.hidden = false;
  byId("drop").classList.add("working");
  text.textContent = `Sending ${file.name}`;
  say(`Sending ${file.name}`);
  try {
    const job = await api.upload(file, (share) => {
      bar.value = share;
      if (share === 1) text.textContent = "Opening the video";
    });
    if (!byId("start").hidden) opened(job);
    else complain(new Error(`${file.name} is here: it stands under Recent on the first page.`));  // the user has gone elsewhere
  } catch (error) { complain(error); } finally {
    uploading = false;
    bar.hidden = true;
    bar.value = 0;
    text.textContent = before;
    byId("drop").classList.remove("working");
  }
}

const input = byId("file");
input.onchange = () => { if (input.files[0]) send(input.files[0]); input.value = ""; };

// A file may be dropped anywhere on the page, while the first view is shown.
const dropping = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
window.addEventListener("dragover", (event) => {
  if (!dropping(event)) return;
  event.preventDefault();
  byId("drop").classList.add("over");
});
for (const name of ["dragleave", "drop"]) window.addEventListener(name, () => byId("drop").classList.remove("over"));
window.addEventListener("drop", (event) => {
  if (!dropping(event)) return;
  event.preventDefault();
  const file = event.dataTransfer.files[0];
  if (file && !byId("start").hidden) send(file);
  else if (file) complain(new Error("Another video is added on the first page: press mixformerv2 above, then drop it there."));
});
