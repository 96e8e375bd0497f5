// Enrol somebody, or update them: details, consent, photos. What is refused is looked at, and perhaps enrolled all the
// same.
import { isBusy, once, show, wrong } from "./answers.js";
import { button, count, element } from "./dom.js";
import { face, forgetFace } from "./faces.js";
import { classes, known, nameOf, personOf, refresh, titleOf } from "./known.js";
import { PhotoField } from "./photos.js";
import { ask, base64, personPath, sentence } from "./service.js";
import { pair } from "./verdict.js";

const MOST = 4; // photos of one person at once
const FIELDS = ["name", "group", "born", "valid_until"];
const form = document.querySelector("#enrol form");
const place = form.querySelector(".answer");
const submit = form.querySelector(".main");
const photos = new PhotoField(
  form.querySelector(".photos-of"),
  "Photos",
  MOST,
  () => isBusy(place) || show(place, null),
);
const id = () => form.person_id.value.trim();

// The details of somebody, to be updated.
export function edit(person) {
  form.reset();
  form.person_id.value = person.person_id;
  for (const name of FIELDS) form[name].value = person[name] ?? "";
  tell();
}

function tell() {
  const person = personOf(id());
  document.getElementById("known").textContent = person
    ? `${titleOf(person)} is enrolled: this updates them. New photos take the place of those of before.`
    : "";
  submit.textContent = person ? "Update" : "Enrol";
}

form.person_id.addEventListener("input", tell);
form.person_id.addEventListener("change", () => {
  const person = personOf(id());
  if (person) for (const name of FIELDS) form[name].value ||= person[name] ?? "";
});
document.addEventListener("people", () => {
  const groups = classes(known.people).map(([name]) => name);
  document
    .getElementById("groups")
    .replaceChildren(...groups.filter(Boolean).map((value) => element("option", { value })));
  tell();
});
form.addEventListener("reset", (event) => {
  if (isBusy(place)) return event.preventDefault(); // what becomes of this one is to be seen
  photos.clear();
  show(place, null);
  setTimeout(tell); // once the fields are empty
  if (form.checkVisibility()) form.person_id.focus();
});

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const missing = [
    [!id(), form.person_id, "Give an id, such as the number of the pupil."],
    [FIELDS.some((name) => form[name].validity.badInput), form.born, "Give dates whole: day, month and year."],
    [!photos.photos.length && !personOf(id()), photos, "Take or choose a photo."],
    [!form.consent.checked, form.consent, "Nobody is enrolled without consent: tick the box if it was given."],
  ].find(([is]) => is);
  if (missing) {
    wrong(place, missing[2]);
    return missing[1].focus();
  }
  send(false);
});

function send(accept) {
  const person = id();
  const details = Object.fromEntries(FIELDS.map((name) => [name, form[name].value.trim() || null]));
  const sent = photos.photos;
  return once(place, "Enrolling …", async () => {
    const images = await Promise.all(sent.map(({ blob }) => base64(blob)));
    const answer = await ask("PUT", personPath(person), { ...details, consent: true, images, accept });
    forgetFace(person);
    await refresh().catch(() => null); // the answer is shown all the same
    return said(answer, sent);
  });
}

function said({ person_id: person, enrolled, photos: used, refused, lookalikes }, sent) {
  const name = personOf(person) ? nameOf(person) : form.name.value.trim() || person;
  const review = refused.some((each) => each.review);
  const whole = refused.filter((each) => each.image === null && !(each.review && lookalikes.length)); // those are shown
  return element(
    "div",
    { className: "notice" },
    element("p", {}, element("strong", {}, outcome(name, enrolled, used, sent.length))),
    ...whole.map(({ reason }) => element("p", {}, sentence(reason))),
    photosRefused(refused, sent),
    ...lookalikes.map((each) => compared(each, person, sent)),
    review && element("p", {}, lookalikes.length ? ALIKE : REVIEW),
    review &&
      element(
        "p",
        { className: "choices" },
        button("Enrol all the same", () => send(true)),
      ),
  );
}

const ALIKE = "Two people who look alike? Then enrol all the same. If it is one and the same, update them instead.";
const REVIEW = "Is it right as you have sent it? Then enrol all the same.";

function outcome(name, enrolled, used, sent) {
  if (used) return `${name} is enrolled, by ${count(used, "photo")}.`;
  if (!enrolled) return `${name} is not enrolled.`;
  return sent
    ? `The details are saved. ${name} stays known by the photos of before.`
    : `The details of ${name} are saved.`;
}

function photosRefused(refused, sent) {
  const mine = refused.filter(({ image }) => image !== null);
  if (!mine.length) return null;
  return element(
    "ul",
    { className: "refused" },
    ...mine.map(({ image, reason }) => element("li", {}, sent[image].shown(), element("p", {}, `Not used: ${reason}`))),
  );
}

// The one who is being enrolled, as the photo shows them, beside the other, as they are enrolled.
function compared({ person_id: a, other: b, similarity }, person, sent) {
  const other = a === person ? b : a;
  return element(
    "div",
    {},
    pair([sent[0].shown(), "your photo"], [face(other, nameOf(other)), `${nameOf(other)} · ${other}`]),
    element("p", { className: "meta" }, `Similarity ${similarity.toFixed(2)}`),
  );
}
