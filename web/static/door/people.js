// Everybody who is enrolled, by class; one of them in detail; who looks alike; class lists to print.
import { once, show } from "./answers.js";
import { button, closed, count, day, element } from "./dom.js";
import { edit } from "./enrol.js";
import { allFaces, face, forgetFace } from "./faces.js";
import { classes, known, matching, nameOf, personOf, refresh, titleOf } from "./known.js";
import { ask, personPath } from "./service.js";
import { pair } from "./verdict.js";
import { choose } from "./verify.js";

const section = document.getElementById("people");
const search = section.querySelector("[type=search]");
const place = section.querySelector(".answer");
const list = document.getElementById("list");
const details = document.getElementById("details");
const forgetting = document.getElementById("forget");

// ---- all of them ----------------------------------------------------------------------------------------------------

let stale = true;

function draw() {
  stale = false;
  const found = matching(search.value);
  const all = known.people.length === found.length;
  section.querySelector(".found").textContent = all
    ? `${count(found.length, "person", "people")} enrolled.`
    : `${found.length} of ${known.people.length}.`;
  document.getElementById("classes").replaceChildren(...classes(found).map(([name, people]) => drawn(name, people)));
}

function drawn(name, people) {
  const title = name || "No class";
  const print = Object.assign(
    button("Print", () => printed(title, classes(known.people).find(([each]) => each === name)[1])),
    { ariaLabel: `Print ${title}` },
  );
  return element(
    "section",
    { className: "class", "aria-label": title },
    element(
      "div",
      { className: "tools" },
      element("h2", {}, title, " ", element("span", { className: "tally" }, String(people.length))),
      print,
    ),
    element("ul", { className: "people" }, ...people.map((person) => element("li", {}, card(person)))),
  );
}

function card(person) {
  const ends = person.valid_until && element("span", { className: "meta" }, `consent to ${day(person.valid_until)}`);
  return element(
    "button",
    { type: "button", className: "card", onclick: () => detailed(person.person_id) },
    face(person.person_id),
    element("strong", {}, titleOf(person)),
    element("span", { className: "meta" }, `${person.person_id} · ${count(person.photos, "photo")}`),
    ends,
  );
}

document.addEventListener("people", () => {
  stale = true;
  if (!section.hidden) draw();
});
section.addEventListener("shown", () => stale && draw());
let soon;
search.addEventListener("input", () => {
  clearTimeout(soon);
  soon = setTimeout(draw, 100);
});

// ---- a list to print ------------------------------------------------------------------------------------------------

// The whole class, whatever is searched for.
function printed(title, people) {
  const today = day(new Date().toLocaleDateString("sv")); // as 2027-07-31, where this computer is
  list.replaceChildren(
    element("h1", {}, title),
    element("p", {}, `${today} · ${count(people.length, "person", "people")}`),
    element(
      "ul",
      {},
      ...people.map((each) =>
        element(
          "li",
          {},
          face(each.person_id),
          element("strong", {}, titleOf(each)),
          element("span", {}, each.person_id),
        ),
      ),
    ),
  );
  let done = 0;
  once(place, "Fetching the faces …", async () => {
    const busy = place.querySelector(".busy");
    await allFaces(list, () => (busy.textContent = `Fetching the faces: ${(done += 1)} of ${people.length} …`));
    print();
    return null;
  });
}

addEventListener("hashchange", () => list.replaceChildren()); // what is printed from the browser's menu is the page

// ---- one of them ----------------------------------------------------------------------------------------------------

async function detailed(id) {
  const person = personOf(id);
  const rows = [
    ["Id", id],
    ["Class", person.group],
    ["Born", person.born && day(person.born)],
    ["Photos", String(person.photos)],
    ["Consent to", person.valid_until ? day(person.valid_until) : "no last day"],
  ].filter(([, text]) => text);
  details.querySelector(".pair-of").replaceChildren(face(id));
  details.querySelector("h2").textContent = titleOf(person);
  details
    .querySelector("dl")
    .replaceChildren(...rows.flatMap(([name, text]) => [element("dt", {}, name), element("dd", {}, text)]));
  const does = await closed(details);
  if (does === "verify") {
    choose(person);
    location.hash = "#verify";
  }
  if (does === "update") {
    edit(person);
    location.hash = "#enrol";
  }
  if (does === "forget") forget(person);
}

async function forget(person) {
  const [id, name] = [person.person_id, titleOf(person)];
  const [typed, yes] = [forgetting.querySelector("input"), forgetting.querySelector("[value=forget]")];
  forgetting.querySelector("h2").textContent = `Forget ${name}?`;
  forgetting.querySelector(".meta").textContent = `It is ${id}.`;
  typed.value = "";
  yes.disabled = true;
  typed.oninput = () => (yes.disabled = typed.value.trim() !== id);
  if ((await closed(forgetting)) !== "forget") return;
  once(place, `Forgetting ${name} …`, async () => {
    const receipt = await ask("DELETE", personPath(id));
    forgetFace(id);
    await refresh().catch(() => null); // the receipt is shown all the same
    return receiptOf(id, receipt);
  });
}

function receiptOf(id, { faces, receipt, at, found_afterwards: left }) {
  const still = left.length ? left.join(", ") : "nothing that was left";
  return element(
    "div",
    { className: "notice" },
    element("p", {}, element("strong", {}, `${id} is forgotten.`)),
    element("p", {}, `${count(faces, "face")} deleted on ${day(at)}. A search afterwards found ${still}.`),
    element("p", { className: "meta" }, `Receipt ${receipt}`),
  );
}

// ---- who looks alike ------------------------------------------------------------------------------------------------

const asking = document.getElementById("alike");

function close() {
  show(place, null);
  asking.focus();
}

asking.addEventListener("click", () =>
  once(place, "Comparing everybody …", async () => {
    const { pairs } = await ask("GET", "/v1/lookalikes");
    return element(
      "div",
      { className: "notice" },
      element(
        "p",
        {},
        pairs.length
          ? `${count(pairs.length, "pair")} of people who look alike: one may be taken for the other.`
          : "Nobody looks like another.",
      ),
      ...pairs.map(alike),
      element("p", { className: "choices" }, button("Close", close)),
    );
  }),
);

function alike({ person_id: a, other: b, similarity }) {
  const both = pair(...[a, b].map((each) => [face(each, nameOf(each)), `${nameOf(each)} · ${each}`]));
  return element("div", {}, both, element("p", { className: "meta" }, `Similarity ${similarity.toFixed(2)}`));
}
