// Who is this? Each face of a photo, among everybody.
import { once, show, wrong } from "./answers.js";
import { count, element } from "./dom.js";
import { face } from "./faces.js";
import { known, personOf, titleOf } from "./known.js";
import { PhotoField } from "./photos.js";
import { ask, sentence } from "./service.js";
import { pair, scores, verdict } from "./verdict.js";

const form = document.querySelector("#identify form");
const place = form.querySelector(".answer");
const photos = new PhotoField(form.querySelector(".photos-of"), "Photo", 1, () => show(place, null));

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const [photo] = photos.photos;
  if (!photo) {
    wrong(place, "Take or choose a photo.");
    return photos.focus();
  }
  once(place, "Looking …", async () => {
    const { images, remark } = await ask("POST", "/v1/identify", photo.blob);
    const faces = images[0].faces.sort((a, b) => a.box_xyxy[0] - b.box_xyxy[0]); // from left to right
    const many = faces.length > 1;
    faces.forEach((each, place) => (each.label = many ? String(place + 1) : ""));
    photos.mark(photo, faces);
    return element(
      "div",
      { className: "verdicts" },
      !faces.length && element("p", { className: "notice" }, "There is no face on the photo: take another one."),
      many && element("p", { className: "found" }, `${count(faces.length, "face")} on the photo, from left to right.`),
      ...faces.map((each) => said(each, photo)),
      remark && element("p", { className: "meta" }, sentence(remark)),
    );
  });
});

function said(found, photo) {
  const here = [photo.crop(found.box_xyxy), found.label ? `face ${found.label}` : "on the photo"];
  const why = found.reason && element("p", {}, sentence(found.reason));
  if (found.person_id === "UNKNOWN") {
    return verdict("no", "Not recognised", "This is nobody who is enrolled here.", why, pair(here), scores(found));
  }
  if (found.person_id === "UNSURE") {
    const candidates = found.candidates.map((each) => [enrolled(each), `${titleOf(each)} · ${each.score.toFixed(2)}`]);
    return verdict(
      "unsure",
      "Unsure",
      "It may be somebody of these: look yourself.",
      why,
      pair(here, ...candidates),
      scores(found),
    );
  }
  return verdict(
    "yes",
    titleOf(found),
    described(found),
    pair(here, known.may && [enrolled(found), "enrolled"]),
    scores(found),
  );
}

const enrolled = (each) => face(each.person_id, titleOf(each));

function described({ person_id }) {
  return [person_id, personOf(person_id)?.group].filter(Boolean).join(" · ");
}

form.addEventListener("reset", () => {
  photos.clear();
  show(place, null);
  photos.focus();
});
