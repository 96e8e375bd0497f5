// Enrolled faces: fetched when they come into sight, few at a time, each once.
import { element } from "./dom.js";
import { ask, personPath } from "./service.js";

const AT_ONCE = 6;
const faces = new Map(); // person → Promise of a JPEG, or of null where there is none
const waiting = []; // functions that fetch
let running = 0;
let allowed = true; // whether who asks may see them

export const allow = (may) => (allowed = may);
export const forgetFace = (person) => faces.delete(person);

// An image of the person's face, which is fetched once it is in sight; null where it may not be shown. `name`: "" where
// it stands beside.
export function face(person, name = "") {
  if (!allowed) return null;
  const shown = element("img", { className: "face", alt: name && `enrolled face of ${name}`, width: 160, height: 160 });
  shown.dataset.person = person;
  seen.observe(shown);
  return shown;
}

// Those of `within`, whether they are in sight or not. `onEach`: told after each.
export function allFaces(within, onEach) {
  const all = [...within.querySelectorAll("img.face")];
  return Promise.all(all.map((shown) => fill(shown, () => true).then(onEach)));
}

const near = new WeakSet();
const seen = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) near.add(target);
      else near.delete(target);
      if (isIntersecting) fill(target, () => near.has(target));
    }
  },
  { rootMargin: "200px" },
);

async function fill(shown, wanted) {
  const { person } = shown.dataset;
  const jpeg = await (faces.get(person) ?? fetched(person, wanted));
  if (jpeg === undefined || shown.src) return;
  seen.unobserve(shown);
  if (!jpeg) return shown.replaceWith(element("span", { className: "face none" }, "no picture"));
  shown.src = URL.createObjectURL(jpeg);
  await shown.decode().catch(() => null);
  URL.revokeObjectURL(shown.src);
}

// A promise of the face; of undefined where nobody wants it any more when its turn comes: it is asked for again later.
function fetched(person, wanted) {
  return new Promise((resolve) => {
    waiting.push(async () => {
      if (!faces.has(person) && wanted()) faces.set(person, patient(person));
      resolve(await faces.get(person));
    });
    work();
  });
}

async function work() {
  if (running >= AT_ONCE) return;
  running += 1;
  while (waiting.length) await waiting.shift()();
  running -= 1;
}

// Asked again where the service says when.
async function patient(person) {
  for (;;) {
    try {
      return await ask("GET", `${personPath(person)}/face`);
    } catch (error) {
      if (!error.again) {
        if (error.code === "network") faces.delete(person);
        return null;
      }
      await new Promise((resolve) => setTimeout(resolve, error.again * 1000));
    }
  }
}
