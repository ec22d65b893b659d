// The page: what loads and what does not, live. State in, elements out; each part is drawn anew when it changes.

import { Refused, follow, get, remember } from "./api.js";
import { chart } from "./chart.js";
import { count, element, foreign, moment, seconds } from "./dom.js";
import { failure, holdings, place, standing, table, tag } from "./outcome.js";

const FAILING = 50;
const SHOWN = 500;
const RECENT = 200;
const REDRAW = 150;

const state = { sources: new Map(), seen: new Map(), places: {}, twice: [], details: new Map(), asked: [], open: new Set(), sandbox: null, version: null };

const part = (id) => document.querySelector(`section[aria-labelledby="${id}"] .body`);

/** Replace what a part shows, unless it is just the same; whoever has the focus in it keeps it. */
function put(where, ...children) {
  const focused = where.contains(document.activeElement) ? document.activeElement.closest("[data-key]")?.dataset.key : null;
  const next = element("div", {}, ...children);
  if (next.innerHTML === where.innerHTML) return;
  where.replaceChildren(...next.childNodes);
  if (focused) where.querySelector(`[data-key="${CSS.escape(focused)}"] > summary`)?.focus();
}

/** What is known of one script in full: asked for once, and again when it changed. */
async function detail(source) {
  const held = state.details.get(source.id);
  if (held?.stamp === stamp(source)) return;
  state.details.set(source.id, { ...held, stamp: stamp(source) });
  try {
    const whole = await get(`v1/sources/${encodeURIComponent(source.id)}`);
    state.details.set(source.id, { stamp: stamp(source), whole });
  } catch (error) {
    state.details.set(source.id, { stamp: stamp(source), problem: error.message });
  }
  draw();
}

const stamp = (source) => JSON.stringify([source.status, source.stale, source.problem, source.revision, (source.loads ?? []).at(-1)?.at]);

/** The body of one script: why it fails, and what it holds or last held. */
function body(source) {
  const known = state.details.get(source.id);
  if (!known || (!known.whole && !known.problem)) return element("p.quiet", {}, "…");
  if (known.problem) return element("p.error", {}, foreign(known.problem, 500));
  const { outcome, good } = known.whole;
  const held = holdings(source.stale ? good : outcome);
  return [
    source.problem ? element("p.error", {}, foreign(source.problem, 1000)) : null,
    outcome?.error && !source.ok ? failure(outcome.error) : null,
    source.stale && held ? element("h4", {}, "Last known good") : null,
    held,
    (outcome?.notices ?? []).length ? notices(outcome.notices) : null,
  ];
}

function notices(items) {
  const lines = items.slice(0, 20).map((item) => element("li", {}, place(item.file, item.line), " ", foreign(item.message, 500)));
  return element("details", {}, element("summary", {}, count(items.length, "notice")), element("ul", {}, lines));
}

function failing() {
  const bad = [...state.sources.values()].filter((source) => !source.ok || source.problem);
  const shown = bad.slice(0, FAILING);
  shown.forEach(detail);
  const cards = shown.map((source) =>
    element(
      `article.${source.stale ? "stale" : "bad"}`,
      { "data-id": source.id },
      element("header", {}, element("h3", {}, place(source.location)), tag(source.status, "bad"), source.stale ? tag("stale: last good kept", "stale") : null),
      body(source),
    ),
  );
  const places = Object.entries(state.places).filter(([, problem]) => problem);
  put(
    part("failing"),
    places.map(([name, problem]) => element("article.bad", {}, element("h3", {}, place(name)), element("p.error", {}, foreign(problem, 1000)))),
    cards.length || places.length ? cards : element("p.quiet", {}, state.sources.size ? "Everything that is watched loads." : "Nothing is watched: name folders under sources in the configuration."),
    bad.length > shown.length ? element("p.quiet", {}, `… and ${count(bad.length - shown.length, "more script")}`) : null,
  );
}

function sources() {
  const places = Map.groupBy ? Map.groupBy(state.sources.values(), (source) => source.place) : grouped();
  const parts = [...places].map(([name, held]) => [
    element("h3", {}, place(name), " ", element("span.quiet", {}, count(held.length, "script"))),
    held.sort((one, other) => (one.location < other.location ? -1 : 1)).slice(0, SHOWN).map(script),
    held.length > SHOWN ? element("p.quiet", {}, `… and ${held.length - SHOWN} more`) : null,
  ]);
  const twice = state.twice.slice(0, 100).map((item) => element("li", {}, `${item.kind} `, element("b", {}, foreign(item.name, 200)), ": ", foreign(item.places.join(", "), 1000)));
  put(part("sources"), twice.length ? [element("h3", {}, "Names that several scripts use"), element("ul", {}, twice)] : null, parts);
}

function grouped() {
  const found = new Map();
  for (const source of state.sources.values()) found.set(source.place, [...(found.get(source.place) ?? []), source]);
  return found;
}

function script(source) {
  const open = state.open.has(source.id);
  const last = (source.loads ?? []).at(-1);
  const made = element(
    "details",
    { open, "data-key": source.id, "data-id": source.id },
    element("summary", {}, place(source.location), " ", tag(source.ok ? (source.status === "loaded" ? "loaded" : "holds no flow") : source.status, standing(source)), " ",
      element("span.quiet", {}, [count(source.flows, "flow"), count(source.specs, "deployment spec"), last ? seconds(last.seconds) : ""].filter(Boolean).join(", "))),
    open ? body(source) : null,
  );
  return element(`article.${standing(source)}`, {}, made);
}

