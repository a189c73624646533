// @ts-check
// What a node or edge says when pointed at. All text goes in through textContent.

/** @type {(label: string, value: string, className?: string) => HTMLElement} */
function tooltipRow(label, value, className = "") {
  return html("div", { class: "tip-row" }, html("span", { class: "tip-label", text: label }), html("span", { class: `tip-value ${className}`, text: value }));
}

/** @type {(score: number) => string} */
const signClass = (score) => (score > 0 ? "plus" : score < 0 ? "minus" : "");

/** @type {(graph: Graph, node: number) => string} */
function describeKind(graph, node) {
  const kind = graph.kindOf[node];
  if (kind === "head") return `attention head ${graph.headOf[node]} of layer ${graph.layerOf[node]}`;
  if (kind === "mlp") return `MLP of layer ${graph.layerOf[node]}`;
  return kind === "input" ? "token and position embeddings" : "the model's output";
}

/** @type {(view: CircuitView, title: string, ids: number[], nameOf: (i: number) => string) => HTMLElement[]} */
function edgeList(view, title, ids, nameOf) {
  if (!ids.length) return [];
  const rows = ids.slice(0, 3).map((i) => tooltipRow(nameOf(i), signed(view.scoreOf(i)), signClass(view.scoreOf(i))));
  return [html("div", { class: "tip-title", text: title }), ...rows];
}

/** @type {(view: CircuitView, node: number) => HTMLElement[]} */
function nodeTooltip(view, node) {
  const { graph, made, result } = view;
  const role = view.roles.get(node);
  const said = [...(view.data.said?.[graph.nodes[node]] ?? [])];
  const name = html("div", { class: "tip-name", text: graph.nodes[node] });
  /** @type {HTMLElement[]} */
  const parts = [name, html("div", { class: "tip-kind", text: describeKind(graph, node) })];
  if (role) {
    const chip = html("span", { class: "tip-chip" });
    chip.style.background = role.color;
    parts.push(html("div", { class: "tip-role" }, chip, html("span", { text: said.shift() ?? role.title ?? role.name })));
  }
  for (const text of said) parts.push(html("div", { class: "tip-said", text }));
  /** @type {number[]} */
  const incoming = [];
  /** @type {number[]} */
  const outgoing = [];
  for (let j = result.drawn.length - 1; j >= 0; j -= 1) {
    const i = result.drawn[j];
    if (made.target[i] === node) incoming.push(i);
    if (made.source[i] === node) outgoing.push(i);
  }
  if (!incoming.length && !outgoing.length) parts.push(html("div", { class: "tip-kind", text: "not in this circuit" }));
  else parts.push(tooltipRow("in · out", `${whole(result.incoming[node])} · ${whole(result.outgoing[node])}`));
  parts.push(...edgeList(view, "strongest in", incoming, (i) => {
    const type = graph.destinationType[made.destination[i]];
    return `${graph.nodes[made.source[i]]}${type < 3 ? ` → ${EDGE_TYPES[type]}` : ""}`;
  }));
  parts.push(...edgeList(view, "strongest out", outgoing, (i) => destinationName(graph, made.destination[i])));
  return parts;
}

/** @type {(view: CircuitView, i: number) => HTMLElement[]} */
function edgeTooltip(view, i) {
  const { graph, made, data } = view;
  const name = edgeName(graph, made.source[i], made.destination[i]);
  /** @type {(rank: number, of: number) => string} */
  const place = (rank, of) => (rank >= 0 ? `#${whole(rank + 1)} of ${whole(of)}` : "not ranked");
  /** @type {HTMLElement[]} */
  const parts = [html("div", { class: "tip-name", text: name })];
  const kind = view.kindOf(i);
  const known = view.kinds.get(kind);
  if (known) parts.push(html("div", { class: "tip-kind", text: known }));
  const score = made.score[i];
  const drawn = view.scoreOf(i);
  const verdict = kind === "flipped" ? "" : drawn > 0 ? "supports the behaviour" : drawn < 0 ? "works against it" : "";
  const total = data.n_total ?? graph.edges;
  if (data.compare) {
    const other = made.otherScore[i];
    parts.push(
      tooltipRow(data.compare.a, signed(score), signClass(score)), tooltipRow("rank", place(made.rank[i], total)),
      tooltipRow(data.compare.b, signed(other), signClass(other)), tooltipRow("rank", place(made.otherRank[i], total)),
    );
  } else {
    parts.push(tooltipRow("score", signed(score), signClass(score)), tooltipRow("rank", place(made.rank[i], total)));
  }
  if (verdict) parts.push(html("div", { class: `tip-kind ${signClass(drawn)}`, text: verdict }));
  return parts;
}

/** @type {(view: CircuitView, group: PlacedGroup) => HTMLElement[]} */
function groupTooltip(view, group) {
  const { graph } = view;
  const members = group.nodes.map((node) => graph.nodes[node]);
  const shown = members.slice(0, 12).join(", ") + (members.length > 12 ? ", …" : "");
  return [
    html("div", { class: "tip-name", text: group.title }),
    html("div", { class: "tip-kind", text: `group of ${members.length} nodes; double-click opens it` }),
    html("div", { class: "tip-members", text: shown }),
  ];
}

/**
 * Places the tooltip beside a point of the page, inside the component.
 * @type {(tip: HTMLElement, root: HTMLElement, clientX: number, clientY: number) => void}
 */
function placeTooltip(tip, root, clientX, clientY) {
  const box = root.getBoundingClientRect();
  const width = tip.offsetWidth;
  const height = tip.offsetHeight;
  let left = clientX - box.left + 16;
  let top = clientY - box.top + 16;
  if (left + width > box.width - 6) left = clientX - box.left - width - 12;
  if (top + height > box.height - 6) top = Math.max(6, box.height - height - 6);
  tip.style.transform = `translate(${Math.round(Math.max(6, left))}px, ${Math.round(Math.max(6, top))}px)`;
}
