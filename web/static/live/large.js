// The large view: one photo after the other of the list that one came from, by arrow keys or swipes, or by itself.
import { send } from "./live.js";

const AT_ONCE = 60; // photos that are asked for together
const SECONDS = [2, 3, 5, 8, 15, 30];
const SWIPE = 50; // pixels
const STILL = 3000; // milliseconds without a move, and the slideshow hides its buttons
const FADE = 400;

const PARTS = `
  <img class="slide" alt="">
  <div class="top"><span class="count"></span>
    <label class="seconds" hidden>Seconds <select>${SECONDS.map((n) => `<option>${n}</option>`).join("")}</select></label>
    <button type="button" data-do="play" aria-keyshortcuts="Space" aria-pressed="false"><span aria-hidden="true">▶</span> <span class="text">Slideshow</span></button>
    <button type="button" data-do="favourite" aria-keyshortcuts="f" aria-pressed="false"><span aria-hidden="true">★</span> <span class="text">Favourite</span></button>
    <button type="button" data-do="info" aria-keyshortcuts="i" aria-pressed="false"><span class="i" aria-hidden="true">i</span> <span class="text">Info</span></button>
    <button type="button" data-do="close" aria-label="Close" aria-keyshortcuts="Escape">✕</button></div>
  <button type="button" class="step back" data-do="back" aria-label="Previous photo" aria-keyshortcuts="ArrowLeft">‹</button>
  <button type="button" class="step on" data-do="on" aria-label="Next photo" aria-keyshortcuts="ArrowRight">›</button>
  <div class="info" hidden><dl></dl></div>
  <div class="bottom"><p class="what" role="status"></p></div>`;

// `at`: the photo to begin with. `after(id)`: called when it is closed, with the photo that was seen last.
export function look({ list, at, play = false, after = () => {} }) {
  new Large(list, after).open(at, play);
}

class Large {
  photos = new Map(); // place in the list → photo
  full = new Map(); // id → the original, loaded or loading

  constructor(list, after) {
    [this.list, this.after] = [list, after];
    this.dialog = document.createElement("dialog");
    this.dialog.className = "large";
    this.dialog.tabIndex = -1;
    this.dialog.setAttribute("aria-label", "Large view");
    this.dialog.innerHTML = PARTS;
    this.find = (selector) => this.dialog.querySelector(selector);
    this.seconds = Number(localStorage.getItem("muster.seconds")) || 5;
    this.find("select").value = this.seconds;
  }

  async open(at, play) {
    document.body.append(this.dialog);
    this.listen();
    this.dialog.showModal();
    this.dialog.focus();
    history.pushState({ large: true }, "");
    const place = await this.load({ at });
    if (place === null) return this.dialog.close();
    await this.show(place);
    if (play) this.play(true);
  }

  // ---- the list ----

  async load(asked) {
    const answer = await fetch(`/api/list?${new URLSearchParams({ in: this.list, count: AT_ONCE, ...asked })}`).catch(() => null);
    if (!answer?.ok) return null;
    const found = await answer.json();
    this.total = found.total;
    found.photos.forEach((photo, n) => this.photos.set(found.start + n, photo));
    return found.total ? found.place : null;
  }

  async photo(place) {
    if (!this.photos.has(place)) await this.load({ place });
    return this.photos.get(place);
  }

  // ---- one photo ----

  async show(place) {
    this.asked = place;
    const photo = await this.photo(place);
    if (!photo || this.asked !== place) return; // one went on meanwhile
    [this.place, this.now] = [place, photo];
    this.put(photo);
    this.find(".what").textContent = photo.alt;
    this.find(".count").textContent = `${(place + 1).toLocaleString("en")} of ${this.total.toLocaleString("en")}`;
    this.find("[data-do=back]").disabled = place === 0;
    this.find("[data-do=on]").disabled = place === this.total - 1;
    this.press("favourite", photo.favourite);
    this.tell(photo);
    this.wait();
    for (const near of [place + 1, place - 1]) if (near >= 0 && near < this.total) this.photo(near).then((p) => p && this.original(p));
  }

  // The small copy at once, the original as soon as it is there.
  put(photo) {
    const slide = Object.assign(new Image(photo.width, photo.height), { className: "slide", alt: photo.alt, src: photo.preview });
    const before = [...this.dialog.querySelectorAll(".slide")];
    before.at(-1).after(slide);
    this.slide = slide;
    requestAnimationFrame(() => this.slide === slide && slide.classList.add("now")); // one may have gone on meanwhile
    before.forEach((old) => (old.classList.remove("now"), setTimeout(() => old === this.slide || old.remove(), FADE))); // or back
    const full = this.original(photo);
    full.ready.then(
      () => this.slide === slide && (slide.replaceWith(full.image), (this.slide = Object.assign(full.image, { className: "slide now", alt: photo.alt }))),
      (why) => this.now === photo && (this.find(".what").textContent = `${photo.alt}. ${why}`),
    );
  }

  original(photo) {
    if (!this.full.has(photo.id)) this.full.set(photo.id, loaded(photo.id));
    for (const id of this.full.keys()) if (this.full.size > 5) this.full.delete(id);
    return this.full.get(photo.id);
  }

