// What only the served pages do: edits, undo, keys, and noticing what others have changed. Pages work without it.
import { ask, choose, help, told, wrong } from "./dialogs.js";
import { picked, pickingKeys, stopPicking, togglePicking } from "./picking.js";

const STYLE = /<style>([^<]*)<\/style>/; // where pictures and faces are: the policy allows that of the first page alone
const placed = new CSSStyleSheet();
const EVERY = 3000; // milliseconds between looks for changes
const shownVersion = () => document.body.dataset.version;

// ---- edits ----------------------------------------------------------------------------------------------------------

export async function send(path, content) {
  const body = JSON.stringify(content);
  try {
    const answer = await fetch(`/api/${path}`, {
      method: "POST",
      body,
      headers: { "content-type": "application/json", "x-muster": "edit" },
    });
    return { status: answer.status, ...(await answer.json()) };
  } catch {
    return { status: 0, error: "Muster does not answer: start muster serve again, and open the address it prints." };
  }
}

let editing = 0; // edits that are under way

// Make an edit, ask what has to be asked, and show what came of it.
export async function edit(path, content) {
  editing += 1;
  const answer = await send(path, content);
  editing -= 1;
  if (answer.status === 200) {
    stopPicking();
    await show(answer.go, answer.done);
    told(answer.done);
  } else if (answer.merge) {
    await named(path, content, answer);
  } else if (answer.conflict) {
    await contradicted(path, content, answer);
  } else {
    wrong(answer.error);
  }
  return answer;
}

async function named(path, content, { error, merge }) {
  const does = await choose("The same person?", `${error} Are the two one person?`, [
    ["merge", `Yes, merge with ${merge.title}`],
    ["anyway", "No, two people of one name"],
    ["", "Cancel"],
  ]);
  if (does === "merge") await edit("merge", { person: content.person, other: merge.person });
  if (does === "anyway") await edit(path, { ...content, anyway: true });
}

async function contradicted(path, content, { error, conflict }) {
  const does = await choose("That contradicts an earlier edit", error, [
    ["instead", "Take that back, and do this"],
    ["history", "Show it in the history"],
    ["", "Leave it as it is"],
  ]);
  if (does === "instead") await edit(path, { ...content, in_spite: true });
  if (does === "history") location.href = `/history.html#e-${conflict}`;
}

// ---- pages ----------------------------------------------------------------------------------------------------------

// The page as it is now in place of what is shown: focus and pictures stay. `go`: another page. A page may see to it
// itself, by preventing the event.
async function show(go, done = "") {
  if (!go && !document.dispatchEvent(new Event("muster:show", { cancelable: true }))) return;
  if (go && go !== location.pathname) {
    sessionStorage.setItem("told", done);
    location.href = go;
    return;
  }
  const answer = await fetch(location.href);
  const text = await answer.text();
  const style = text.match(STYLE)?.[1];
  const page = new DOMParser().parseFromString(text.replace(STYLE, ""), "text/html");
  if (answer.redirected && new URL(answer.url).pathname !== location.pathname) {
    sessionStorage.setItem("told", done);
    location.replace(answer.url);
    return;
  }
  const focus = focusPath();
  keepPictures(page);
  for (const part of [".bar nav", "main"]) {
    document.querySelector(part).replaceChildren(...page.querySelector(part).childNodes);
  }
  if (style) {
    placed.replaceSync(style);
    document.adoptedStyleSheets = [placed];
  }
  document.title = page.title;
  document.body.dataset.version = page.body.dataset.version;
  document.dispatchEvent(new Event("muster:shown"));
  refocus(focus);
}

// Those that are there already, so that nothing flickers.
function keepPictures(page) {
  const here = new Map([...document.images].filter((img) => img.complete).map((img) => [img.src, img]));
  for (const img of page.querySelectorAll("main img")) {
    const old = here.get(new URL(img.getAttribute("src"), location.href).href);
    if (!old) continue;
    for (const { name, value } of img.attributes) if (name !== "src") old.setAttribute(name, value);
    here.delete(old.src);
    img.replaceWith(old);
  }
}

function focusPath() {
  const at = document.activeElement;
  const item = at?.closest("[id]");
  const keys = at?.getAttribute("aria-keyshortcuts");
  return { id: item?.id, selector: keys && `[aria-keyshortcuts="${keys}"]`, value: at?.value };
}

