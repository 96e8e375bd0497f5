// Photos that somebody takes, chooses, drops or pastes. They stay in the browser until they are sent.
import { button, element } from "./dom.js";
import { take } from "./camera.js";

const LONGEST = 1600; // pixels of what is sent: faces are looked for in no more
const QUALITY = 0.9; // of the JPEG

// As it is sent. `picture`: what the browser shows of it, upright, of the size that boxes are in; null where it cannot
// show such files.
class Photo {
  constructor(blob, name, picture) {
    Object.assign(this, { blob, name, picture });
  }

  // What is seen, with a box around each of these faces.
  shown(faces = []) {
    if (!this.picture)
      return element("p", { className: "unseen" }, `This browser cannot show ${this.name}. Muster perhaps can.`);
    const { width, height } = this.picture;
    const canvas = element("canvas", { width, height, role: "img", "aria-label": `the photo ${this.name}` });
    const pen = canvas.getContext("2d");
    pen.drawImage(this.picture, 0, 0);
    const line = Math.max(width, height) / 160;
    for (const {
      box_xyxy: [x0, y0, x1, y1],
      label,
    } of faces) {
      for (const [colour, thick] of [
        ["#000", 2 * line],
        ["#ffc145", line],
      ]) {
        Object.assign(pen, { strokeStyle: colour, lineWidth: thick });
        pen.strokeRect(x0, y0, x1 - x0, y1 - y0);
      }
      if (label) this.#write(pen, label, x0, y0, Math.max(6 * line, (x1 - x0) / 5));
    }
    return canvas;
  }

  #write(pen, label, x, y, size) {
    pen.font = `bold ${size}px system-ui, sans-serif`;
    const wide = pen.measureText(label).width + size * 0.6;
    pen.fillStyle = "#ffc145";
    pen.fillRect(x, y, wide, size * 1.2);
    pen.fillStyle = "#000";
    pen.fillText(label, x + size * 0.3, y + size);
  }

  // The face as enrolled ones are cut: the square around it, 1.6 times its box, shifted to stay in the photo.
  crop([x0, y0, x1, y1], side = 160) {
    if (!this.picture)
      return element("span", { className: "face none", role: "img", "aria-label": "cannot be shown here" });
    const { width, height } = this.picture;
    const half = Math.min(0.8 * Math.max(x1 - x0, y1 - y0), width / 2, height / 2);
    const [left, top] = [
      [(x0 + x1) / 2, width],
      [(y0 + y1) / 2, height],
    ].map(([middle, long]) => Math.min(Math.max(middle, half), long - half) - half);
    const canvas = element("canvas", {
      className: "face",
      width: side,
      height: side,
      role: "img",
      "aria-label": "face on the photo",
    });
    canvas.getContext("2d").drawImage(this.picture, left, top, 2 * half, 2 * half, 0, 0, side, side);
    return canvas;
  }
}

// A file of any kind as it is sent: small ones as they are, and those that this browser cannot show.
async function made(file, name) {
  const picture = await createImageBitmap(file).catch(() => null); // upright, as its EXIF says
  const scale = picture ? LONGEST / Math.max(picture.width, picture.height) : 1;
  if (scale >= 1) return new Photo(file, name, picture);
  const canvas = element("canvas", {
    width: Math.round(picture.width * scale),
    height: Math.round(picture.height * scale),
  });
  const pen = canvas.getContext("2d");
  pen.imageSmoothingQuality = "high";
  pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
  picture.close();
  const jpeg = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", QUALITY));
  return new Photo(jpeg, name, await createImageBitmap(canvas));
}

// Where photos are taken in. `most`: how many. `photos`: those there are. `onchange`: told when they have changed.
export class PhotoField {
  constructor(place, legend, most, onchange = () => null) {
    Object.assign(this, { most, onchange, photos: [] });
    place.replaceChildren(document.getElementById("photo-field").content.cloneNode(true));
    this.root = place.querySelector("fieldset");
    this.root.querySelector("legend").textContent = legend;
    const [camera, file] = [this.root.querySelector("button"), this.root.querySelector("input")];
    const hint = most > 1 ? `Up to ${most}. You can also drop or paste them.` : "You can also drop or paste it.";
    this.root.querySelector(".meta").textContent = hint;
    camera.hidden = !navigator.mediaDevices; // none where the address is not https, nor this computer
    camera.addEventListener("click", async () => {
      const still = await take();
      if (still) this.add([still]);
    });
    file.multiple = most > 1;
    file.addEventListener("change", async () => {
      await this.add([...file.files]);
      file.value = "";
    });
    this.root.addEventListener("dragover", (event) => {
      event.preventDefault();
      this.root.classList.add("over");
    });
    for (const name of ["dragleave", "drop"])
      this.root.addEventListener(name, () => this.root.classList.remove("over"));
    this.root.addEventListener("drop", (event) => this.#given(event, event.dataTransfer));
    document.addEventListener("paste", (event) => {
      if (this.root.checkVisibility() && !document.querySelector("dialog[open]"))
        this.#given(event, event.clipboardData);
    });
  }

  #given(event, { files }) {
    if (!files.length) return;
    event.preventDefault();
    this.add([...files]);
  }

  // One more takes the place of the first where there are too many.
  async add(files) {
    const more = await Promise.all(files.map((file) => made(file, file.name)));
    this.photos = [...this.photos, ...more].slice(-this.most);
    this.show();
    this.onchange();
  }

  clear() {
    this.photos = [];
    this.show();
  }

  // With these faces of a photo marked, where it is still there.
  mark(photo, faces) {
    if (this.photos.includes(photo)) this.show(faces);
  }

  show(faces = []) {
    const remove = (photo, place) => {
      this.photos = this.photos.filter((each) => each !== photo);
      this.show();
      this.onchange();
      (this.root.querySelectorAll(".taken button")[place] ?? this.root.querySelector(".drop button")).focus();
    };
    this.root.querySelector(".taken").replaceChildren(
      ...this.photos.map((photo, place) => {
        const label = `Remove ${photo.name}`;
        const gone = Object.assign(
          button("Remove", () => remove(photo, place)),
          { ariaLabel: label },
        );
        return element("li", {}, photo.shown(faces), gone);
      }),
    );
  }

  focus() {
    this.root.querySelector(".drop button:not([hidden]), .drop input").focus();
  }
}
