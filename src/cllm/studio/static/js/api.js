// Talking to the server: JSON in, JSON out, and errors as one line that says what to do.

/** What the server refused, or that it could not be reached (status 0). */
export class ApiError extends Error {
  constructor(message, status, fields = {}) {
    super(message);
    this.status = status;
    this.fields = fields;
  }
}

async function send(method, path, body, signal) {
  const options = { method, signal, headers: { accept: "application/json" }, credentials: "same-origin" };
  if (method !== "GET") {
    options.headers["content-type"] = "application/json";
    options.body = JSON.stringify(body ?? {});
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("the studio does not answer: is 'cllm studio' still running?", 0);
  }
  if (!response.ok) {
    const answer = await response.json().catch(() => ({}));
    throw new ApiError(answer.error ?? `the studio answered ${response.status}`, response.status, answer.fields);
  }
  return response;
}

const json = async (...request) => (await send(...request)).json();

export const get = (path, signal) => json("GET", path, undefined, signal);
export const post = (path, body, signal) => json("POST", path, body, signal);
export const put = (path, body) => json("PUT", path, body);
export const del = (path) => json("DELETE", path);

/** POST whose answer is lines of JSON: `onLine` gets each as it comes. Aborting `signal` ends it. */
export async function stream(path, body, onLine, signal) {
  const response = await send("POST", path, body, signal);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) if (line) onLine(JSON.parse(line));
  }
}
