// @ts-check
// Small helpers for building elements. Text from data goes in through textContent only.

const SVG_NS = "http://www.w3.org/2000/svg";

/**
 * Sets attributes, `text` and listeners (`onclick` …) of an element and appends the children that there are.
 * @template {Element} E
 * @param {E} element
 * @param {Attributes} attributes
 * @param {Child[]} children
 */
function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (name === "text") element.textContent = String(value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children) if (child) element.append(child);
  return element;
}

/** @type {<T extends keyof HTMLElementTagNameMap>(tag: T, attributes: Attributes, ...children: Child[]) => HTMLElementTagNameMap[T]} */
const html = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
/** @type {<T extends keyof SVGElementTagNameMap>(tag: T, attributes: Attributes, ...children: Child[]) => SVGElementTagNameMap[T]} */
const svg = (tag, attributes, ...children) => fill(document.createElementNS(SVG_NS, tag), attributes, children);

/**
 * The element around an event's target that a selector names.
 * @type {(event: Event, selector: string) => HTMLElement | SVGElement | null}
 */
function around({ target }, selector) {
  return target instanceof Element ? target.closest(selector) : null;
}

/** The element that has the focus in the tree (page or shadow root) of an element. @type {(element: Element) => Element | null} */
function focusedBeside(element) {
  const tree = element.getRootNode();
  return tree instanceof Document || tree instanceof ShadowRoot ? tree.activeElement : null;
}

const ICONS = {
  minus: "M3 8h10",
  plus: "M8 3v10M3 8h10",
  fit: "M2.5 6V2.5H6M10 2.5h3.5V6M13.5 10v3.5H10M6 13.5H2.5V10",
  fold: "M2.5 8h11M8 1.5v4M6.2 3.8L8 5.6l1.8-1.8M8 14.5v-4M6.2 12.2L8 10.4l1.8 1.8",
  full: "M6.5 9.5l-4 4M2.5 9.8v3.7h3.7M9.5 6.5l4-4M13.5 6.2V2.5H9.8",
  trace: "M4 13.5a1.5 1.5 0 100-3 1.5 1.5 0 000 3zM12 5.5a1.5 1.5 0 100-3 1.5 1.5 0 000 3zM4 10.5V8a3 3 0 013-3h3.5",
  filter: "M2 3.5h12l-4.7 5.6v4l-2.6-1.3V9.1z",
  group: "M2.5 2.5h5v5h-5zM8.5 8.5h5v5h-5zM10.5 2.5h3v3M2.5 10.5v3h3",
  save: "M8 2.5v7M5 6.8l3 3 3-3M2.5 11.5v2h11v-2",
  legend: "M2 4h3M7.5 4H14M2 8h3M7.5 8H14M2 12h3M7.5 12H14",
  erase: "M6 13.5h7.5M2.7 9.8l6.4-6.4 4 4-6.1 6.1H5.2z",
  add: "M4 12.5a1.5 1.5 0 100-3 1.5 1.5 0 000 3zM5 10l5-5M11.5 1.5v5M9 4h5",
  point: "M4 2l8.5 6.2-4 .7-1.8 3.8z",
  more: "M3.5 8h.01M8 8h.01M12.5 8h.01",
  close: "M4 4l8 8M12 4l-8 8",
  link: "M6.5 9.5l3-3M7 4.5l1.2-1.2a2.8 2.8 0 014 4L11 8.5M9 11.5l-1.2 1.2a2.8 2.8 0 01-4-4L5 7.5",
};

/** @type {(name: IconName) => SVGSVGElement} */
function icon(name) {
  return svg(
    "svg",
    { viewBox: "0 0 16 16", width: 16, height: 16, class: "icon", "aria-hidden": "true", focusable: "false" },
    svg("path", { d: ICONS[name], fill: "none", stroke: "currentColor", "stroke-width": 1.5, "stroke-linecap": "round", "stroke-linejoin": "round" }),
  );
}

/** An icon button with a tooltip that is also its accessible name. @type {(options: ButtonOptions) => HTMLButtonElement} */
function button({ name, label, title, text, pressed, className = "", onclick }) {
  const made = html("button", { type: "button", class: `button ${className}`, "aria-label": label, title: title ?? label, onclick });
  if (name) made.append(icon(name));
  if (text) made.append(html("span", { class: "button-text", text }));
  if (pressed !== undefined) made.setAttribute("aria-pressed", String(pressed));
  return made;
}

/** @type {(value: number) => string} */
const whole = (value) => Math.round(value).toLocaleString("en-US");

/** A score with its sign, four significant digits. @type {(value: number) => string} */
function signed(value) {
  if (!Number.isFinite(value)) return "not scored";
  const size = Math.abs(value);
  const digits = size === 0 ? "0" : size < 1e-4 || size >= 1e5 ? Number(size.toPrecision(4)).toExponential().replace("-", "−").replace("e+", "e") : String(Number(size.toPrecision(4)));
  return (value > 0 ? "+" : value < 0 ? "−" : "±") + digits;
}

/** Runs `task` once things are quiet for `delay` ms. @type {(task: () => void, delay: number) => Deferred} */
function debounce(task, delay) {
  let timer = 0;
  const run = () => {
    clearTimeout(timer);
    timer = setTimeout(task, delay);
  };
  run.cancel = () => clearTimeout(timer);
  return run;
}

/** At most one call of `task` per frame. @type {(task: () => void) => Deferred} */
function perFrame(task) {
  let frame = 0;
  const run = () => {
    if (!frame) frame = requestAnimationFrame(() => ((frame = 0), task()));
  };
  run.cancel = () => {
    cancelAnimationFrame(frame);
    frame = 0;
  };
  return run;
}

/** @type {(filename: string, content: string | Blob, type: string) => void} */
function download(filename, content, type) {
  const url = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  const anchor = html("a", { href: url, download: filename });
  document.body.append(anchor);
  anchor.click();
  anchor.remove();
  setTimeout(() => URL.revokeObjectURL(url), 4000);
}
