// Where answers appear: one at a time, said aloud, and a failure can be tried again.
import { button, element } from "./dom.js";
import { Refused } from "./service.js";

const busy = new Set();

// Do it once, however often it is clicked, and show in `place` what it returns, or why it failed.
export async function once(place, doing, work) {
  if (busy.has(place)) return;
  busy.add(place);
  show(place, element("p", { className: "busy", role: "status" }, doing));
  try {
    show(place, await work());
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    show(place, failure(error, () => once(place, doing, work)));
  } finally {
    busy.delete(place);
  }
}

export function show(place, content) {
  place.replaceChildren(...(content ? [content] : []));
  place.scrollIntoView({ block: "nearest" });
}

export function wrong(place, text) {
  show(place, element("p", { className: "notice wrong", role: "alert" }, text));
}

function failure({ message, again }, retry) {
  if (again === null) return element("p", { className: "notice wrong", role: "alert" }, message);
  const when = again ? ` It can be tried again in ${again} s.` : "";
  return element(
    "div",
    { className: "notice wrong", role: "alert" },
    element("p", {}, message + when),
    element("p", { className: "choices" }, button("Try again", retry)),
  );
}
