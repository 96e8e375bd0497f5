// A page of questions: keys answer one and go on to the next; all answers are sent together.
import { edit } from "./live.js";

const facesOf = (part) => part.dataset.faces.split(" ");
const all = () => [...document.querySelectorAll(".question")];
const current = () => document.activeElement?.closest(".question") ?? all()[0];

async function save() {
  const answers = all().map((question) => {
    const chosen = question.querySelector(":checked");
    const choices = chosen.value === "yes" ? [chosen.closest("label")] : [...question.querySelectorAll("label[data-faces]")];
    return { answer: chosen.value, faces: facesOf(question), choices: choices.map(facesOf) };
  });
  const answer = await edit("answers", { answers });
  if (answer.status === 200) {
    all()[0]?.querySelector(":checked").focus();
    scrollTo(0, 0);
  }
}

// Which box of a question a key means.
function meant(question, key) {
  const boxes = [...question.querySelectorAll("input")];
  if (key === "n" || key === "k") return boxes.find((box) => box.value === { n: "no", k: "skip" }[key]);
  return boxes.filter((box) => box.value === "yes")[key === "y" ? 0 : Number(key) - 1];
}

document.addEventListener("click", ({ target }) => {
  if (target.closest("[data-answers]")) save();
});

document.addEventListener("keydown", (event) => {
  const question = current();
  if (!question || event.altKey || event.ctrlKey || event.metaKey || document.querySelector("dialog[open]")) return;
  if (!/^[ynk1-5]$/.test(event.key) || event.target.matches("[type=search], [type=text]")) return;
  const box = meant(question, event.key);
  if (!box || box.disabled) return;
  event.preventDefault();
  box.checked = true;
  const next = all()[all().indexOf(question) + 1];
  (next?.querySelector(":checked") ?? document.querySelector("[data-answers]")).focus();
});