function refocus({ id, selector }) {
  if (document.activeElement !== document.body || !(id || selector)) return; // nothing was in focus before
  const found = (selector && document.querySelector(selector)) || (id && document.getElementById(id));
  (found || document.querySelector("#main")).focus({ preventScroll: true });
}

// Whether somebody has answered questions, and not saved the answers.
const answering = () => document.querySelector(".sheet :checked:not([value=skip])");

async function look() {
  if (editing || document.hidden || document.querySelector("dialog[open]") || picked().length || answering()) return;
  try {
    const answer = await fetch("/api/version");
    if (answer.status === 403) return wrong("This page is an old one: start muster serve again, and open the address it prints.");
    const { version } = await answer.json();
    if (version !== shownVersion() && !editing) {
      const at = location.pathname;
      await show();
      if (at === location.pathname) told("Changed elsewhere: this is the newest.");
    }
  } catch {
    wrong("Muster does not answer: start muster serve again, and open the address it prints.");
  }
}

// ---- what is clicked ------------------------------------------------------------------------------------------------

const person = () => document.querySelector("[data-person]")?.dataset ?? {};

export async function known() {
  const answer = await fetch("/api/names");
  return (await answer.json()).names;
}

const asks = {
  async name() {
    const { person: id, title, name } = person();
    const value = await ask(`Who is ${title}?`, "Name", { value: name, known: await known() });
    if (value !== null) await edit("name", { person: id, name: value });
  },
  async merge() {
    const { person: id, title } = person();
    const people = (await known()).filter((each) => each.person !== id);
    const value = await ask(`Who is the same person as ${title}?`, "Name", { known: people });
    if (value === null) return;
    const other = people.find((each) => each.name === value) ?? people.find((each) => each.name.toLowerCase() === value.toLowerCase());
    if (other) await edit("merge", { person: id, other: other.person });
    else wrong(`Nobody is called ${value}.`);
  },
  async born() {
    const { person: id, title, born } = person();
    const value = await ask(`When was ${title} born?`, "1990, 1990-05 or 1990-05-31", { value: born });
    if (value !== null) await edit("born", { person: id, date: value });
  },
  async give() {
    const faces = picked();
    if (!faces.length) return wrong("Select a face first.");
    const value = await ask("Whose faces are these?", "Name", { known: await known() });
    if (value) await edit("give", { faces, name: value });
  },
};

// Faces that are nobody's, those of a group that are selected.
async function group(button) {
  const section = button.closest(".group");
  const faces = [...section.querySelectorAll(".pick:checked")].map((box) => box.value);
  if (!faces.length) return wrong("Select a face of the group first.");
  if (button.dataset.group === "name") {
    const value = await ask("Whose faces are these?", "Name", { known: await known() });
    if (value) await edit("give", { faces, name: value });
  } else await edit(button.dataset.group, { faces, person: section.dataset.person });
}

document.addEventListener("click", async ({ target }) => {
  const button = target.closest("button");
  if (!button) return;
  const { edit: does, faces: withFaces, asks: asked, opens, id } = button.dataset;
  if ("picks" in button.dataset) togglePicking(button);
  else if (opens === "help") help();
  else if (asked) await asks[asked]();
  else if (withFaces) {
    if (picked().length) await edit(withFaces, { person: person().person, faces: picked() });
    else wrong("Select a face first.");
  } else if (does === "favourite") await edit(does, { photo: button.dataset.photo, on: Boolean(button.dataset.on) });
  else if (button.dataset.group) await group(button);
  else if (does === "take_back") await edit(does, { edit: id });
  else if (does) await edit(does, { person: person().person });
});

document.addEventListener(
  "keydown",
  (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.target.matches("input:not([type=checkbox], [type=radio]), select, textarea, dialog *")) return;
    const search = document.querySelector("[type=search]");
    if (event.key === "?") help();
    else if (event.key === "/" && search) search.focus();
    else if (event.key === "f" && event.target.closest("[data-item]")) event.target.closest("[data-item]").querySelector(".star")?.click();
    else if (/^[0-9]$/.test(event.key)) {
      const numbered = document.querySelector(`[aria-keyshortcuts="${event.key}"]`);
      if (!numbered) return;
      numbered.click();
    } else if (!pickingKeys(event)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
  },
  true,
);

if (sessionStorage.getItem("told")) told(sessionStorage.getItem("told"));
sessionStorage.removeItem("told");
setInterval(look, EVERY);
setInterval(() => document.querySelector("[data-wait]") && !document.hidden && show(), 1500);
document.addEventListener("visibilitychange", look);
