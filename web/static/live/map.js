// Moving the map by mouse, touch and keys. What is in view comes from the server, which puts near photos together.
"use strict";

const map = document.getElementById("map");
const SOON = 180; // milliseconds without a move after which the photos in view are asked for
const LEAST = 20; // units, as on the server
const MOST = 28800;
let soon;

const world = () => map.querySelector(".world");
const box = () => world().viewBox.baseVal;

const unit = () => box().width / world().clientWidth; // units a pixel

function look(x, y, width) {
  const wide = Math.min(MOST, Math.max(LEAST, width));
  const high = (wide * world().clientHeight) / world().clientWidth;
  world().setAttribute("viewBox", `${x - wide / 2} ${y - high / 2} ${wide} ${high}`);
  clearTimeout(soon);
  soon = setTimeout(renew, SOON);
}

const middle = () => [box().x + box().width / 2, box().y + box().height / 2];

// All that was to be seen, in the shape of the window.
function fit() {
  const { width, height } = box();
  const [x, y] = middle();
  look(x, y, Math.max(width, (height * world().clientWidth) / world().clientHeight));
}

// A point of the window, in units of the map.
function at({ clientX, clientY }) {
  const frame = world().getBoundingClientRect();
  const [x, y] = middle();
  return [x + (clientX - frame.left - frame.width / 2) * unit(), y + (clientY - frame.top - frame.height / 2) * unit()];
}

// That point stays where it is.
function zoom(by, [px, py]) {
  const [x, y] = middle();
  const wide = Math.min(MOST, Math.max(LEAST, box().width * by));
  const share = wide / box().width;
  look(px + (x - px) * share, py + (y - py) * share, wide);
}

function move(right, down) {
  const [x, y] = middle();
  look(x + right, y + down, box().width);
}

async function renew() {
  const [x, y] = middle();
  const view = { x, y, w: box().width, h: box().height, px: world().clientWidth };
  const asked = new URLSearchParams(Object.entries(view).map(([name, value]) => [name, value.toFixed(1)]));
  if (map.dataset.query) asked.set("q", map.dataset.query);
  const answer = await fetch(`/map/part?${asked}`).catch(() => null);
  if (!answer?.ok) return;
  const made = document.createElement("template");
  made.innerHTML = await answer.text(); // of our own server, which has escaped what is in it
  const focused = document.activeElement?.dataset?.key;
  for (const part of [".moves", ".listed"]) map.querySelector(part).replaceWith(made.content.querySelector(part));
  world().querySelector(".clusters").replaceWith(made.content.querySelector(".clusters"));
  if (focused) map.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
  history.replaceState(null, "", `/map.html?${asked}`);
}

// ---- mouse and touch ------------------------------------------------------------------------------------------------

const fingers = new Map();
let moved = 0;

function down(event) {
  if (event.button) return;
  fingers.set(event.pointerId, event);
  moved = 0;
}

function drag(event) {
  const before = fingers.get(event.pointerId);
  if (!before) return;
  const other = [...fingers.values()].find((each) => each.pointerId !== event.pointerId);
  moved += Math.hypot(event.clientX - before.clientX, event.clientY - before.clientY);
  if (moved > 4 && !world().hasPointerCapture(event.pointerId)) world().setPointerCapture(event.pointerId);
  if (other) {
    const apart = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY) || 1;
    zoom(apart(before) / apart(event), at(other));
  } else if (moved > 4) {
    move((before.clientX - event.clientX) * unit(), (before.clientY - event.clientY) * unit());
  }
  fingers.set(event.pointerId, event);
}

const up = ({ pointerId }) => fingers.delete(pointerId);

const KEYS = {
  ArrowLeft: () => move(-box().width * 0.1, 0),
  ArrowRight: () => move(box().width * 0.1, 0),
  ArrowUp: () => move(0, -box().height * 0.15),
  ArrowDown: () => move(0, box().height * 0.15),
  "+": () => zoom(0.6, middle()),
  "=": () => zoom(0.6, middle()),
  "-": () => zoom(1 / 0.6, middle()),
};

if (map) {
  const here = world();
  here.addEventListener("wheel", (event) => (event.preventDefault(), zoom(2 ** (event.deltaY / 300), at(event))), { passive: false });
  here.addEventListener("pointerdown", down);
  here.addEventListener("pointermove", drag);
  for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) here.addEventListener(end, up);
  here.addEventListener("dragstart", (event) => event.preventDefault());
  here.addEventListener("click", (event) => moved > 4 && event.preventDefault(), true);
  map.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "0") map.querySelector('[data-key="0"]').click();
    else if (KEYS[event.key]) KEYS[event.key]();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  fit();
  new ResizeObserver(() => fit()).observe(here);
  document.addEventListener("muster:show", (event) => (event.preventDefault(), renew()));
}
