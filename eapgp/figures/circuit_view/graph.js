// @ts-check
// The graph, its candidate edges, and what is computed on them: selection, pruning, tracing.
// Nothing here touches the page, so the same functions are checked against the Python ones.

const EDGE_TYPES = ["q", "k", "v", "mlp", "logits"];

/**
 * Names, layers and kinds of the nodes and destinations of a decoder-only transformer.
 * @type {(size: GraphSize) => Graph}
 */
function makeGraph({ n_layers: layers, n_heads: heads, parallel_attn_mlp: parallel = false }) {
  /** @type {Pick<Graph, "nodes" | "layerOf" | "kindOf" | "headOf">} */
  const columns = { nodes: [], layerOf: [], kindOf: [], headOf: [] };
  const { nodes } = columns;
  /** @type {(name: string, layer: number, kind: NodeKind, head?: number) => void} */
  const push = (name, layer, kind, head = -1) => {
    nodes.push(name);
    columns.layerOf.push(layer);
    columns.kindOf.push(kind);
    columns.headOf.push(head);
  };
  push("input", -1, "input");
  /** @type {number[]} */
  const destinationNode = [];
  /** @type {number[]} */
  const destinationType = [];
  /** @type {number[]} */
  const prefix = [];
  for (let layer = 0; layer < layers; layer += 1) {
    const before = 1 + layer * (heads + 1);
    for (let head = 0; head < heads; head += 1) push(`a${layer}.h${head}`, layer, "head", head);
    push(`m${layer}`, layer, "mlp");
    for (let type = 0; type < 3; type += 1) {
      for (let head = 0; head < heads; head += 1) {
        destinationNode.push(before + head);
        destinationType.push(type);
        prefix.push(before);
      }
    }
    destinationNode.push(before + heads);
    destinationType.push(3);
    prefix.push(parallel ? before : before + heads);
  }
  push("logits", layers, "logits");
  destinationNode.push(nodes.length - 1);
  destinationType.push(4);
  prefix.push(nodes.length - 1);
  return {
    layers, heads, parallel, ...columns,
    destinationNode: Int32Array.from(destinationNode),
    destinationType: Uint8Array.from(destinationType),
    prefix: Int32Array.from(prefix),
    index: new Map(nodes.map((name, i) => [name, i])),
    edges: prefix.reduce((sum, count) => sum + count, 0),
  };
}

/** Place of a named node; −1 where the graph has no such node. @type {(graph: Graph, name: string) => number} */
function nodeAt(graph, name) {
  return graph.index.get(name) ?? -1;
}

/** Name of a destination, such as `a0.h1<q>`, `m0` or `logits`. @type {(graph: Graph, destination: number) => string} */
function destinationName(graph, destination) {
  const name = graph.nodes[graph.destinationNode[destination]];
  const type = graph.destinationType[destination];
  return type < 3 ? `${name}<${EDGE_TYPES[type]}>` : name;
}

/** @type {(graph: Graph, source: number, destination: number) => string} */
function edgeName(graph, source, destination) {
  return `${graph.nodes[source]}->${destinationName(graph, destination)}`;
}

/**
 * Destination index by node and type (0 q, 1 k, 2 v; ignored for MLPs and logits).
 * @type {(graph: Graph, node: number, type: number) => number}
 */
function destinationOf(graph, node, type) {
  const kind = graph.kindOf[node];
  const per = 3 * graph.heads + 1;
  if (kind === "logits") return graph.layers * per;
  if (kind === "mlp") return graph.layerOf[node] * per + 3 * graph.heads;
  if (kind === "head") return graph.layerOf[node] * per + type * graph.heads + graph.headOf[node];
  return -1;
}

/**
 * `[source, destination]` of a named edge, or null where the graph has no such edge.
 * @type {(graph: Graph, name: unknown) => [number, number] | null}
 */