function loads() {
  const watched = [...state.sources.values()].flatMap((source) => (source.loads ?? []).map((load) => ({ ...load, location: source.location })));
  const all = [...watched, ...state.asked].sort((one, other) => one.at - other.at).slice(-RECENT);
  const rows = all.slice(-10).reverse().map((load) =>
    element("tr", {}, element("td", {}, moment(new Date(load.at * 1000).toISOString())), element("td", {}, load.text ? "a text called " : null, place(load.location)), element("td", {}, tag(load.status, load.status === "loaded" ? "good" : "bad")), element("td.number", {}, seconds(load.seconds))),
  );
  put(part("loads"), all.length ? [chart(all, Math.max(part("loads").clientWidth, 300)), table(["When", "Script", "Status", "Took"], rows)] : element("p.quiet", {}, "Nothing was loaded yet."));
}

function sandbox() {
  const known = state.sandbox;
  if (!known) return put(part("sandbox"), element("p.quiet", {}, "looking …"));
  if (known.trouble) return put(part("sandbox"), element("p.error", {}, foreign(known.trouble, 1000)));
  const profiles = (known.profiles ?? []).map((item) =>
    element("tr", {}, element("td", {}, foreign(item.name, 100)), element("td", {}, tag(item.available ? "available" : "unavailable", item.available ? "good" : "bad")), element("td", {}, foreign([item.message, item.remedy].filter(Boolean).join(" "), 1000))),
  );
  const mechanisms = (known.mechanisms ?? []).map((item) =>
    element("tr", {}, element("td", {}, foreign(item.name, 100)), element("td", {}, tag(item.works ? "works" : "missing", item.works ? "good" : "bad")), element("td", {}, foreign(item.works ? item.purpose : [item.cause ?? item.error, item.remedy].filter(Boolean).join("; "), 1000))),
  );
  put(part("sandbox"), table(["Profile", "Here", "Why not"], profiles), table(["Mechanism", "Here", "What for"], mechanisms));
}

function counts() {
  const all = [...state.sources.values()];
  const sum = (name) => all.reduce((total, source) => total + (source[name] ?? 0), 0);
  const bad = all.filter((source) => !source.ok).length;
  const stale = all.filter((source) => source.stale).length;
  const tile = (number, word, kind = "") => element(`div${number && kind ? `.${kind}` : ""}`, {}, element("b", {}, number.toLocaleString("en")), word);
  put(document.getElementById("counts"), tile(all.length, all.length === 1 ? "script" : "scripts"), tile(bad, "failing", "bad"), tile(stale, "stale", "stale"), tile(sum("flows"), "flows"), tile(sum("specs"), "deployment specs"));
  document.title = bad ? `(${bad}) flow-loader` : "flow-loader";
}

let waiting = null;

/** Draw what changed, a few times a second at most. */
function draw() {
  waiting ??= setTimeout(() => {
    waiting = null;
    [counts, failing, sources, loads, sandbox].forEach((redraw) => redraw());
  }, REDRAW);
}

/** Look at everything, page by page: at the beginning, and when events were missed. */
async function look() {
  const seen = (state.seen = new Map());
  let found = { next: "" };
  while (found.next != null) {
    found = await get(`v1/sources?after=${encodeURIComponent(found.next)}`);
    found.sources.forEach((source) => seen.set(source.id, source));
  }
  if (state.seen !== seen) return; // another look began meanwhile
  state.sources = seen;
  state.places = found.places ?? {};
  state.twice = found.twice ?? [];
  draw();
}

function told({ kind, data }) {
  if (kind === "source") {
    const before = state.sources.get(data.id);
    const now = { ...before, ...data, revision: (before?.revision ?? 0) + 1 };
    [state.sources, state.seen].forEach((held) => held.set(data.id, now));
  } else if (kind === "removed") [state.sources, state.seen].forEach((held) => held.delete(data.id));
  else if (kind === "place") state.places[data.place] = data.problem;
  else if (kind === "twice") state.twice = data.names;
  else if (kind === "load") state.asked = [...state.asked, { ...data, at: Date.parse(data.at) / 1000 }].slice(-RECENT);
  else look().catch(refused);
  draw();
}

function say(how, why = "the daemon does not answer; trying again …") {
  const line = document.getElementById("state");
  line.className = how;
  line.textContent = how === "live" ? `live${state.version ? `, version ${state.version}` : ""}` : why;
}

/** Say why nothing is shown, if that is refused and asking again is of no use; whether it is. */
function refused(error) {
  const final = error instanceof Refused && error.status < 429;
  if (final) say("broken", error.message);
  return final;
}

async function begin() {
  try {
    await look();
  } catch (error) {
    if (error instanceof Refused && error.status === 401) return ask();
    if (refused(error)) return;
    say("broken");
    return void setTimeout(begin, 2000);
  }
  get("v1/version").then((found) => { state.version = found.version; say("live"); }, () => {});
  get("v1/sandbox").then((found) => { state.sandbox = found; draw(); }, (error) => { state.sandbox = { trouble: error.message }; draw(); });
  follow("v1/events", told, (how) => { say(how); if (how === "live") look().catch(refused); }).catch((error) => say("broken", error.message));
}

function ask() {
  const form = document.getElementById("token");
  form.hidden = false;
  document.getElementById("bearer").focus();
  document.getElementById("state").textContent = "waits for its token";
}

document.getElementById("token").addEventListener("submit", (event) => {
  event.preventDefault();
  remember(document.getElementById("bearer").value);
  event.target.hidden = true;
  event.target.reset();
  begin();
});

document.addEventListener("toggle", (event) => {
  const key = event.target.dataset?.key;
  if (!key) return;
  if (event.target.open === state.open.has(key)) return;
  if (event.target.open) state.open.add(key);
  else state.open.delete(key);
  const source = state.sources.get(key);
  if (source && event.target.open) detail(source);
  draw();
}, true);

begin();
