// Photos of a month come when they are nearly in sight. Until then the room that they take is kept: tiles are squares, so
// it is known. Arrow keys go from photo to photo, also to those that are not there yet.
import { told, wrong } from "./dialogs.js";
import { look } from "./large.js";
import { send } from "./live.js";

const timeline = document.getElementById("timeline");
const list = timeline?.dataset.list;
const NEAR = "150% 0%"; // of the window, above and below

function keepRoom(part) {
  const style = getComputedStyle(part);
  const tracks = style.gridTemplateColumns.split(" ").map(parseFloat);
  const rows = Math.ceil(part.dataset.count / tracks.length);
  const gap = parseFloat(style.rowGap) || 0;
  part.style.minHeight = `${rows * (tracks[0] + gap) - gap}px`;
}

const later = () => timeline.querySelectorAll("[data-later]");

// The photos of a part as they are now, null where there is none any more.
async function photosOf(part) {
  const asked = new URLSearchParams({ in: list, part: part.dataset.part });
  const answer = await fetch(`/photos/part?${asked}`).catch(() => null);
  if (!answer?.ok) return null;
  const made = document.createElement("template");
  made.innerHTML = await answer.text(); // of our own server, which has escaped what is in it
  return [...made.content.children];
}

async function fill(part) {
  if (!("later" in part.dataset)) return;
  delete part.dataset.later;
  const photos = await photosOf(part);
  if (!photos) return; // its link stays
  part.replaceChildren(...photos);
  part.style.minHeight = "";
}

function watch() {
  const near = new IntersectionObserver(
    (seen) => seen.filter((each) => each.isIntersecting).forEach(({ target }) => (near.unobserve(target), fill(target))),
    { rootMargin: NEAR },
  );
  later().forEach((part) => (keepRoom(part), near.observe(part)));
  let width = timeline.clientWidth;
  new ResizeObserver(() => {
    if (timeline.clientWidth === width) return;
    width = timeline.clientWidth;
    later().forEach(keepRoom);
  }).observe(timeline);
}

// What has changed since, by an edit or elsewhere: what is shown stays where it is.
async function renew() {
  for (const part of timeline.querySelectorAll(".tiles:not([data-later])")) {
    const now = await photosOf(part);
    const shown = [...part.children];
    if (now?.length !== shown.length) return location.reload();
    now.forEach((photo, n) => {
      if (photo.outerHTML === shown[n].outerHTML) return;
      const focused = shown[n].contains(document.activeElement);
      shown[n].replaceWith(photo);
      if (focused) photo.querySelector(".tile").focus();
    });
  }
}

document.addEventListener("muster:show", async (event) => {
  if (!timeline) return;
  event.preventDefault();
  const answer = await fetch("/api/version").catch(() => null);
  if (answer?.ok) document.body.dataset.version = (await answer.json()).version;
  await renew();
});

async function favourite(tile) {
  const photo = tile.id.slice(2);
  const answer = await send("favourite", { photo, on: !tile.querySelector(".heart") });
  if (answer.error) return wrong(answer.error);
  told(answer.done);
  await renew();
}

// ---- keys -----------------------------------------------------------------------------------------------------------

const tiles = () => [...timeline.querySelectorAll(".tile")];
const middle = (box) => box.left + box.width / 2;

// The tile in the row above or below whose middle is nearest.
function acrossRows(all, current, step) {
  const from = current.getBoundingClientRect();
  let best;
  for (let at = all.indexOf(current) + step; all[at]; at += step) {
    const box = all[at].getBoundingClientRect();
    if (Math.abs(box.top - from.top) < 2) continue;
    if (best && Math.abs(box.top - best.top) > 2) break;
    const off = Math.abs(middle(box) - middle(from));
    if (!best || off < best.off) best = { tile: all[at], top: box.top, off };
  }
  return best?.tile;
}

// What stands between a tile and the next one may be photos that were not sent yet.
async function filled(current, step) {
  const all = [...timeline.querySelectorAll(".tiles")];
  const part = all[all.indexOf(current.closest(".tiles")) + Math.sign(step)];
  if (part) await fill(part);
}

const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -2, ArrowDown: 2 };

async function move(key) {
  const current = document.activeElement.closest(".tile");
  const step = steps[key];
  if (!current) return;
  let next;
  for (const fetched of [false, true]) {
    if (fetched) await filled(current, step);
    const all = tiles();
    next = Math.abs(step) === 1 ? all[all.indexOf(current) + step] : acrossRows(all, current, Math.sign(step));
    if (next && !skips(current, next)) break;
  }
  next?.focus();
  next?.scrollIntoView({ block: "nearest" });
}

function skips(current, next) {
  return [...later()].some(
    (part) =>
      (current.compareDocumentPosition(part) ^ next.compareDocumentPosition(part)) &
      (Node.DOCUMENT_POSITION_FOLLOWING | Node.DOCUMENT_POSITION_PRECEDING),
  );
}

document.addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey || event.target.closest("dialog")) return;
  const tile = document.activeElement.closest(".tile");
  if (event.key === "f" && tile && !("readonly" in timeline.dataset)) favourite(tile);
  if (!(event.key in steps)) return;
  if (!tile) {
    if (event.key !== "ArrowRight" || document.activeElement.closest("select, input")) return;
    const first = tiles().find((tile) => tile.getBoundingClientRect().top >= 0) ?? tiles()[0];
    first?.focus();
  } else move(event.key);
  event.preventDefault();
});

// ---- begin ----------------------------------------------------------------------------------------------------------

function goTo(place) {
  const target = document.getElementById(place);
  if (!target) return;
  target.scrollIntoView({ block: place.startsWith("p-") ? "center" : "start" });
  target.focus({ preventScroll: true });
}

if (timeline) {
  watch();
  if (location.hash.length > 1) goTo(decodeURIComponent(location.hash.slice(1)));
  document.getElementById("jump")?.addEventListener("change", ({ target }) => {
    document.getElementById(target.value).scrollIntoView();
  });
  document.getElementById("play").addEventListener("click", () => {
    const shown = tiles().find((tile) => tile.getBoundingClientRect().bottom > 0) ?? tiles()[0];
    look({ list, at: shown.id.slice(2), play: true, after: back });
  });
}

function back(last) {
  const tile = document.getElementById(`p-${last}`);
  if (tile) goTo(tile.id);
  else location.assign(`${location.pathname}?at=${last}#p-${last}`);
}