function parseEdge(graph, name) {
  const [left, right] = String(name).split("->");
  const [, target, type] = /^(.*?)(?:<([qkv])>)?$/.exec(right ?? "") ?? [];
  const source = nodeAt(graph, left);
  const node = nodeAt(graph, target);
  if (source < 0 || node < 0) return null;
  if (graph.kindOf[node] === "head" && !type) return null;
  const destination = destinationOf(graph, node, EDGE_TYPES.indexOf(type));
  return destination >= 0 && source < graph.prefix[destination] ? [source, destination] : null;
}

/** @type {(text: string | undefined) => ArrayBuffer} */
function bytesOf(text) {
  const binary = atob(text ?? "");
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i += 1) bytes[i] = binary.charCodeAt(i);
  return bytes.buffer;
}

/**
 * Candidate edges in selection order, decoded from the payload.
 *
 * The first `ranked` are in the order in which the slider adds them. The rest (edges of a known
 * circuit, edges added by hand) are drawn where a set names them; `rank` holds their place.
 * @type {(graph: Graph, payload: Payload) => Candidates}
 */
function makeCandidates(graph, payload) {
  const wide = payload.index_bytes === 4;
  const Index = wide ? Uint32Array : Uint16Array;
  const source = Int32Array.from(new Index(bytesOf(payload.source)));
  const destination = Int32Array.from(new Index(bytesOf(payload.destination)));
  const score = new Float32Array(bytesOf(payload.score));
  const rank = new Int32Array(source.length);
  const extra = payload.extra_rank ?? [];
  const ranked = source.length - extra.length;
  for (let i = 0; i < rank.length; i += 1) rank[i] = i < ranked ? i : (extra[i - ranked] ?? -1);
  const otherScore = new Float32Array(bytesOf(payload.compare?.score));
  const otherRank = new Int32Array(bytesOf(payload.compare?.rank));
  return indexCandidates(graph, { source, destination, score, rank, otherScore, otherRank, ranked, count: source.length });
}

/**
 * Adds the orders and look-ups that selection needs; called again after an edge is appended.
 * @type {(graph: Graph, edges: RankedEdges) => Candidates}
 */
function indexCandidates(graph, edges) {
  const { source, destination, count } = edges;
  const target = new Int32Array(count);
  for (let i = 0; i < count; i += 1) target[i] = graph.destinationNode[destination[i]];
  const at = new Map();
  const width = graph.destinationNode.length;
  for (let i = 0; i < count; i += 1) at.set(source[i] * width + destination[i], i);
  const size = graph.nodes.length;
  return { ...edges, target, bySource: countingOrder(source, size), byTarget: countingOrder(target, size), at };
}

/** −1 where the edge is no candidate. @type {(graph: Graph, made: Candidates, source: number, destination: number) => number} */
function candidateAt(graph, made, source, destination) {
  return made.at.get(source * graph.destinationNode.length + destination) ?? -1;
}

/** −1 where no candidate has the name. @type {(graph: Graph, made: Candidates, name: string) => number} */
function candidateNamed(graph, made, name) {
  const ends = parseEdge(graph, name);
  return ends ? candidateAt(graph, made, ...ends) : -1;
}

/**
 * The candidates with one unscored edge more.
 * @type {(graph: Graph, made: Candidates, source: number, destination: number) => Candidates}
 */
function appendCandidate(graph, made, source, destination) {
  const compared = made.otherScore.length > 0;
  return indexCandidates(graph, {
    ranked: made.ranked,
    count: made.count + 1,
    source: Int32Array.from([...made.source, source]),
    destination: Int32Array.from([...made.destination, destination]),
    score: Float32Array.from([...made.score, NaN]),
    rank: Int32Array.from([...made.rank, -1]),
    otherScore: compared ? Float32Array.from([...made.otherScore, NaN]) : made.otherScore,
    otherRank: compared ? Int32Array.from([...made.otherRank, -1]) : made.otherRank,
  });
}

