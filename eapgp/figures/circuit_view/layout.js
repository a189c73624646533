// @ts-check
// Where everything stands. Positions depend on the graph's dimensions alone: no node ever moves.

/** @type {(value: number, low: number, high: number) => number} */
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

/**
 * Fixed positions: `input` at the bottom, `logits` on top, heads in columns, MLPs in their own.
 *
 * `narrow` is the variant for phones, about as wide as high; otherwise the drawing is wider.
 * @type {(graph: Graph, narrow?: boolean) => Layout}
 */
function makeLayout(graph, narrow = false) {
  const { layers, heads, nodes } = graph;
  const row = clamp(Math.round((narrow ? 760 : 680) / layers), 46, 112);
  const aspect = narrow ? 0.78 : 1.55;
  const column = clamp(Math.round((aspect * (row * (layers + 2) + 40) - 110) / (heads + 1.4)), 46, 136);
  const boxWidth = clamp(column - 14, 36, 84);
  const boxHeight = clamp(Math.round(row * 0.39), 20, 34);
  const left = (layers > 16 ? 60 : 0) + (narrow ? 40 : 52); // room for the layers' names, also from afar
  const mlpX = left + column * (heads + 0.9);
  const arcs = narrow ? 30 : 24 + Math.min(72, 9 * layers);
  const width = mlpX + boxWidth / 2 + arcs;
  const logitsY = 16 + boxHeight / 2;
  const top = logitsY + Math.max(row * 0.9, boxHeight + 24);
  const headY = (/** @type {number} */ layer) => top + (graph.parallel ? 0 : row / 2) + (layers - 1 - layer) * row;
  const mlpY = (/** @type {number} */ layer) => headY(layer) - (graph.parallel ? 0 : row / 2);
  const inputY = headY(0) + Math.max(row * 0.95, boxHeight + 28);
  const wide = clamp(column * 2.2, 120, 220);
  const middle = (left + mlpX) / 2;
  const x = new Float32Array(nodes.length);
  const y = new Float32Array(nodes.length);
  const w = new Float32Array(nodes.length).fill(boxWidth);
  nodes.forEach((_, i) => {
    const kind = graph.kindOf[i];
    const layer = graph.layerOf[i];
    x[i] = kind === "head" ? left + column * (graph.headOf[i] + 0.5) : kind === "mlp" ? mlpX : middle;
    y[i] = kind === "head" ? headY(layer) : kind === "mlp" ? mlpY(layer) : kind === "input" ? inputY : logitsY;
    if (kind === "input" || kind === "logits") w[i] = wide;
  });
  const bands = Array.from({ length: layers }, (_, layer) => ({
    layer,
    y: graph.parallel ? headY(layer) - row / 2 : mlpY(layer) - row / 4,
    height: row,
  }));
  const port = Math.min(17, boxWidth * 0.28);
  return {
    x, y, w, row, column, boxWidth, boxHeight, left, width, bands, port, arcs, mlpX,
    height: inputY + boxHeight / 2 + 16,
    tab: clamp(Math.round(boxHeight * 0.3), 6, 9),
  };
}

/**
 * Position of the box that stands for a node: its own, or that of the collapsed group it is in.
 * @type {(layout: Layout, node: number, groupOf: GroupOf) => Box}
 */
function boxOf(layout, node, groupOf) {
  const group = groupOf?.[node];
  return group ?? { x: layout.x[node], y: layout.y[node], w: layout.w[node], h: layout.boxHeight };
}

/**
 * Ends and bow of one edge's curve.
 *
 * Edges leave at the top of a box and enter at the bottom: q left, k middle, v right at a head.
 * An edge between boxes of one column bows into the gutter, so that it does not run behind them.
 * @type {(graph: Graph, layout: Layout, source: number, destination: number, groupOf: GroupOf) => Curve}
 */
