// A box around a face that was missed: drawn with a pointer, or moved and sized by arrow keys.

const STEP = 0.01; // of the picture's longer side
const LEAST = 0.01;
const HOW = "Drag over the face. Or: arrow keys move the box, with Shift they change its size. Enter takes it, Escape leaves it.";

// [x0, y0, x1, y1] in pixels of a photo of `width` × `height`; null where there is to be none.
export function draw(stage, note, { width, height }) {
  const longer = Math.max(width, height);
  const [dx, dy] = [(STEP * longer) / width, (STEP * longer) / height];
  let [x, y, w, h] = [0.5, 0.4, 16 * dx, 20 * dy]; // middle and size, as shares of the picture
  let from = null;

  const draft = document.createElement("div");
  draft.className = "mark draft";
  draft.tabIndex = 0;
  draft.setAttribute("role", "application");
  draft.setAttribute("aria-label", "Box for a face");
  draft.setAttribute("aria-describedby", note.id);
  const bar = document.createElement("p");
  bar.className = "draft-bar";
  bar.innerHTML = '<button type="button" class="button" value="take">Take this box</button> <button type="button" class="button">Cancel</button>';
  note.textContent = HOW;
  note.after(bar);

  const keep = (value, size) => Math.min(Math.max(value, size / 2), 1 - size / 2);
  const put = () => {
    [w, h] = [w, h].map((size) => Math.min(Math.max(size, LEAST), 1));
    [x, y] = [keep(x, w), keep(y, h)];
    for (const [name, value] of Object.entries({ "--x": x, "--y": y, "--bw": w, "--bh": h })) draft.style.setProperty(name, `${100 * value}%`);
  };
  const where = (event) => {
    const box = stage.getBoundingClientRect();
    const share = (value, start, size) => Math.min(Math.max((value - start) / size, 0), 1);
    return [share(event.clientX, box.left, box.width), share(event.clientY, box.top, box.height)];
  };

  return new Promise((resolve) => {
    const signal = new AbortController();
    const on = (target, what, does) => target.addEventListener(what, does, { signal: signal.signal });
    const end = (taken) => {
      signal.abort();
      draft.remove();
      bar.remove();
      note.textContent = "";
      stage.classList.remove("drawing");
      const box = [(x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height];
      resolve(taken ? box.map((value) => Math.round(10 * value) / 10) : null);
    };
    on(draft, "keydown", (event) => {
      const [right, down] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] ?? [0, 0];
      if (event.key === "Enter" || event.key === "Escape") end(event.key === "Enter");
      else if (!right && !down) return;
      else if (event.shiftKey) [w, h] = [w + right * dx, h + down * dy];
      else [x, y] = [x + right * dx, y + down * dy];
      put();
      event.preventDefault();
      event.stopPropagation();
    });
    on(stage, "pointerdown", (event) => {
      from = where(event);
      stage.setPointerCapture(event.pointerId);
      event.preventDefault();
    });
    on(stage, "pointermove", (event) => {
      if (!from) return;
      const to = where(event);
      [x, y, w, h] = [(from[0] + to[0]) / 2, (from[1] + to[1]) / 2, Math.abs(to[0] - from[0]), Math.abs(to[1] - from[1])];
      put();
    });
    on(stage, "pointerup", () => {
      from = null;
      draft.focus();
    });
    on(bar, "click", ({ target }) => target.closest("button") && end(target.value === "take"));
    on(document, "muster:shown", () => end(false));
    stage.classList.add("drawing");
    stage.append(draft);
    put();
    draft.focus();
  });
}
