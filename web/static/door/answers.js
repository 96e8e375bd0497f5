// Where answers appear: one at a time, said aloud (`aria-live` in the page), and a failure can be tried again.
import { button, element } from "./dom.js";
import { Refused } from "./service.js";

const running = new Map(); // place → what is waited for there

export const isBusy = (place) => running.has(place);

// Do it once, however often it is clicked, and show in `place` what it returns, or why it failed. Nothing is shown
// where the place was cleared meanwhile: it would be an answer about another photo.
export async function once(place, doing, work) {
  if (isBusy(place)) return;
  const mine = Symbol(doing);
  running.set(place, mine);
  const focused = place.contains(document.activeElement);
  put(place, element("p", { className: "busy" }, doing));
  const shown = await work().catch((error) => failure(error, () => once(place, doing, work)));
  if (running.get(place) !== mine) return;
  show(place, shown);
  if (focused) focus(place);
}

// Instead of what is there, or waited for.
export function show(place, content) {
  running.delete(place);
  put(place, content);
}

export function wrong(place, text) {
  show(place, element("p", { className: "notice wrong" }, text));
}

function put(place, content) {
  place.replaceChildren(...(content ? [content] : []));
  if (content) place.scrollIntoView({ block: "nearest" });
}

// So that whoever has pressed a button there, which is gone, goes on from there.
function focus(place) {
  place.tabIndex = -1;
  (place.querySelector("button") ?? place).focus();
}

function failure(error, retry) {
  if (!(error instanceof Refused)) {
    console.error(error);
    return element("p", { className: "notice wrong" }, `This page has failed (${error.message}): load it again.`);
  }
  if (error.again === null) return element("p", { className: "notice wrong" }, error.message);
  const when = error.again ? ` It can be tried again in ${error.again} s.` : "";
  const again = element("p", { className: "choices" }, button("Try again", retry));
  return element("div", { className: "notice wrong" }, element("p", {}, error.message + when), again);
}
