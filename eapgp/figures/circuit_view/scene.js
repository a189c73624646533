// @ts-check
// The drawing: three stacked SVG layers (edges, highlighted edges, nodes) in one "world" that the
// camera moves. Edges of one look share a group that carries the style, so that 5,000 edges are 5,000
// bare paths in a few dozen groups: cheap to style, and each is only painted where it runs.

const WIDTH_STEPS = 10;
const GLYPH_LIMIT = 600;
/** Marks of edge classes at a point. @type {Record<string, (x: number, y: number) => string>} */
const GLYPHS = {
  "only-a": (x, y) => `M${x - 4} ${y + 3}L${x} ${y - 4.5}L${x + 4} ${y + 3}z`,
  "only-b": (x, y) => `M${x - 4} ${y - 3}L${x} ${y + 4.5}L${x + 4} ${y - 3}z`,
  flipped: (x, y) => `M${x} ${y - 4.5}L${x + 4.5} ${y}L${x} ${y + 4.5}L${x - 4.5} ${y}z`,
  missed: (x, y) => `M${x - 3.6} ${y}a3.6 3.6 0 107.2 0a3.6 3.6 0 10-7.2 0z`,
  extra: (x, y) => `M${x - 3} ${y - 3}l6 6m0 -6l-6 6`,
  found: (x, y) => `M${x - 3.6} ${y + 0.2}l2.6 2.8l4.8 -5.6`,
};

/** @type {(d: string) => SVGPathElement} */
function barePath(d) {
  const path = document.createElementNS(SVG_NS, "path");
  path.setAttribute("d", d);
  return path;
}

/** @type {(lists: Map<string, string[]>, key: string, value: string) => void} */
function pushTo(lists, key, value) {
  const list = lists.get(key);
  if (list) list.push(value);
  else lists.set(key, [value]);
}

class Scene {
  /** @type {SVGGElement[]} */ elements;
  /** @type {NodeParts[]} */ parts;
  /** @type {string[]} */ classes;
  /** @type {string[]} */ labels;
  /** @type {SVGGElement} */ groupLayer;
  /** @type {GroupOf} */ groupOf = null;
  /** @type {Curve[]} */ curves = [];
  /** @type {string[]} */ paths = [];
  /** @type {number | undefined} */ scale;

  /** @param {Graph} graph @param {Layout} layout */
  constructor(graph, layout) {
    this.graph = graph;
    this.layout = layout;
    this.bands = this.layer("bands");
    this.edges = this.layer("edges");
    this.lit = this.layer("lit");
    this.nodes = this.layer("nodes");
    this.world = html("div", { class: "world" }, this.bands, this.edges, this.lit, this.nodes);
    this.drawBands();
    this.drawNodes();
  }

  /** @param {string} name */
  layer(name) {
    const { width, height } = this.layout;
    const made = svg("svg", { class: `layer ${name}`, width, height, viewBox: `0 0 ${width} ${height}` });
    if (name !== "nodes") made.setAttribute("aria-hidden", "true");
    return made;
  }

  /** Draws the layers at a scale. @param {number} scale */
  resize(scale) {
    if (this.scale === scale) return;
    this.scale = scale;
    const { width, height } = this.layout;
    for (const layer of [this.bands, this.edges, this.lit, this.nodes]) {
      layer.setAttribute("width", String(width * scale));
      layer.setAttribute("height", String(height * scale));
    }
  }

  /** Rows, and what stands for folded ones. */
  drawBands() {
    const { layout } = this;
    const step = layout.bands.length > 60 ? 8 : layout.bands.length > 16 ? 4 : 1;
    this.bands.replaceChildren(
      ...layout.bands.flatMap((band) => [
        svg("rect", { class: `band ${band.layer % 2 ? "odd" : "even"}`, x: 0, y: band.y, width: layout.width, height: band.height }),
        svg("text", { class: `band-label ${band.layer % step ? "between" : ""}`, x: layout.deep ? 8 : 14, y: band.y + band.height / 2, text: `L${band.layer}` }),
      ]),
      ...layout.rowFolds.flatMap(({ from, to, at }) => [
        svg("path", { class: "fold", d: `M${layout.left + 24} ${at}H${layout.width - 8}` }),
        svg("text", { class: "band-label", x: 8, y: at, text: from === to ? `L${from}` : `L${from}–L${to}` }),
      ]),
      ...layout.columnFolds.map(({ at }) => svg("path", { class: "fold", d: `M${at} ${layout.boxHeight + 40}V${layout.height - layout.boxHeight - 40}` })),
    );
  }

