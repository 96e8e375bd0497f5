// The box proposes what the last word may go on with: names, things, places, cameras.
"use strict";

const box = document.querySelector("[type=search]");
const proposed = document.getElementById("queries");
let asked = "";

async function propose() {
  if (box.value === asked) return;
  asked = box.value;
  const answer = await fetch(`/api/complete?${new URLSearchParams({ q: asked })}`).catch(() => null);
  if (!answer?.ok || box.value !== asked) return; // more was typed meanwhile
  const { queries } = await answer.json();
  proposed.replaceChildren(...queries.map((query) => Object.assign(document.createElement("option"), { value: query })));
}

if (box && proposed) {
  let soon;
  box.addEventListener("focus", propose);
  box.addEventListener("input", () => {
    clearTimeout(soon);
    soon = setTimeout(propose, 120);
  });
}
