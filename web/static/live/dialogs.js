// Questions, answers and the list of keys.

const dialog = (name) => document.getElementById(name);

export function told(text) {
  document.querySelector(".told.wrong").textContent = "";
  document.querySelector(".told").textContent = text ?? "";
}

export function wrong(text) {
  document.querySelector(".told").textContent = "";
  document.querySelector(".told.wrong").textContent = text ?? "Something went wrong.";
}

// How a dialog was closed: the value of its button, "" by Escape.
function closed(box) {
  const before = document.activeElement;
  box.returnValue = "";
  box.showModal();
  return new Promise((resolve) => {
    box.addEventListener(
      "close",
      () => {
        document.activeElement.blur(); // where nothing was in focus, a field of the dialog stays so for a moment, and takes keys
        if (before?.isConnected) before.focus();
        resolve(box.returnValue);
      },
      { once: true },
    );
  });
}

// One of several: [[value, text]]. The first is in focus.
export async function choose(title, text, choices) {
  const box = dialog("asked");
  box.querySelector("h2").textContent = title;
  box.querySelector("p").textContent = text;
  box.querySelector("form").replaceChildren(
    ...choices.map(([value, words]) => Object.assign(document.createElement("button"), { value, textContent: words })),
  );
  return closed(box);
}

// A text, null where it was not given. `known`: [{name, photos}], to complete it from.
export async function ask(title, label, { value = "", known = [] } = {}) {
  const box = dialog("typed");
  const input = box.querySelector("input");
  box.querySelector("h2").textContent = title;
  box.querySelector("#typed-label").textContent = label;
  box.querySelector("datalist").replaceChildren(
    ...known.map(({ name, photos }) => Object.assign(document.createElement("option"), { value: name, label: `${photos}` })),
  );
  input.value = value;
  const answer = closed(box);
  input.select();
  return (await answer) ? input.value.trim() : null;
}

// All keys of this page, as they stand at its buttons and links.
export function help() {
  const box = dialog("help");
  const keys = [...document.querySelectorAll("[aria-keyshortcuts]")].map((each) => [
    each.getAttribute("aria-keyshortcuts"),
    (each.getAttribute("aria-label") || each.textContent || each.closest("label")?.textContent || "").trim().replace(/\s+/g, " "),
  ]);
  const general = [
    ["← → ↑ ↓", "move"],
    ["Enter", "open"],
    ["Space", "select"],
    ["f", "favourite, of the photo in focus"],
    ["/", "search"],
    ["?", "this list"],
  ];
  const list = [...general, ...keys].flatMap(([key, text]) => {
    const [dt, dd] = ["dt", "dd"].map((tag) => document.createElement(tag));
    dt.append(Object.assign(document.createElement("kbd"), { textContent: key }));
    dd.textContent = text;
    return [dt, dd];
  });
  box.querySelector("dl").replaceChildren(...list);
  closed(box);
}
