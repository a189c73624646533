// @ts-check
// Where everything stands. Positions depend on the graph's dimensions and, of many layers, on the width there is and on
// which rows are folded away; never on scores.

/** @type {(value: number, low: number, high: number) => number} */
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

const LABEL = 11; // px on the screen that names have at least in the view that deep graphs open with
const DEEP = 16; // layers, or heads of one, beyond which a drawing scrolls instead of shrinking to what cannot be read
const FOLD = 18; // room of a line that stands for folded rows or columns

/** Whether a graph has too many layers or heads to be drawn whole. @type {(graph: Graph) => boolean} */
const isDeep = ({ layers, heads }) => layers > DEEP || heads > DEEP;

/** Letters of the longest name. @type {(graph: Graph) => number} */
const lengthOfName = ({ layers, heads }) => `a${layers - 1}.h${heads - 1}`.length;

/**
 * Sizes of rows, columns and boxes of a graph that is drawn whole; on phones about as wide as high, else wider.
 * @type {(graph: Graph, narrow: boolean) => Measures}
 */
function shallowMeasures({ layers, heads }, narrow) {
  const row = clamp(Math.round((narrow ? 760 : 680) / layers), 46, 112);
  const aspect = narrow ? 0.78 : 1.55;
  const column = clamp(Math.round((aspect * (row * (layers + 2) + 40) - 110) / (heads + 1.4)), 46, 136);
  return {
    row, column, boxWidth: clamp(column - 14, 36, 84), boxHeight: clamp(Math.round(row * 0.39), 20, 34),
    left: narrow ? 40 : 52, arcs: narrow ? 30 : 24 + Math.min(72, 9 * layers), readable: 0,
  };
}

/**
 * The same for many layers or heads: names fit at `LABEL` px, and the drawing is as wide as the stage where they do.
 * @type {(graph: Graph, width: number, folded: Folded | null) => Measures}
 */
function deepMeasures(graph, width, folded) {
  const name = Math.ceil(0.54 * LABEL * lengthOfName(graph)) + 5;
  const left = 54; // the layers' names
  const arcs = clamp(width * 0.07, 30, 90);
  const lines = folded ? runsOf(folded.heads).length : 0;
  const columns = graph.heads - (folded ? countOnes(folded.heads) : 0) + 0.9;
  const column = clamp(Math.floor((width - left - arcs - name / 2 - lines * FOLD) / columns), name + 5, 150);
  return { row: 42, column, boxWidth: clamp(column - 10, name, 84), boxHeight: 20, left, arcs, readable: 1 };
}

/** Runs of raised flags, each as its first and last place. @type {(flags: Flags) => Point[]} */
function runsOf(flags) {
  /** @type {Point[]} */
  const runs = [];
  flags.forEach((flag, i) => {
    const last = runs.at(-1);
    if (flag && last?.[1] === i - 1) last[1] = i;
    else if (flag) runs.push([i, i]);
  });
  return runs;
}

/**
 * Where lines of some size begin, one after the other; a run of folded ones shares the place of one thin line.
 * @type {(count: number, size: number, start: number, flags: Flags | undefined) => { at: Float32Array, folds: Span[], end: number }}
 */
function stack(count, size, start, flags) {
  const at = new Float32Array(count);
  const folds = (flags ? runsOf(flags) : []).map(([from, to]) => ({ from, to, at: 0 }));
  let end = start;
  for (let i = 0, run = 0; i < count; i += 1) {
    at[i] = end;
    if (!flags?.[i]) end += size;
    else if (folds[run].to === i) {
      folds[run].at = end;
      run += 1;
      end += FOLD;
    }
  }
  return { at, folds, end };
}

/**
 * Fixed positions: `input` at the bottom, `logits` on top, heads in columns, MLPs in their own.
 *
 * `width` is that of the stage, of which graphs of many layers make use; `folded` flags what has no row or column.
 * @type {(graph: Graph, room: { narrow: boolean, width: number, folded: Folded | null }) => Layout}
 */
function makeLayout(graph, { narrow, width: stage, folded }) {
  const { layers, heads, nodes, parallel } = graph;
  const deep = isDeep(graph);
  const measures = deep ? deepMeasures(graph, stage, folded) : shallowMeasures(graph, narrow);
  const { row, column, boxWidth, boxHeight, left, arcs } = measures;
  const columns = stack(heads, column, left, folded?.heads);
  const mlpX = columns.end + column * 0.9;
  const width = mlpX + boxWidth / 2 + arcs;
  const logitsY = 16 + boxHeight / 2;
  const above = parallel ? row / 2 : row / 4; // from the top of a layer's row to its first box's middle
  const rows = stack(layers, row, logitsY + Math.max(row * 0.9, boxHeight + 24) - above, folded?.layers.slice().reverse());
  const top = (/** @type {number} */ layer) => rows.at[layers - 1 - layer];
  const mlpY = (/** @type {number} */ layer) => top(layer) + above;
  const headY = (/** @type {number} */ layer) => mlpY(layer) + (parallel ? 0 : row / 2);
  const inputY = rows.end - row + above + (parallel ? 0 : row / 2) + Math.max(row * 0.95, boxHeight + 28);
  const wide = clamp(column * 2.2, 120, 220);
  const middle = (left + mlpX) / 2;
  const places = { x: new Float32Array(nodes.length), y: new Float32Array(nodes.length), w: new Float32Array(nodes.length).fill(boxWidth) };
  nodes.forEach((_, i) => {
    const kind = graph.kindOf[i];
    const layer = graph.layerOf[i];
    places.x[i] = kind === "head" ? columns.at[graph.headOf[i]] + column / 2 : kind === "mlp" ? mlpX : middle;
    places.y[i] = kind === "head" ? headY(layer) : kind === "mlp" ? mlpY(layer) : kind === "input" ? inputY : logitsY;
    if (kind === "input" || kind === "logits") places.w[i] = wide;
  });
  const hidden = Uint8Array.from(nodes, (_, i) => Number(Boolean(folded?.layers[graph.layerOf[i]] || folded?.heads[graph.headOf[i]])));
  return {
    ...places, ...measures, width, deep, hidden, mlpX,
    bands: [...Array(layers).keys()].filter((layer) => !folded?.layers[layer]).map((layer) => ({ layer, y: top(layer), height: row })),
    rowFolds: rows.folds.map(({ from, to, at }) => ({ from: layers - 1 - to, to: layers - 1 - from, at: at + FOLD / 2 })),
    columnFolds: columns.folds.map(({ from, to, at }) => ({ from, to, at: at + FOLD / 2 })),
    port: Math.min(17, boxWidth * 0.28), height: inputY + boxHeight / 2 + 16, tab: clamp(Math.round(boxHeight * 0.3), 6, 9),
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
