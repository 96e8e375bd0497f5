// How an answer looks: in a word, a sign and a colour; faces side by side; the numbers in small.
import { element } from "./dom.js";

const SIGNS = { yes: "✓", no: "✗", unsure: "?" };

// `kind`: yes, no or unsure.
export function verdict(kind, word, text, ...more) {
  return element(
    "div",
    { className: `verdict ${kind}` },
    element(
      "p",
      { className: "word" },
      element("span", { className: "sign", "aria-hidden": "true" }, SIGNS[kind]),
      word,
    ),
    element("p", { className: "says" }, text),
    ...more,
  );
}

// Pictures side by side: [picture, what it is]; of a picture that may not be shown, what it is.
export function pair(...pictures) {
  const shown = pictures
    .filter(Boolean)
    .map(([picture, text]) => element("figure", {}, picture, element("figcaption", { className: "meta" }, text)));
  return element("div", { className: "pair" }, ...shown);
}

export function scores({ score, threshold, unsure_from: unsure }) {
  const [is, from, doubt] = [score, threshold, unsure].map((each) => each.toFixed(2));
  const text = `Score ${is}; a match from ${from} on`;
  return element("p", { className: "meta" }, doubt === from ? `${text}.` : `${text}, unsure from ${doubt} on.`);
}
