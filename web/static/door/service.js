// The service: who asks it, and what it refuses.

const KEY = "key"; // in the store of this tab alone
const WAIT = 60_000; // milliseconds for an answer: a slow line with four photos
const KEYLESS = ["no_key", "bad_key", "revoked_key", "expired_key"];

export const key = () => sessionStorage.getItem(KEY) ?? "";
export const keep = (text) => sessionStorage.setItem(KEY, text);
export const drop = () => sessionStorage.removeItem(KEY);

// `again`: seconds after which the same may be asked again; null: it will be refused again.
export class Refused extends Error {
  constructor(code, message, again = null) {
    super(message);
    Object.assign(this, { code, again });
  }
}

// The answer, as JSON, or as a Blob where it is a picture. `body`: a Blob is sent as it is, else JSON.
export async function ask(method, path, body) {
  const headers = { authorization: `Bearer ${key()}` };
  const image = body instanceof Blob;
  if (body) headers["content-type"] = image ? body.type || "application/octet-stream" : "application/json";
  const content = image || !body ? body : JSON.stringify(body);
  try {
    const answer = await fetch(path, { method, headers, body: content, signal: AbortSignal.timeout(WAIT) });
    if (!answer.ok) throw await refusal(answer);
    return answer.headers.get("content-type") === "image/jpeg" ? await answer.blob() : await answer.json();
  } catch (error) {
    if (error instanceof Refused) throw error;
    const why = error.name === "TimeoutError" ? `has not answered in ${WAIT / 1000} seconds` : "cannot be reached";
    throw new Refused("network", `Muster ${why}: see whether this computer is in the network.`, 0);
  }
}

async function refusal(answer) {
  const { error } = await answer.json().catch(() => ({}));
  const again = answer.headers.get("retry-after");
  const failed = answer.status >= 500 || answer.status === 408;
  const message = sentence(error?.message ?? `Muster has answered with an error (${answer.status}).`);
  if (KEYLESS.includes(error?.code)) document.dispatchEvent(new CustomEvent("keyless", { detail: message }));
  return new Refused(error?.code ?? "internal", message, again ? Number(again) : failed ? 0 : null);
}

// The service's messages begin in small letters, as those of programs do.
export function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
}

export const personPath = (person) => `/v1/people/${encodeURIComponent(person)}`;

export async function base64(blob) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  let text = "";
  for (let i = 0; i < bytes.length; i += 0x8000) text += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  return btoa(text);
}
