// Arrow keys move between people or photos; any link or box with aria-keyshortcuts answers to its key.
"use strict";

const items = [...document.querySelectorAll("[data-item]")];
const inSight = () => [...document.querySelectorAll("[data-item]")].filter((item) => !item.closest("[hidden]"));

const middle = (box) => box.left + box.width / 2;

function beside(current, step) {
  const shown = inSight();
  return shown[shown.indexOf(current) + step];
}

// The item nearest in the next row up or down: rows wrap with the width of the window, so it is measured.
function acrossRows(current, step) {
  const from = current.getBoundingClientRect();
  const distance = (box) => Math.abs(box.top - from.top) * 10000 + Math.abs(middle(box) - middle(from));
  return inSight()
    .map((item) => [item, item.getBoundingClientRect()])
    .filter(([, box]) => (step > 0 ? box.top >= from.bottom - 1 : box.bottom <= from.top + 1))
    .reduce((best, [item, box]) => (!best || distance(box) < best[0] ? [distance(box), item] : best), null)?.[1];
}

function firstInView() {
  const shown = inSight();
  return shown.find((item) => item.getBoundingClientRect().top >= 0) ?? shown[0];
}

const moves = {
  ArrowRight: (current) => (current ? beside(current, 1) : firstInView()),
  ArrowLeft: (current) => (current ? beside(current, -1) : firstInView()),
  ArrowDown: (current) => current && acrossRows(current, 1), // without an item in focus it scrolls, as ever
  ArrowUp: (current) => current && acrossRows(current, -1),
  Enter: (current) => current === document.activeElement && void current.querySelector("a[href]")?.click(),
};

document.addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
  if (event.target.matches("input:not([type=checkbox], [type=radio]), select, textarea, dialog *")) return;
  const current = document.activeElement.closest("[data-item]");
  const next = moves[event.key]?.(current);
  if (next) {
    next.focus();
    next.scrollIntoView({ block: "nearest" });
    event.preventDefault();
  } else if (/^[a-z]$/.test(event.key)) {
    const shortcut = document.querySelector(`[aria-keyshortcuts="${event.key}"]`);
    if (!shortcut) return;
    event.preventDefault(); // else the letter is typed into what it opens
    shortcut.click();
  }
});
