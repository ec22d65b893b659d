// What the daemon is asked: JSON by fetch, and its events as a stream that is taken up where it broke off.

const WAITS = [500, 1000, 2000, 5000, 10000];

export class Refused extends Error {
  constructor(problem) {
    super(problem.detail || problem.title || "cannot say why");
    this.status = problem.status;
  }
}

const token = () => sessionStorage.getItem("token");

function headers(more = {}) {
  return token() ? { ...more, Authorization: `Bearer ${token()}` } : more;
}

/** Keep the token for as long as this tab is open. */
export const remember = (value) => sessionStorage.setItem("token", value);

/** The JSON at a path; throws Refused for a problem of the request, TypeError when nobody answers. */
export async function get(path) {
  const answer = await fetch(path, { headers: headers({ Accept: "application/json" }), cache: "no-store" });
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused({ status: answer.status, ...body });
  return body;
}

/** Every event from now on, as {id, kind, data}; ``state`` is told "live" and "broken". Never ends. */
export async function follow(path, told, state) {
  let last = null;
  for (let failures = 0; ; failures += 1) {
    try {
      const answer = await fetch(path, {
        headers: headers({ Accept: "text/event-stream", ...(last ? { "Last-Event-ID": last } : {}) }),
        cache: "no-store",
      });
      if (!answer.ok) throw new Refused({ status: answer.status, ...(await answer.json().catch(() => ({}))) });
      state("live");
      failures = 0;
      for await (const event of events(answer.body)) {
        last = event.id ?? last;
        told(event);
      }
    } catch (error) {
      if (error instanceof Refused && error.status < 429) throw error;
    }
    state("broken");
    await new Promise((resolve) => setTimeout(resolve, WAITS[Math.min(failures, WAITS.length - 1)]));
  }
}

/** The events of a stream, by the rules of the HTML standard for text/event-stream. */
async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let event = { data: [] };
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines.map((item) => item.replace(/\r$/, ""))) {
      if (line === "") {
        if (event.data.length) yield { id: event.id, kind: event.kind, data: JSON.parse(event.data.join("\n")) };
        event = { data: [] };
        continue;
      }
      const [, field, text] = /^([^:]*):? ?(.*)$/.exec(line);
      if (field === "data") event.data.push(text);
      else if (field === "id") event.id = text;
      else if (field === "event") event.kind = text;
    }
  }
}
