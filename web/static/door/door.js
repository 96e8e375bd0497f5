// The page of the service: who is signed in, what they may see, and which part is shown.
import { once, wrong } from "./answers.js";
import { allow } from "./faces.js";
import { ask, drop, keep, key } from "./service.js";
import { known, refresh } from "./known.js";
import "./enrol.js";
import "./identify.js";
import "./people.js";
import "./verify.js";

const ROLES = ["asks", "enrols", "administers"]; // each may do what those before it may
const signIn = document.getElementById("sign-in");
const signed = document.getElementById("signed");
const nav = document.querySelector("nav");
const form = signIn.querySelector("form");
const place = form.querySelector(".answer");
const links = [...nav.querySelectorAll("a")];

async function enter() {
  const me = await ask("GET", "/v1/me");
  const may = (role) => ROLES.indexOf(me.role) >= ROLES.indexOf(role);
  known.may = may("enrols");
  allow(known.may);
  if (known.may) await refresh();
  for (const each of document.querySelectorAll("[data-role]")) each.hidden = !may(each.dataset.role);
  signed.querySelector(".meta").textContent = me.name;
  form.key.value = "";
  signIn.hidden = true;
  nav.hidden = signed.hidden = false;
  turn();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = form.key.value.trim();
  const sendable = /^[\x21-\x7e]+$/.test(text); // a header holds no others
  if (!sendable) return wrong(place, "That is no key: copy it whole, from muster_ on.");
  keep(text);
  once(place, "Signing in …", enter);
});

signed.querySelector("button").addEventListener("click", leave);

// With all that was in memory.
function leave() {
  drop();
  location.replace("/");
}

// Of a key that is wrong, or was revoked meanwhile.
document.addEventListener("keyless", ({ detail }) => {
  drop();
  if (!signIn.hidden) return;
  sessionStorage.setItem("said", detail);
  leave();
});

// The part that the address names.
function turn() {
  if (nav.hidden) return;
  const named = links.find((link) => !link.hidden && link.hash === location.hash);
  const here = named ?? links.find((link) => link.ariaCurrent) ?? links[0];
  if (here.ariaCurrent) return; // the address named something within
  for (const link of links) {
    const [section, chosen] = [document.querySelector(link.hash), link === here];
    section.hidden = !chosen;
    link.ariaCurrent = chosen ? "page" : null;
  }
  document.title = `${here.textContent} · At the door`;
  document.querySelector(`${here.hash} h1`).focus();
  document.querySelector(here.hash).dispatchEvent(new Event("shown"));
}

addEventListener("hashchange", turn);

if (key()) {
  form.key.value = key();
  once(place, "Signing in …", enter);
} else if (sessionStorage.getItem("said")) {
  wrong(place, sessionStorage.getItem("said"));
  sessionStorage.removeItem("said");
}
signIn.hidden = false;
form.key.focus();
