// What one script holds or why it does not load, as elements.

import { block, count, element, foreign, moment, seconds } from "./dom.js";

const GOOD = new Set(["loaded"]);

/** The tag of a status, in words and colour. */
export const tag = (status, kind) => element(`span.tag.${kind}`, {}, foreign(String(status).replaceAll("_", " "), 40));

/** A file with a line, if it is known. */
export function place(file, line) {
  if (!file) return null;
  return element("span.path", {}, foreign(line ? `${file}:${line}` : file, 300));
}

/** What is wrong with a script: the last frame, the message, the hint, and the whole traceback to open. */
export function failure(error) {
  const frame = (error.frames ?? []).at(-1);
  return [
    element("p.error", {}, foreign(`${error.type ? `${error.type}: ` : ""}${error.message}`, 1000)),
    frame ? element("p", {}, place(frame.file, frame.line), " ", frame.source ? element("code", {}, foreign(frame.source, 300)) : "") : null,
    error.hint ? element("p.hint", {}, foreign(error.hint, 1000)) : null,
    error.traceback ? element("details", {}, element("summary", {}, "Traceback"), block(error.traceback)) : null,
  ];
}

/** The parameters of a flow, by its JSON Schema. */
function parameters(schema) {
  const properties = Object.entries(schema?.properties ?? {}).slice(0, 100);
  if (!properties.length) return null;
  const required = new Set(schema.required ?? []);
  const rows = properties.map(([name, about]) =>
    element(
      "tr",
      {},
      element("td", {}, element("code", {}, foreign(name, 200))),
      element("td", {}, foreign(type(about), 200)),
      element("td", {}, required.has(name) ? "required" : element("code", {}, foreign(JSON.stringify(about.default ?? null), 200))),
    ),
  );
  return table(["Parameter", "Type", "Default"], rows);
}

function type(about) {
  if (about.type) return about.type;
  const several = about.anyOf ?? about.oneOf ?? about.allOf ?? [];
  if (several.length) return several.slice(0, 5).map(type).join(" | ");
  return about.$ref ? about.$ref.split("/").at(-1) : "any";
}

/** A table that scrolls by itself where it is too wide. */
export function table(heads, rows) {
  const head = element("thead", {}, element("tr", {}, heads.map((text) => element("th", { scope: "col" }, text))));
  return element("div.wide", { tabindex: 0, role: "region", "aria-label": heads.join(", ") }, element("table", {}, head, element("tbody", {}, rows)));
}

function flow(item) {
  return element(
    "li",
    {},
    element("details", {}, element("summary", {}, "flow ", element("b", {}, foreign(item.name, 200)), " ", place(item.file, item.line)),
      item.description ? element("p", {}, foreign(item.description, 1000)) : null,
      parameters(item.parameters)),
  );
}

function schedule(value) {
  if (!value) return "no schedule";
  if (value.cron) return `cron ${value.cron}${value.timezone ? ` ${value.timezone}` : ""}`;
  if (value.rrule) return `rrule ${value.rrule}`;
  if (value.interval) return `every ${seconds(Number(value.interval)) || value.interval}`;
  return JSON.stringify(value);
}

function spec(item) {
  const runs = (item.next_runs ?? []).slice(0, 3);
  return element(
    "li",
    {},
    "deployment ",
    element("b", {}, foreign(item.name ?? item.flow_name ?? "—", 200)),
    " ",
    item.valid === false ? tag("not valid", "bad") : null,
    " ",
    element("span.quiet", {}, foreign(schedule(item.schedule), 300)),
    (item.problems ?? []).slice(0, 20).map((text) => element("p.error", {}, foreign(text, 1000))),
    runs.length ? element("p.quiet", {}, "next ", runs.flatMap((run, index) => (index ? [", ", moment(run)] : [moment(run)]))) : null,
  );
}

/** The flows and specs of an outcome. */
export function holdings(outcome) {
  const flows = outcome?.flows ?? [];
  const specs = outcome?.specs ?? [];
  if (!flows.length && !specs.length) return null;
  const more = flows.length + specs.length - 200;
  return element("ul", {}, flows.slice(0, 100).map(flow), specs.slice(0, 100).map(spec), more > 0 ? element("li.quiet", {}, `… and ${count(more, "more thing")}`) : null);
}

/** How a script stands: good, bad, or bad with what was last good beside it. */
export const standing = (script) => (script.stale ? "stale" : GOOD.has(script.status) ? "good" : "bad");
