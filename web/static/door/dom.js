// Small words for what the modules make of the document.

// element("p", { className: "meta" }, "text", other, …); of its children, what is false or null is left out.
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children.filter((each) => each !== null && each !== undefined && each !== false));
  return made;
}

export function button(text, onclick) {
  return element("button", { type: "button", onclick }, text);
}

// The dialog, until it is closed: the value of its button, "" by Escape. Focus goes back to where it was.
export function closed(dialog) {
  const before = document.activeElement;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener(
      "close",
      () => {
        if (before?.isConnected) before.focus();
        resolve(dialog.returnValue);
      },
      { once: true },
    );
  });
}

export const count = (number, one, many = `${one}s`) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;

// 2027-07-31 → 31 July 2027
export function day(text) {
  const settings = { day: "numeric", month: "long", year: "numeric", timeZone: "UTC" };
  return new Date(`${text.slice(0, 10)}T00:00Z`).toLocaleDateString("en-GB", settings);
}
