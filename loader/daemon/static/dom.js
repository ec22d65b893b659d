// Elements made of text that may be hostile: nothing of it is ever read as markup.

const HIDDEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0\ufe00-\ufe0f]/gu;
const KEPT = new Set(["\n", "\t"]);

/** Foreign text with every character that would hide, move or reorder others written as its number. */
export function visible(text, most = 2000) {
  const whole = String(text ?? "");
  const short = whole.length > most ? `${whole.slice(0, most)} … (${whole.length - most} more characters)` : whole;
  return short.replace(HIDDEN, (one) => (KEPT.has(one) ? one : `\\u{${one.codePointAt(0).toString(16)}}`));
}

/** An element with attributes and children; a child is an element, or text that is shown as it is. */
export function element(tag, attributes = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const made = document.createElement(name);
  if (classes.length) made.className = classes.join(" ");
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

/** Foreign text on a line of its own reading order. */
export const foreign = (text, most) => element("bdi", {}, visible(text, most));

/** A foreign text of several lines, such as a traceback. */
export const block = (text, most = 20000) => element("pre", { tabindex: 0 }, element("bdi", {}, visible(text, most)));

/** A number of things: "1 flow", "2 flows". */
export const count = (number, word) => `${number.toLocaleString("en")} ${word}${number === 1 ? "" : "s"}`;

/** Seconds as a reader wants them. */
export function seconds(value) {
  if (value === null || value === undefined) return "";
  if (value < 1) return `${Math.max(1, Math.round(value * 1000))} ms`;
  return value < 60 ? `${value.toFixed(1)} s` : `${Math.floor(value / 60)} min ${Math.round(value % 60)} s`;
}

/** A moment in the reader's own time zone, with the exact one beside it. */
export function moment(iso) {
  const when = new Date(iso);
  if (Number.isNaN(when.getTime())) return foreign(iso, 40);
  return element("time", { datetime: when.toISOString(), title: iso }, when.toLocaleString());
}
