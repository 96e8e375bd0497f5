// Is this the person? One photo, one person.
import { once, show, wrong } from "./answers.js";
import { element } from "./dom.js";
import { face } from "./faces.js";
import { known, matching, personOf, titleOf } from "./known.js";
import { PhotoField } from "./photos.js";
import { ask, sentence } from "./service.js";
import { pair, scores, verdict } from "./verdict.js";

const MOST = 50; // people that are listed at once
const section = document.getElementById("verify");
const form = section.querySelector("form");
const place = form.querySelector(".answer");
const input = document.getElementById("person");
const list = document.getElementById("persons");
const hint = document.getElementById("person-hint");
const photos = new PhotoField(form.querySelector(".photos-of"), "Photo", 1, () => show(place, null));
let chosen = null; // of those who are known

// ---- who it should be -----------------------------------------------------------------------------------------------

export function choose(person) {
  chosen = person;
  if (person) input.value = person.name ? `${person.name} (${person.person_id})` : person.person_id;
  hint.textContent = person
    ? (person.group ?? "")
    : known.may
      ? "Type a name, an id or a class."
      : "Type the id, as it is on the card.";
  close();
  show(place, null);
  photos.show();
}

function close() {
  list.hidden = true;
  input.setAttribute("aria-expanded", "false");
  input.removeAttribute("aria-activedescendant");
}

function open() {
  if (!known.may) return;
  const found = matching(input.value);
  const options = found
    .slice(0, MOST)
    .map((person, number) =>
      element(
        "li",
        { id: `person-${number}`, role: "option", "aria-selected": "false", onclick: () => choose(person) },
        element("strong", {}, titleOf(person)),
        element("span", { className: "meta" }, [person.person_id, person.group].filter(Boolean).join(" · ")),
      ),
    );
  const more = found.length > MOST ? `${found.length - MOST} more: type on.` : "";
  hint.textContent = found.length ? more : "Nobody who is enrolled here has this name, id or class.";
  list.replaceChildren(...options);
  list.hidden = !options.length;
  input.setAttribute("aria-expanded", String(!list.hidden));
  input.removeAttribute("aria-activedescendant");
}

const current = () => list.querySelector("[aria-selected=true]");

function move(step) {
  if (list.hidden) open();
  const all = [...list.children];
  if (!all.length) return;
  const from = all.indexOf(current());
  const next = all[from < 0 ? (step > 0 ? 0 : all.length - 1) : (from + step + all.length) % all.length];
  for (const each of all) each.setAttribute("aria-selected", String(each === next));
  input.setAttribute("aria-activedescendant", next.id);
  next.scrollIntoView({ block: "nearest" });
}

input.addEventListener("input", () => {
  chosen = null;
  show(place, null);
  open();
});
input.addEventListener("blur", close);
list.addEventListener("mousedown", (event) => event.preventDefault()); // the field keeps the focus until the click
input.addEventListener("keydown", (event) => {
  if (event.key === "ArrowDown" || event.key === "ArrowUp") move(event.key === "ArrowDown" ? 1 : -1);
  else if (event.key === "Enter" && current()) current().click();
  else if (event.key === "Escape" && !list.hidden) close();
  else return;
  event.preventDefault();
});

// The id of whom is meant; "" where that is not said.
function wanted() {
  const text = input.value.trim();
  if (!known.may || chosen) return chosen?.person_id ?? text;
  const [only, ...others] = matching(text);
  return personOf(text)?.person_id ?? (text && only && !others.length ? only.person_id : "");
}

// ---- whether it is --------------------------------------------------------------------------------------------------

const WORDS = {
  match: ["yes", "Match", (name) => `This is ${name}.`],
  "no match": ["no", "No match", (name) => `This is not ${name}.`],
  unsure: [
    "unsure",
    "Unsure",
    (name) => `The photo does not say whether this is ${name}: look yourself, or take another one.`,
  ],
};

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const [person, [photo]] = [wanted(), photos.photos];
  if (!person) {
    wrong(place, known.may ? "Choose a person of the list." : "Type an id.");
    return input.focus();
  }
  if (known.may && !chosen) choose(personOf(person));
  if (!photo) {
    wrong(place, "Take or choose a photo.");
    return photos.focus();
  }
  once(place, "Comparing …", async () => {
    const answer = await ask("POST", `/v1/verify?${new URLSearchParams({ person_id: person })}`, photo.blob);
    photos.mark(photo, [answer.face]);
    return said(answer, photo);
  });
});

function said(answer, photo) {
  const name = answer.name || answer.person_id;
  const [kind, word, text] = WORDS[answer.answer];
  const others = answer.faces.length - 1;
  return verdict(
    kind,
    word,
    text(name),
    answer.reason && element("p", {}, sentence(answer.reason)),
    others > 0 && element("p", {}, `There are ${others + 1} faces on the photo: the largest was compared.`),
    pair([photo.crop(answer.face.box_xyxy), "on the photo"], known.may && [face(answer.person_id, name), "enrolled"]),
    scores(answer),
    answer.remark && element("p", { className: "meta" }, sentence(answer.remark)),
  );
}

form.addEventListener("reset", () => {
  photos.clear();
  choose(null);
  input.focus();
});
section.addEventListener("shown", () => {
  const combobox = {
    role: "combobox",
    "aria-autocomplete": "list",
    "aria-controls": "persons",
    "aria-expanded": "false",
  };
  if (known.may) for (const [name, value] of Object.entries(combobox)) input.setAttribute(name, value);
  if (!input.value) choose(null);
});