  tell(photo) {
    const rows = [["Date", photo.when], ["Place", photo.place], ["Camera", photo.camera], ["File", photo.file], ["Size", `${photo.width} × ${photo.height}`]];
    const list = this.find(".info dl");
    list.replaceChildren(...rows.filter(([, said]) => said).flatMap(([name, said]) => [element("dt", name), element("dd", said)]));
    const people = photo.people.map((each) => Object.assign(element("a", each.name), { href: each.href }));
    if (people.length) list.prepend(element("dt", "People"), element("dd", "", people.flatMap((a, n) => (n ? [", ", a] : [a]))));
    const more = Object.assign(element("a", "All about this photo"), { href: pageOf(photo.id, this.list) });
    list.append(element("dt", ""), element("dd", "", [more]));
  }

  press(what, on) {
    this.find(`[data-do=${what}]`).setAttribute("aria-pressed", on);
  }

  // ---- what one can do ----

  step(by) {
    const place = (this.asked ?? 0) + by;
    if (place >= 0 && place < this.total) this.show(place);
  }

  async favourite() {
    const photo = this.now;
    const said = await send("favourite", { photo: photo.id, on: !photo.favourite });
    if (said.error) return void (this.find(".what").textContent = said.error);
    photo.favourite = !photo.favourite;
    if (photo === this.now) this.press("favourite", photo.favourite);
  }

  info(on = this.find(".info").hidden) {
    this.find(".info").hidden = !on;
    this.press("info", on);
  }

  play(on = !this.playing) {
    this.playing = on;
    this.press("play", on);
    this.find(".seconds").hidden = !on;
    this.dialog.classList.toggle("playing", on);
    this.find(".what").setAttribute("aria-live", on ? "off" : "polite");
    if (on) navigator.wakeLock?.request("screen").then((lock) => (this.playing ? (this.lock = lock) : lock.release()), () => {});
    else this.lock?.release().catch(() => {});
    this.wait();
    this.moved();
  }

  wait() {
    clearTimeout(this.timer);
    if (!this.playing) return;
    this.timer = setTimeout(() => this.goOn(), 1000 * this.seconds);
  }

  // The next one, once it is there to be seen; behind the last one the first.
  async goOn() {
    const next = (this.place + 1) % this.total;
    const photo = await this.photo(next);
    if (photo) await this.original(photo).ready.catch(() => {});
    if (this.playing && this.dialog.open && !document.hidden) this.show(next);
    else this.wait();
  }

  moved() {
    this.dialog.classList.remove("still");
    clearTimeout(this.rest);
    this.rest = setTimeout(() => this.dialog.classList.add("still"), STILL);
  }

  // ---- hands ----

  listen() {
    const on = (what, does) => this.dialog.addEventListener(what, does);
    const does = {
      back: () => this.step(-1),
      on: () => this.step(1),
      favourite: () => this.favourite(),
      info: () => this.info(),
      play: () => this.play(),
      close: () => this.dialog.close(),
    };
    const keys = { ArrowLeft: "back", ArrowRight: "on", PageUp: "back", PageDown: "on", f: "favourite", i: "info", " ": "play" };
    on("click", (event) => {
      const what = event.target.closest("[data-do]")?.dataset.do;
      does[what]?.();
      if (what && event.detail) this.dialog.focus(); // by a pointer: the space bar is for the slideshow
    });
    on("keydown", (event) => {
      this.moved();
      if (event.altKey || event.ctrlKey || event.metaKey || event.target.closest("select")) return;
      if (event.key === " " && event.target.closest("button, a")) return;
      const far = { Home: 0, End: this.total - 1 }[event.key];
      if (far !== undefined) this.show(far);
      else if (keys[event.key]) does[keys[event.key]]();
      else if (!/^[a-z?/]$/.test(event.key)) return;
      event.preventDefault();
      event.stopPropagation(); // what is behind does not move
    });
    on("change", ({ target }) => {
      this.seconds = Number(target.value);
      localStorage.setItem("muster.seconds", this.seconds);
      this.wait();
    });
    on("pointermove", () => this.moved());
    on("pointerdown", (event) => (this.from = event));
    on("pointerup", (event) => {
      const [x, y] = [event.clientX - this.from?.clientX, event.clientY - this.from?.clientY];
      if (event.pointerType !== "mouse" && Math.abs(x) > SWIPE && Math.abs(x) > 2 * Math.abs(y)) this.step(x < 0 ? 1 : -1);
    });
    const popped = () => this.dialog.open && this.dialog.close();
    addEventListener("popstate", popped);
    on("close", () => {
      removeEventListener("popstate", popped);
      this.playing && this.play(false);
      this.dialog.remove();
      const end = () => this.after(this.now?.id);
      if (!history.state?.large) return end();
      addEventListener("popstate", end, { once: true });
      history.back();
    });
  }
}

// An original as a picture. `ready` fails with the reason why it is not shown.
function loaded(id) {
  const image = new Image();
  const address = `/original/${id}`;
  const ready = new Promise((resolve, reject) => {
    image.onload = () => image.decode().then(resolve, resolve);
    image.onerror = async () => {
      const answer = await fetch(address).catch(() => null);
      reject(answer && !answer.ok ? await answer.text() : "The original cannot be shown.");
    };
  });
  image.src = address;
  ready.catch(() => {});
  return { image, ready };
}

export const pageOf = (id, list) => `/photo/${id}.html?${new URLSearchParams({ in: list })}`;

function element(name, text, children) {
  const made = document.createElement(name);
  made.textContent = text;
  if (children) made.append(...children);
  return made;
}
