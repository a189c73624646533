// @ts-check
// What colours, dashes, widths, ports and marks mean; the text also enters exported pictures.

const KIND_TEXT = {
  found: "found: in the known circuit and selected",
  missed: "missed: in the known circuit, not selected",
  extra: "extra: selected, not in the known circuit",
};

/** Names of the edge classes in use, in legend order. @type {(data: Payload) => Map<string, string>} */
function edgeKinds(data) {
  const kinds = new Map();
  if (data.compare) {
    kinds.set("only-a", `only ${data.compare.a}`);
    kinds.set("both", "both");
    kinds.set("only-b", `only ${data.compare.b}`);
    kinds.set("flipped", "sign flipped");
  } else if (data.truth) {
    for (const [kind, text] of Object.entries(KIND_TEXT)) kinds.set(kind, text);
  }
  return kinds;
}

/** @type {(className: string, look?: { width?: number, kind?: string }) => SVGSVGElement} */
function sample(className, { width = 2.4, kind = "plain" } = {}) {
  const line = svg("path", { class: `edge ${className} is-${kind}`, d: "M1 7H33", style: `--w:${width}` });
  const picture = svg("svg", { class: "sample", viewBox: "0 0 34 14", width: 34, height: 14, "aria-hidden": "true" });
  picture.append(line);
  if (GLYPHS[kind]) picture.append(svg("path", { class: `mark ${className} is-${kind}`, d: GLYPHS[kind](17, 7) }));
  return picture;
}

function widthSample() {
  return svg("svg", { class: "sample", viewBox: "0 0 40 14", width: 40, height: 14, "aria-hidden": "true" },
    svg("path", { class: "ramp", d: "M1 6.6L39 4V10L1 7.4z" }));
}

function portSample() {
  const picture = svg("svg", { class: "sample", viewBox: "0 0 44 16", width: 44, height: 16, "aria-hidden": "true" },
    svg("path", { class: "port-box", d: "M1 1H43" }));
  EDGE_TYPES.slice(0, 3).forEach((type, i) =>
    picture.append(svg("path", { class: "port used", d: `M${4 + 13 * i} 2v7q0 3 3 3h4q3 0 3 -3v-7z` }), svg("text", { class: "glyph used", x: 9 + 13 * i, y: 7, "font-size": 9, text: type })));
  return picture;
}

/** Entries of the legend: `[picture, text]`. @type {(view: CircuitView) => LegendEntry[]} */
function legendEntries(view) {
  const { data, kinds, state } = view;
  const width = `${state.filters.width === "log" ? "log" : "√"} |score|`;
  const upTo = (/** @type {number} */ scale) => `up to ${signed(scale).slice(1)}`;
  const widths = data.compare?.scale
    ? [`width of ${data.compare.a} and of both: ${width}, ${upTo(view.scale)}`, `width of only ${data.compare.b}: ${width}, ${upTo(view.otherScale)} (its own scale: units differ)`]
    : [`width: ${width}, ${upTo(view.scale)}`];
  const plain = data.compare ? "both" : "plain"; // two circuits in one: colours tell whose, dashes tell the sign
  /** @type {LegendEntry[]} */
  const entries = [
    [sample("plus", { kind: plain }), "supports (+)"],
    [sample("minus", { kind: plain }), "works against (−)"],
    ...widths.map((text) => /** @type {LegendEntry} */ ([widthSample(), text])),
    [portSample(), "query, key, value input"],
  ];
  for (const [kind, text] of kinds) entries.push([sample("plus", { kind }), text]);
  const roles = new Map();
  for (const role of view.roles.values()) roles.set(role.title ?? role.name, role.color);
  for (const [name, color] of roles) {
    const chip = html("span", { class: "legend-chip" });
    chip.style.background = color;
    entries.push([chip, name]);
  }
  if (data.legend_note) entries.push([null, data.legend_note]);
  return entries;
}

/** @type {(element: HTMLElement, view: CircuitView) => void} */
function fillLegend(element, view) {
  element.replaceChildren(...legendEntries(view).map(([picture, text]) => html("span", { class: "legend-entry" }, picture, html("span", { text }))));
}
