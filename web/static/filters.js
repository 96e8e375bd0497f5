// Chips leave those people or photos that show everything chosen. What is chosen stands in the address, and goes with
// the links between pages: #show=with+a+dog&show=at+night. Comes after people.js, whose `items` it hides.
"use strict";

const panel = document.querySelector(".filters");
const pager = document.querySelector(".pager");
const chips = [...panel.querySelectorAll(".chip")];
const [more, clear, found] = [".more", ".clear", "[role=status]"].map((name) => panel.querySelector(name));
const links = [...document.querySelectorAll('a[href*=".html"]')].filter((a) => !a.getAttribute("href").includes(":"));
const addresses = new Map(links.map((link) => [link, link.getAttribute("href")]));

// "AD5 C" → [["AD", 5], ["C", 1]]: five photos show what the chips A and D say, one what C says.
const decode = (text) =>
  (text ? text.split(" ") : []).map((part) => {
    const shown = part.replace(/\d+$/, "");
    return [shown, Number(part.slice(shown.length) || 1)];
  });
const matching = (photos, marks) =>
  photos.reduce((sum, [shown, count]) => sum + (marks.every((mark) => shown.includes(mark)) ? count : 0), 0);
const wordsOf = (chip) => chip.firstChild.data.trim();

const all = decode(panel.dataset.photos);
const pages = (panel.dataset.pages ?? "").split("|").map(decode);
const names = (panel.dataset.names ?? "").split("|");
const photosOf = new Map(items.map((item) => [item, decode(item.dataset.photos)]));

const years = []; // [heading, the photos under it]
for (const item of items) {
  const heading = item.querySelector("h3");
  if (heading) years.push([heading, []]);
  years.at(-1)?.[1].push(item);
}

let chosen = [];

const counted = (number, unit) => `${number.toLocaleString("en")} ${unit.split(",")[number === 1 ? 0 : 1]}`;
const hashOf = (words) => `#${new URLSearchParams(words.map((each) => ["show", each])).toString() || "all"}`; // not "#": it scrolls

function choose(words) {
  location.hash = hashOf(words);
  read(); // at once: the event comes later
}

function read() {
  const hash = new URLSearchParams(location.hash.slice(1));
  if (location.hash && !hash.has("show") && !hash.has("all")) return; // a place on the page
  chosen = [...new Set(hash.getAll("show"))];
  show();
}

function show() {
  const active = chosen.length > 0;
  const marks = chosen.map((words) => chipOf(words).value);
  for (const chip of chips) showChip(chip, [...marks, chip.value]);
  for (const item of items) showItem(item, active, marks);
  for (const [heading, group] of years) (group.find((item) => !item.hidden) ?? group[0]).prepend(heading);
  for (const link of document.querySelectorAll(".strip a")) {
    link.parentElement.hidden = document.querySelector(link.hash).hidden;
  }
  for (const [link, address] of addresses) {
    link.setAttribute("href", active ? address.split("#")[0] + hashOf(chosen) : address);
  }
  clear.hidden = !active;
  found.textContent = active ? summary(inSight().length, matching(all, marks)) : "";
  if (pager) showPages(active, marks);
}

// The chip of these words; a link may bring some that nothing here shows: then a new one, of no photos.
function chipOf(words) {
  const known = chips.find((chip) => wordsOf(chip) === words);
  if (known) return known;
  const chip = chips[0].cloneNode(true);
  chip.value = " "; // which no photo shows
  chip.firstChild.data = `${words} `;
  chips.at(-1).after(chip);
  chips.push(chip);
  return chip;
}

function showChip(chip, marks) {
  const pressed = chosen.includes(wordsOf(chip));
  const photos = matching(all, marks);
  chip.setAttribute("aria-pressed", pressed);
  chip.disabled = !pressed && photos === 0;
  chip.hidden = "extra" in chip.dataset && !pressed && more.getAttribute("aria-expanded") === "false";
  chip.querySelector(".tally").textContent = photos.toLocaleString("en");
}

function showItem(item, active, marks) {
  const photos = matching(photosOf.get(item), marks);
  const hits = item.querySelector(".hits");
  item.closest("li").hidden = active && photos === 0;
  if (hits) [hits.hidden, hits.textContent] = [!active, `${photos.toLocaleString("en")} match${photos === 1 ? "es" : ""}`];
}

function summary(here, photos) {
  const unit = panel.dataset.unit;
  const what = `${photos ? counted(photos, "photo,photos") : "No photos"} ${chosen.join(", ")}`;
  if (names.length === 1 && unit.startsWith("photo")) return what;
  return `${what}: ${counted(here, unit)}${names.length > 1 ? " on this page" : ""}`;
}

// In place of the page marks: those of the pages on which something is left.
function showPages(active, marks) {
  document.querySelector(".pager.left")?.remove();
  pager.hidden = active;
  if (!active) return;
  const nav = pager.cloneNode(false);
  nav.classList.add("left");
  nav.hidden = false;
  names.forEach((name, index) => {
    const current = index + 1 === Number(panel.dataset.page);
    if (!current && !matching(pages[index], marks)) return;
    const link = document.createElement("a");
    [link.href, link.textContent] = [name + hashOf(chosen), index + 1];
    link.setAttribute("aria-label", `Page ${index + 1}`);
    if (current) link.setAttribute("aria-current", "page");
    nav.append(link);
  });
  pager.after(nav);
}

panel.addEventListener("click", ({ target }) => {
  const chip = target.closest(".chip");
  if (chip) {
    const others = chosen.filter((words) => words !== wordsOf(chip));
    choose(others.length < chosen.length ? others : [...chosen, wordsOf(chip)]);
  } else if (target === clear) {
    choose([]);
    chips[0].focus();
  } else if (target === more) {
    const open = more.getAttribute("aria-expanded") === "false";
    more.setAttribute("aria-expanded", open);
    more.textContent = open ? "less" : "more…";
    show();
  }
});

// Links within the page would take the place of what is chosen in the address.
document.addEventListener("click", (event) => {
  const link = event.target.closest('a[href^="#"]');
  if (!link || !chosen.length) return;
  const target = document.getElementById(link.hash.slice(1));
  target.scrollIntoView();
  target.focus({ preventScroll: true });
  event.preventDefault();
});

addEventListener("hashchange", read);
read();
