// Faces are selected by boxes beside them, which show while selecting: arrows move, Space selects, Shift selects a range.

const boxes = () => [...document.querySelectorAll(".pick")];
const free = () => boxes().filter((box) => !box.classList.contains("of-group")); // groups have buttons of their own
let last = null;

export const picked = () => free().filter((box) => box.checked).map((box) => box.value);

export function togglePicking(button) {
  if (document.body.classList.contains("picking")) {
    stopPicking();
    button.focus();
    return;
  }
  document.body.classList.add("picking");
  button.setAttribute("aria-pressed", "true");
  document.querySelector("details.faces")?.setAttribute("open", "");
  count();
  free()[0]?.focus();
}

export function stopPicking() {
  document.body.classList.remove("picking");
  document.querySelector("[data-picks]")?.setAttribute("aria-pressed", "false");
  for (const box of free()) box.checked = false;
  count();
}

function count() {
  const bar = document.querySelector(".picked");
  if (!bar) return;
  const chosen = picked().length;
  bar.hidden = !document.body.classList.contains("picking") && !chosen;
  bar.querySelector(".picks").textContent = `${chosen} selected`;
}

const above = (from, step) => {
  const at = from.getBoundingClientRect();
  const rows = boxes()
    .map((box) => [box, box.getBoundingClientRect()])
    .filter(([, b]) => (step > 0 ? b.top > at.top + 5 : b.top < at.top - 5));
  const near = (b) => Math.abs(b.top - at.top) * 1000 + Math.abs(b.left - at.left);
  return rows.sort(([, a], [, b]) => near(a) - near(b))[0]?.[0];
};

// Whether a key was one of selecting.
export function pickingKeys(event) {
  const box = event.target.closest?.(".pick");
  if (event.key === "Escape" && document.body.classList.contains("picking")) {
    stopPicking();
    document.querySelector("[data-picks]")?.focus();
    return true;
  }
  if (!box) return false;
  const all = boxes();
  const at = all.indexOf(box);
  const next = {
    ArrowRight: () => all[at + 1],
    ArrowLeft: () => all[at - 1],
    ArrowDown: () => above(box, 1),
    ArrowUp: () => above(box, -1),
  }[event.key]?.();
  if (!event.key.startsWith("Arrow")) return false;
  next?.focus();
  return true;
}

document.addEventListener("click", (event) => {
  const box = event.target.closest?.(".pick");
  if (!box) return;
  const all = boxes();
  if (event.shiftKey && last?.isConnected) {
    const [from, to] = [all.indexOf(last), all.indexOf(box)].sort((a, b) => a - b);
    for (const each of all.slice(from, to + 1)) each.checked = box.checked;
  }
  last = box;
});
document.addEventListener("change", count);
document.addEventListener("muster:shown", count);
