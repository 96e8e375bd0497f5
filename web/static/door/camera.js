// A still of a camera. The camera is on while its dialog is open.
import { closed, element } from "./dom.js";

const box = document.getElementById("camera");
const [video, choice, wrong, shutter] = ["video", "select", ".wrong", "button"].map((each) => box.querySelector(each));
let chosen = ""; // the camera that was last chosen
let stream = null;

const SAID = {
  NotAllowedError: "This page may not use the camera: allow it beside the address, and try again.",
  NotFoundError: "There is no camera here: choose a file instead.",
  NotReadableError: "The camera is in use by another program: close that, and try again.",
};

function off() {
  stream?.getTracks().forEach((track) => track.stop());
  stream = null;
}

async function on() {
  off();
  shutter.disabled = true;
  wrong.textContent = "";
  const which = chosen ? { deviceId: { exact: chosen } } : { facingMode: "environment" };
  try {
    const started = await navigator.mediaDevices.getUserMedia({
      video: { ...which, width: { ideal: 1600 }, height: { ideal: 1200 } },
    });
    if (!box.open) return started.getTracks().forEach((track) => track.stop()); // closed meanwhile
    stream = started;
    video.srcObject = stream;
    await video.play();
    await list();
    shutter.disabled = false;
    shutter.focus();
  } catch (error) {
    if (box.open) wrong.textContent = SAID[error.name] ?? `The camera does not start: ${error.message}`;
  }
}

async function list() {
  const cameras = (await navigator.mediaDevices.enumerateDevices()).filter(({ kind }) => kind === "videoinput");
  const current = stream.getVideoTracks()[0].getSettings().deviceId;
  choice.replaceChildren(
    ...cameras.map(({ deviceId, label }, place) =>
      element("option", { value: deviceId, selected: deviceId === current }, label || `Camera ${place + 1}`),
    ),
  );
  choice.parentElement.hidden = cameras.length < 2;
}

choice.addEventListener("change", () => {
  chosen = choice.value;
  on();
});

// A File, or null where none was taken.
export async function take() {
  const done = closed(box);
  on();
  const taken = (await done) === "take" && stream ? await still() : null;
  off();
  video.srcObject = null;
  return taken;
}

async function still() {
  const canvas = element("canvas", { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext("2d").drawImage(video, 0, 0);
  const jpeg = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.95));
  return new File([jpeg], "of the camera", { type: "image/jpeg" });
}