  drawNodes() {
    const { graph } = this;
    this.elements = graph.nodes.map((name, i) =>
      svg("g", { class: `node ${graph.kindOf[i]} unused`, tabindex: -1, role: "button", "data-node": i }, svg("rect", { class: "box" }), svg("text", { class: "name", y: 0, text: name })));
    this.parts = this.elements.map(() => ({}));
    this.nodes.append(...this.elements);
    this.classes = this.elements.map((element) => element.getAttribute("class") ?? "");
    this.labels = [];
    this.groupLayer = svg("g", { class: "groups" });
    this.nodes.append(this.groupLayer);
    this.placeNodes();
  }

  placeNodes() {
    const { graph, layout } = this;
    const h = layout.boxHeight;
    this.elements.forEach((element, i) => {
      const w = layout.w[i];
      const box = /** @type {Element} */ (element.querySelector(".box"));
      fill(element, { transform: `translate(${layout.x[i]} ${layout.y[i]})` }, []);
      fill(box, { x: -w / 2, y: -h / 2, width: w, height: h, rx: graph.kindOf[i] === "head" ? 5 : h / 2 }, []);
      if (this.parts[i].bits) this.parts[i].bits = -1; // drawn anew with the next light
    });
  }

  /** Takes another layout of the same graph; the caller draws edges, groups, roles and lights again. @param {Layout} layout */
  place(layout) {
    const { scale = 1 } = this;
    this.layout = layout;
    this.curves = [];
    this.paths = [];
    for (const layer of [this.bands, this.edges, this.lit, this.nodes]) layer.setAttribute("viewBox", `0 0 ${layout.width} ${layout.height}`);
    this.scale = undefined;
    this.resize(scale);
    this.drawBands();
    this.placeNodes();
  }

  /** @param {number} i @param {string} className @param {string} label */
  setNode(i, className, label) {
    const element = this.elements[i];
    if (this.classes[i] !== className) element.setAttribute("class", (this.classes[i] = className));
    if (this.labels[i] !== label) element.setAttribute("aria-label", (this.labels[i] = label));
  }

  /** Role chip and text under a node's name; null takes them away. @param {number} i @param {Role | null} role */
  setRole(i, role) {
    const parts = this.parts[i];
    parts.chip?.remove();
    parts.role?.remove();
    parts.chip = parts.role = null;
    if (!role) return;
    const { layout } = this;
    const w = layout.w[i];
    const h = layout.boxHeight;
    const room = Math.max(6, Math.floor(w / (h * 0.155)));
    const text = role.name.length > room ? `${role.name.slice(0, room - 1)}…` : role.name;
    parts.chip = svg("rect", { class: "chip", x: -w / 2 + 5, y: h / 2 - 3.6, width: w - 10, height: 2.2, rx: 1.1 });
    parts.chip.style.fill = role.color;
    this.elements[i].style.setProperty("--lift", `${-h * 0.2}px`);
    parts.role = svg("text", { class: "role", y: h * 0.17, "font-size": h * 0.27, text });
    this.elements[i].append(parts.chip, parts.role);
  }

  /** Entry tabs of a head: bit 0 query, bit 1 key, bit 2 value. @param {number} i @param {number} bits */
  setPorts(i, bits) {
    const parts = this.parts[i];
    if (parts.bits === bits) return;
    parts.bits = bits;
    parts.ports?.remove();
    parts.ports = null;
    if (!bits) return;
    const { layout } = this;
    const half = Math.min(5.5, layout.port * 0.42);
    const top = layout.boxHeight / 2;
    parts.ports = svg("g", { class: "ports" });
    for (let type = 0; type < 3; type += 1) {
      const x = (type - 1) * layout.port;
      const used = bits & (1 << type) ? "used" : "";
      parts.ports.append(
        svg("path", { class: `port ${used}`, d: `M${x - half} ${top}v${layout.tab - 3}q0 3 3 3h${2 * half - 6}q3 0 3 -3v${3 - layout.tab}z` }),
        svg("text", { class: `glyph ${used}`, x, y: top + layout.tab * 0.5, "font-size": layout.tab * 0.95, text: EDGE_TYPES[type] }),
      );
    }
    this.elements[i].prepend(parts.ports);
  }

  /** Boxes of collapsed groups. @param {PlacedGroup[]} groups @param {GroupOf} groupOf */
  setGroups(groups, groupOf) {
    this.groupOf = groupOf;
    this.curves = [];
    this.paths = [];
    this.groupLayer.replaceChildren(
      ...groups.map((group) =>
        svg(
          "g",
          { class: "node group used", transform: `translate(${group.x} ${group.y})`, tabindex: -1, role: "button", "data-group": group.name, "aria-label": `group ${group.name}, ${group.nodes.length} nodes` },
          svg("rect", { class: "box", x: -group.w / 2, y: -group.h / 2, width: group.w, height: group.h, rx: 7 }),
          svg("text", { class: "group-name", y: -group.h * 0.14, "font-size": group.h * 0.34, text: group.title }),
          svg("text", { class: "members", y: group.h * 0.27, "font-size": group.h * 0.26, text: `${group.nodes.length} nodes` }),
        ),
      ),
    );
  }

