// Load times over time, as an SVG of dots: green loaded, red did not.

import { seconds } from "./dom.js";

const SPACE = "http://www.w3.org/2000/svg";
const HEIGHT = 140;
const LEFT = 60;

function shape(name, attributes, text = "") {
  const made = document.createElementNS(SPACE, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text) made.textContent = text;
  return made;
}

/** Loads as {at, seconds, status} in order, drawn so wide; the scale of seconds is logarithmic. */
export function chart(loads, width) {
  const slowest = Math.max(...loads.map((load) => load.seconds), 0.01);
  const quickest = Math.max(Math.min(...loads.map((load) => load.seconds)), 0.001);
  const bottom = Math.log10(quickest / 1.5);
  const top = Math.log10(slowest * 1.5);
  const height = (value) => HEIGHT - 10 - ((Math.log10(Math.max(value, quickest)) - bottom) / (top - bottom)) * (HEIGHT - 20);
  const made = shape("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img" });
  made.append(shape("title", {}, `The last ${loads.length} loads took ${seconds(quickest)} to ${seconds(slowest)}`));
  for (let power = Math.ceil(bottom); power <= top; power += 1) {
    made.append(shape("line", { x1: LEFT, x2: width, y1: height(10 ** power), y2: height(10 ** power) }));
    made.append(shape("text", { x: 4, y: height(10 ** power) + 4 }, seconds(10 ** power)));
  }
  loads.forEach((load, index) => {
    const x = LEFT + 10 + ((width - LEFT - 20) * (index + 0.5)) / loads.length;
    made.append(shape("circle", { class: load.status === "loaded" ? "good" : "bad", cx: x, cy: height(load.seconds), r: 4 }));
  });
  return made;
}