/** @type {(keys: Int32Array, size: number) => Int32Array} */
function countingOrder(keys, size) {
  const start = new Int32Array(size + 1);
  for (let i = 0; i < keys.length; i += 1) start[keys[i] + 1] += 1;
  for (let i = 0; i < size; i += 1) start[i + 1] += start[i];
  const order = new Int32Array(keys.length);
  for (let i = 0; i < keys.length; i += 1) order[start[keys[i]]++] = i;
  return order;
}

/**
 * Nodes reached from `start`; nodes are numbered in the order in which they are computed.
 * @type {(graph: Graph, made: Candidates, chosen: Flags, start: number[]) => Flags}
 */
function forwardReach(graph, made, chosen, start) {
  const reached = new Uint8Array(graph.nodes.length);
  for (const node of start) reached[node] = 1;
  for (const i of made.bySource) {
    if (chosen[i] && reached[made.source[i]]) reached[made.target[i]] = 1;
  }
  return reached;
}

/** @type {(graph: Graph, made: Candidates, chosen: Flags, end: number[]) => Flags} */
function backwardReach(graph, made, chosen, end) {
  const reaching = new Uint8Array(graph.nodes.length);
  for (const node of end) reaching[node] = 1;
  for (let j = made.count - 1; j >= 0; j -= 1) {
    const i = made.byTarget[j];
    if (chosen[i] && reaching[made.target[i]]) reaching[made.source[i]] = 1;
  }
  return reaching;
}

/**
 * Keep the chosen edges that lie on a path from `input` to `logits` (paths run over nodes).
 * @type {(graph: Graph, made: Candidates, chosen: Flags) => Flags}
 */
function pruneCandidates(graph, made, chosen) {
  const forward = forwardReach(graph, made, chosen, [0]);
  const backward = backwardReach(graph, made, chosen, [graph.nodes.length - 1]);
  const kept = new Uint8Array(made.count);
  for (let i = 0; i < made.count; i += 1) {
    kept[i] = chosen[i] && forward[made.source[i]] && backward[made.target[i]] ? 1 : 0;
  }
  return kept;
}

/**
 * The kept edges that lie on a path through a node, or through the candidate edge `edge`.
 * @type {(graph: Graph, made: Candidates, kept: Flags, through: { node?: number, edge?: number }) => Flags}
 */
function traceThrough(graph, made, kept, { node = -1, edge = -1 }) {
  const before = edge >= 0 ? made.source[edge] : node;
  const after = edge >= 0 ? made.target[edge] : node;
  const backward = backwardReach(graph, made, kept, [before]);
  const forward = forwardReach(graph, made, kept, [after]);
  const on = new Uint8Array(made.count);
  for (let i = 0; i < made.count; i += 1) {
    if (kept[i] && (backward[made.target[i]] || forward[made.source[i]])) on[i] = 1;
  }
  if (edge >= 0 && kept[edge]) on[edge] = 1;
  return on;
}

/**
 * First n of the ranking, with edits applied: edges added and removed, nodes excluded.
 * @type {(made: Candidates, n: number, edits?: EditedEdges | null, rank?: Int32Array) => Flags}
 */
function chooseCandidates(made, n, edits, rank = made.rank) {
  const chosen = new Uint8Array(made.count);
  for (let i = 0; i < made.count; i += 1) chosen[i] = rank[i] >= 0 && rank[i] < n ? 1 : 0;
  if (!edits) return chosen;
  for (const i of edits.added) chosen[i] = 1;
  for (const i of edits.removed) chosen[i] = 0;
  if (edits.excluded.size) {
    for (let i = 0; i < made.count; i += 1) {
      if (edits.excluded.has(made.source[i]) || edits.excluded.has(made.target[i])) chosen[i] = 0;
    }
  }
  return chosen;
}

/** @type {(flags: Flags) => number} */
function countOnes(flags) {
  let total = 0;
  for (let i = 0; i < flags.length; i += 1) total += flags[i];
  return total;
}