  /** @param {Candidates} made @param {number} i */
  curve(made, i) {
    this.curves[i] ??= curveOf(this.graph, this.layout, made.source[i], made.destination[i], this.groupOf);
    return this.curves[i];
  }

  /** @param {Candidates} made @param {number} i */
  path(made, i) {
    this.paths[i] ??= pathOf(this.curve(made, i));
    return this.paths[i];
  }

  /** Whether both ends stand in one collapsed group. @param {Candidates} made @param {number} i */
  inner(made, i) {
    const from = this.groupOf?.[made.source[i]];
    return Boolean(from) && from === this.groupOf?.[made.target[i]];
  }

  /**
   * Draws edges into a layer, one group per look, the weakest first.
   * @param {SVGSVGElement} layer
   * @param {Candidates} made
   * @param {ArrayLike<number> & Iterable<number>} ids
   * @param {(i: number) => Look} look
   */
  drawEdges(layer, made, ids, look) {
    /** @type {Map<string, string[]>} */
    const buckets = new Map();
    /** @type {Map<string, string[]>} */
    const glyphs = new Map();
    for (const i of ids) {
      if (this.inner(made, i)) continue;
      const { score, kind, width } = look(i);
      const step = Math.min(WIDTH_STEPS - 1, Math.floor(((width - 0.5) / 3.5) * WIDTH_STEPS));
      const sign = score > 0 ? "plus" : score < 0 ? "minus" : "zero";
      const key = `${String(step).padStart(2, "0")} ${sign} ${kind}`;
      pushTo(buckets, key, this.path(made, i));
      if (GLYPHS[kind] && ids.length <= GLYPH_LIMIT) {
        const [x, y] = middleOf(this.curve(made, i));
        const at = GLYPHS[kind](Math.round(x * 10) / 10, Math.round(y * 10) / 10);
        pushTo(glyphs, `${kind} ${sign}`, at);
      }
    }
    const elements = [];
    for (const [key, drawn] of [...buckets].sort(([a], [b]) => (a < b ? -1 : 1))) {
      const [step, sign, kind] = key.split(" ");
      const paths = () => drawn.map(barePath);
      const style = `--w:${(0.5 + (3.5 * (Number(step) + 0.5)) / WIDTH_STEPS).toFixed(2)}`;
      elements.push(svg("g", { class: `edge ${sign} is-${kind}`, style }, ...paths()));
    }
    for (const [name, parts] of glyphs) {
      const [kind, sign] = name.split(" ");
      elements.push(svg("path", { class: `mark ${sign} is-${kind}`, d: parts.join("") }));
    }
    layer.replaceChildren(...elements);
  }

  /**
   * Candidate nearest to a point among `ids`, within `reach`; −1 where none is.
   * @type {(made: Candidates, ids: ArrayLike<number>, px: number, py: number, reach: number) => number}
   */
  nearestEdge(made, ids, px, py, reach) {
    let best = -1;
    let bestDistance = reach;
    for (let j = ids.length - 1; j >= 0; j -= 1) {
      const i = ids[j];
      if (this.inner(made, i)) continue;
      const distance = distanceTo(this.curve(made, i), px, py);
      if (distance < bestDistance) {
        bestDistance = distance;
        best = i;
      }
    }
    return best;
  }

  /**
   * Node whose box is nearest to a point, within `reach` of its border; −1 where none is.
   * @param {number} px
   * @param {number} py
   * @param {number} reach
   * @param {(i: number) => unknown} eligible
   */
  nearestNode(px, py, reach, eligible) {
    const { layout, graph } = this;
    let best = -1;
    let bestDistance = reach;
    for (let i = 0; i < graph.nodes.length; i += 1) {
      if (this.groupOf?.[i] || !eligible(i)) continue;
      if (layout.hidden[i]) continue;
      const dx = Math.max(0, Math.abs(px - layout.x[i]) - layout.w[i] / 2);
      const dy = Math.max(0, Math.abs(py - layout.y[i]) - layout.boxHeight / 2);
      const distance = Math.hypot(dx, dy);
      if (distance < bestDistance) {
        bestDistance = distance;
        best = i;
      }
    }
    return best;
  }
}
