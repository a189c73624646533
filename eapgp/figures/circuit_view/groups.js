// @ts-check
// Named groups of nodes. A collapsed group is one box in the middle of its members.

/**
 * Boxes of the collapsed groups, and for every node the box it is in.
 * @type {(graph: Graph, layout: Layout, groups: Group[]) => { placed: PlacedGroup[], groupOf: GroupOf }}
 */
function placeGroups(graph, layout, groups) {
  /** @type {(PlacedGroup | null)[]} */
  const groupOf = new Array(graph.nodes.length).fill(null);
  /** @type {PlacedGroup[]} */
  const placed = [];
  for (const group of groups) {
    const nodes = group.nodes.map((name) => nodeAt(graph, name)).filter((i) => i >= 0 && !groupOf[i]);
    if (!group.collapsed || nodes.length < 2) continue;
    const mean = (/** @type {Float32Array} */ values) => nodes.reduce((sum, i) => sum + values[i], 0) / nodes.length;
    const h = layout.boxHeight * 1.5;
    const size = h * 0.36;
    const title = group.name.length > 22 ? `${group.name.slice(0, 21)}…` : group.name;
    const box = { name: group.name, title, nodes, x: mean(layout.x), y: mean(layout.y), w: Math.max(layout.boxWidth * 1.3, title.length * size * 0.56 + 20), h };
    const overlaps = (/** @type {Box} */ other) => Math.abs(other.x - box.x) < (other.w + box.w) / 2 + 6 && Math.abs(other.y - box.y) < (other.h + box.h) / 2 + 6;
    for (let turn = 0; turn < 12 && placed.some(overlaps); turn += 1) box.y -= layout.row / 2;
    placed.push(box);
    for (const i of nodes) groupOf[i] = box;
  }
  return { placed, groupOf: placed.length ? groupOf : null };
}

/** A name that no group has yet. @type {(groups: Group[], wanted: string) => string} */
function freeName(groups, wanted) {
  const taken = new Set(groups.map(({ name }) => name));
  let name = wanted;
  for (let i = 2; taken.has(name); i += 1) name = `${wanted} ${i}`;
  return name;
}

/**
 * Groups as they came from Python, a saved link or a file; what is malformed is left out.
 * @type {(graph: Graph, groups: Partial<Group>[] | undefined) => Group[]}
 */
function readGroups(graph, groups) {
  if (!Array.isArray(groups)) return [];
  /** @type {Group[]} */
  const made = [];
  for (const group of groups) {
    const nodes = (Array.isArray(group?.nodes) ? group.nodes : []).filter((name) => graph.index.has(name));
    if (nodes.length) made.push({ name: freeName(made, String(group.name ?? "group").slice(0, 60)), nodes, collapsed: group.collapsed !== false });
  }
  return made;
}
