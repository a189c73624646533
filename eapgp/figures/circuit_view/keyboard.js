// @ts-check
// The graph by keyboard: one node is in the tab order, arrows move to its neighbours.

/** @type {Record<string, Point>} */
const DIRECTIONS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/**
 * Next node in a direction: along the row, or to the nearest in the next occupied row; −1 where none is.
 * @type {(view: CircuitView, from: number, direction: Point) => number}
 */
function neighbour(view, from, [dx, dy]) {
  const { layout, graph } = view;
  const eligible = (/** @type {number} */ i) => i !== from && !view.scene.groupOf?.[i] && (view.result.used[i] || view.state.tool === "add");
  let best = -1;
  let bestCost = Infinity;
  for (let i = 0; i < graph.nodes.length; i += 1) {
    if (!eligible(i)) continue;
    const ox = layout.x[i] - layout.x[from];
    const oy = layout.y[i] - layout.y[from];
    const along = dx ? ox * dx : oy * dy;
    const across = Math.abs(dx ? oy : ox);
    if (along <= 1 || (dx && across > 1)) continue;
    const cost = dx ? along : along * 1000 + across;
    if (cost < bestCost) {
      bestCost = cost;
      best = i;
    }
  }
  return best;
}

/** @type {(view: CircuitView, node: number) => number[]} */
function edgesOf(view, node) {
  const { made, result } = view;
  return [...result.drawn].filter((i) => made.source[i] === node || made.target[i] === node).reverse();
}

/**
 * The next edge at the focused node, strongest first, becomes the selection.
 * @type {(view: CircuitView, node: number, direction: 1 | -1) => void}
 */
function stepEdge(view, node, direction) {
  const edges = edgesOf(view, node);
  if (!edges.length) return;
  const now = edges.findIndex((i) => view.isSelectedEdge(i));
  const next = edges[(now + direction + edges.length + (now < 0 && direction < 0 ? 1 : 0)) % edges.length];
  view.select({ type: "edge", name: view.nameOf(next) });
}

/**
 * Handles a key pressed while the drawing has the focus; true if it was one of its keys.
 * @type {(view: CircuitView, event: KeyboardEvent) => boolean}
 */
function handleKey(view, event) {
  const node = Number(around(event, "[data-node]")?.dataset.node ?? -1);
  const group = around(event, "[data-group]")?.dataset.group;
  if (event.key === "Escape") return view.escape();
  if (event.ctrlKey || event.metaKey || event.altKey) return false;
  if (DIRECTIONS[event.key]) {
    const next = neighbour(view, node >= 0 ? node : view.roving, DIRECTIONS[event.key]);
    if (next >= 0) view.focusNode(next);
    return true;
  }
  if (event.key === "Enter" || event.key === " ") {
    const pin = event.key === " ";
    if (node >= 0) view.press({ type: "node", name: view.graph.nodes[node] }, { pin });
    else if (group !== undefined) view.press({ type: "group", name: group }, { pin });
    else return false;
    return true;
  }
  /** @type {Record<string, () => unknown>} */
  const keys = {
    "+": () => view.camera.zoomBy(1.35), "=": () => view.camera.zoomBy(1.35), "-": () => view.camera.zoomBy(1 / 1.35),
    0: () => view.fit(), t: () => view.toggleTrace(), r: () => view.toggleRows(), f: () => view.toggleFullscreen(),
    e: () => node >= 0 && stepEdge(view, node, 1), E: () => node >= 0 && stepEdge(view, node, -1),
    Delete: () => view.data.edit && view.removeAt(node),
  };
  if (!keys[event.key]) return false;
  keys[event.key]();
  return true;
}
