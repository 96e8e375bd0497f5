// Who is enrolled, as the service last said.
import { ask } from "./service.js";

// `may`: whether who asks may see them at all.
export const known = { may: false, people: [] };
const { compare } = new Intl.Collator("en", { numeric: true }); // class 10 comes after class 9

export async function refresh() {
  const { people } = await ask("GET", "/v1/people");
  known.people = people.sort((a, b) => compare(titleOf(a), titleOf(b)));
  document.dispatchEvent(new Event("people"));
}

export const titleOf = ({ name, person_id }) => name || person_id;
export const personOf = (person) => known.people.find(({ person_id }) => person_id === person);

// The name of an id, or the id where there is none.
export const nameOf = (person) => titleOf(personOf(person) ?? { person_id: person });

const plain = (text) => (text ?? "").normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();

// Those whom each word of a text fits: of their name, id or class. Accents may be left out.
export function matching(text) {
  const words = plain(text).split(/\s+/).filter(Boolean);
  if (!words.length) return known.people;
  return known.people.filter(({ person_id, name, group }) => {
    const all = plain([name, person_id, group].join(" "));
    return words.every((word) => all.includes(word));
  });
}

// Classes, those without one last: [[class, people]].
export function classes(people) {
  const found = new Map();
  for (const person of people) {
    const group = person.group ?? "";
    if (!found.has(group)) found.set(group, []);
    found.get(group).push(person);
  }
  return [...found].sort(([a], [b]) => !a - !b || compare(a, b));
}