function curveOf(graph, layout, source, destination, groupOf) {
  const target = graph.destinationNode[destination];
  const type = graph.destinationType[destination];
  const from = boxOf(layout, source, groupOf);
  const to = boxOf(layout, target, groupOf);
  const up = to.y < from.y;
  const grouped = groupOf?.[target];
  /** @type {(box: Box, other: Box, node: number) => number} */
  const spread = (box, other, node) =>
    graph.kindOf[node] === "head" || graph.kindOf[node] === "mlp"
      ? 0
      : clamp((other.x - box.x) / layout.width, -0.5, 0.5) * (box.w - 24);
  const x0 = from.x + (groupOf?.[source] ? 0 : spread(from, to, source));
  const offset = grouped ? 0 : type < 3 ? (type - 1) * layout.port : spread(to, from, target);
  const x1 = to.x + offset;
  const y0 = from.y + (up ? -from.h / 2 : from.h / 2);
  const entry = to.h / 2 + (type < 3 && !grouped ? layout.tab - 1 : 0);
  const y1 = to.y + (up ? entry : -to.h / 2);
  const span = graph.layerOf[target] - graph.layerOf[source];
  let bow = 0;
  if (Math.abs(to.x - from.x) < layout.column * 0.3 && span >= 2) {
    if (graph.kindOf[source] === "mlp" && graph.kindOf[target] === "mlp") {
      bow = Math.min((layout.arcs - 8) / 0.75 + layout.boxWidth * 0.4, 26 + 9 * span);
    } else if (graph.kindOf[target] !== "logits" && graph.kindOf[source] !== "input") {
      const side = type === 0 ? -1 : type === 2 ? 1 : (graph.layerOf[source] + graph.layerOf[target]) % 2 ? 1 : -1;
      bow = (side * (layout.column * 0.5)) / 0.75;
    }
  }
  return { x0, y0, x1, y1, bow };
}

/** SVG path of a curve: vertical at both ends. @type {(curve: Curve) => string} */
function pathOf({ x0, y0, x1, y1, bow }) {
  const half = (y1 - y0) / 2;
  const r = (/** @type {number} */ value) => Math.round(value * 10) / 10;
  return `M${r(x0)} ${r(y0)}C${r(x0 + bow)} ${r(y0 + half)} ${r(x1 + bow)} ${r(y1 - half)} ${r(x1)} ${r(y1)}`;
}

// The height of every curve follows h(t) = 1.5·t·(1−t) + t³; its inverse is tabled once.
const INVERSE = (() => {
  const size = 512;
  const table = new Float32Array(size + 1);
  let t = 0;
  for (let i = 0; i <= size; i += 1) {
    while (t < 1 && 1.5 * t * (1 - t) + t * t * t < i / size) t += 1 / 4096;
    table[i] = Math.min(1, t);
  }
  return table;
})();

/**
 * Distance from a point to a curve, measured across it; Infinity above or below its ends.
 * @type {(curve: Curve, px: number, py: number) => number}
 */
function distanceTo(curve, px, py) {
  const dy = curve.y1 - curve.y0;
  if (Math.abs(dy) < 0.5) return Infinity;
  const fraction = (py - curve.y0) / dy;
  if (fraction < 0 || fraction > 1) return Infinity;
  const t = INVERSE[Math.round(fraction * 512)];
  const dx = curve.x1 - curve.x0;
  const x = curve.x0 + dx * t * t * (3 - 2 * t) + 3 * t * (1 - t) * curve.bow;
  const slopeX = dx * 6 * t * (1 - t) + 3 * (1 - 2 * t) * curve.bow;
  const slopeY = dy * (1.5 * (1 - 2 * t) + 3 * t * t);
  return (Math.abs(px - x) * Math.abs(slopeY)) / Math.hypot(slopeX, slopeY);
}

/** Middle of a curve. @type {(curve: Curve) => Point} */
function middleOf({ x0, y0, x1, y1, bow }) {
  return [(x0 + x1) / 2 + 0.75 * bow, (y0 + y1) / 2];
}

/**
 * Width in px: 0.5–4, by √|score| or its logarithm over three decades, against one scale.
 * @type {(score: number, scale: number, mode: Filters["width"]) => number}
 */
function widthOf(score, scale, mode) {
  const share = scale > 0 && Number.isFinite(score) ? Math.min(1, Math.abs(score) / scale) : 0;
  const part = mode === "log" ? Math.max(0, 1 + Math.log10(Math.max(share, 1e-3)) / 3) : Math.sqrt(share);
  return 0.5 + 3.5 * part;
}
