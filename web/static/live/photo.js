// One photo: the original in place of its small copy, arrow keys, who is on it, and what lights up in it.
import { ask } from "./dialogs.js";
import { draw } from "./draw.js";
import { look, pageOf } from "./large.js";
import { edit, known } from "./live.js";

const at = (id) => document.getElementById(id);
const page = () => at("photo").dataset;

// ---- the original ----

let full; // kept where the page is shown anew after an edit

function original() {
  const small = at("stage").querySelector("img");
  if (!full) {
    full = new Image();
    full.ready = new Promise((resolve) => (full.onload = () => full.decode().then(resolve, () => {})));
    full.onerror = async () => {
      const answer = await fetch(page().original).catch(() => null);
      at("note").textContent = answer && !answer.ok ? `${await answer.text()} This is a small copy.` : "";
    };
    full.src = page().original;
  }
  for (const name of ["alt", "width", "height"]) full.setAttribute(name, small.getAttribute(name));
  if (full.complete && full.naturalWidth) small.replaceWith(full);
  else full.ready.then(() => small.isConnected && small.replaceWith(full));
}

// ---- what lights up ----

function lights() {
  for (const entry of document.querySelectorAll("[data-lights]")) {
    const marks = entry.dataset.lights.split(" ").map(at);
    const light = (on) => marks.forEach((mark) => mark.classList.toggle("lit", on || entry.getAttribute("aria-pressed") === "true"));
    for (const [what, on] of [["pointerenter", true], ["pointerleave", false], ["focusin", true], ["focusout", false]]) {
      entry.addEventListener(what, () => light(on));
    }
    if (entry.localName !== "button") continue;
    entry.addEventListener("click", () => {
      entry.setAttribute("aria-pressed", entry.getAttribute("aria-pressed") !== "true");
      light(false);
    });
  }
}

// ---- what is clicked ----

const after = (last) => last && last !== page().photo && location.replace(pageOf(last, page().list));
const large = (play) => look({ list: page().list, at: page().photo, play, after });

const does = {
  large: () => large(false),
  play: () => large(true),
  marks(button) {
    button.setAttribute("aria-pressed", at("stage").classList.toggle("marked"));
  },
  async who({ dataset: { face, not } }) {
    const name = await ask(not ? `Who is this, if not ${not}?` : "Who is this?", "Name", { known: await known() });
    if (name) await edit("give", { faces: [face], name });
  },
  async name({ dataset: { person, title } }) {
    const name = await ask(`Who is ${title}?`, "Name", { known: await known() });
    if (name) await edit("name", { person, name });
  },
  not: ({ dataset: { face, person } }) => edit("not", { person, faces: [face] }),
  async draw(button) {
    button.setAttribute("aria-pressed", true);
    const box = await draw(at("stage"), at("note"), page());
    button.setAttribute("aria-pressed", false);
    if (!box) return button.focus();
    const name = await ask("Who is this?", "Name, if you know it", { known: await known() });
    if (name !== null) await edit("draw", { photo: page().photo, box, name });
  },
};

document.addEventListener("click", (event) => {
  const target = event.target.closest("[data-does]");
  if (!target || at("stage").classList.contains("drawing")) return;
  event.preventDefault(); // some are links, which lead to the same by another way
  does[target.dataset.does](target);
});
document.addEventListener("dblclick", (event) => event.target.closest("#stage") && does.large());

const goes = { ArrowLeft: "[rel=prev]", ArrowRight: "[rel=next]", Escape: "#back" };
document.addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey || event.defaultPrevented) return;
  if (event.target.closest("input, select, textarea, dialog, .draft")) return;
  if (goes[event.key]) document.querySelector(goes[event.key])?.click();
});

function begin() {
  if (!at("photo")) return; // it is gone
  original();
  lights();
}
begin();
document.addEventListener("muster:shown", begin);
