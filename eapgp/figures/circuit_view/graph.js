// The graph, its candidate edges, and what is computed on them: selection, pruning, tracing.
// Nothing here touches the page, so the same functions are checked against the Python ones.

const EDGE_TYPES = ["q", "k", "v", "mlp", "logits"];

/** Names, layers and kinds of the nodes and destinations of a decoder-only transformer. */
function makeGraph({ n_layers: layers, n_heads: heads, parallel_attn_mlp: parallel = false }) {
  const graph = { layers, heads, parallel, nodes: [], layerOf: [], kindOf: [], headOf: [] };
  const push = (name, layer, kind, head = -1) => {
    graph.nodes.push(name);
    graph.layerOf.push(layer);
    graph.kindOf.push(kind);
    graph.headOf.push(head);
  };
  push("input", -1, "input");
  const destinationNode = [];
  const destinationType = [];
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
  destinationNode.push(graph.nodes.length - 1);
  destinationType.push(4);
  prefix.push(graph.nodes.length - 1);
  graph.destinationNode = Int32Array.from(destinationNode);
  graph.destinationType = Uint8Array.from(destinationType);
  graph.prefix = Int32Array.from(prefix);
  graph.index = new Map(graph.nodes.map((name, i) => [name, i]));
  graph.edges = prefix.reduce((sum, count) => sum + count, 0);
  return graph;
}

/** Name of a destination, such as `a0.h1<q>`, `m0` or `logits`. */
function destinationName(graph, destination) {
  const name = graph.nodes[graph.destinationNode[destination]];
  const type = graph.destinationType[destination];
  return type < 3 ? `${name}<${EDGE_TYPES[type]}>` : name;
}

function edgeName(graph, source, destination) {
  return `${graph.nodes[source]}->${destinationName(graph, destination)}`;
}

/** Destination index by node and type (0 q, 1 k, 2 v; ignored for MLPs and logits). */
function destinationOf(graph, node, type) {
  const kind = graph.kindOf[node];
  const per = 3 * graph.heads + 1;
  if (kind === "logits") return graph.layers * per;
  if (kind === "mlp") return graph.layerOf[node] * per + 3 * graph.heads;
  if (kind === "head") return graph.layerOf[node] * per + type * graph.heads + graph.headOf[node];
  return -1;
}

/** `[source, destination]` of a named edge, or null where the graph has no such edge. */
function parseEdge(graph, name) {
  const [left, right] = String(name).split("->");
  const match = /^(.*?)(?:<([qkv])>)?$/.exec(right ?? "");
  const source = graph.index.get(left);
  const node = graph.index.get(match?.[1]);
  if (source === undefined || node === undefined) return null;
  if (graph.kindOf[node] === "head" && !match[2]) return null;
  const destination = destinationOf(graph, node, EDGE_TYPES.indexOf(match[2]));
  return destination >= 0 && source < graph.prefix[destination] ? [source, destination] : null;
}

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
  const made = { source, destination, score, rank, ranked, count: source.length };
  if (payload.compare) {
    made.otherScore = new Float32Array(bytesOf(payload.compare.score));
    made.otherRank = new Int32Array(bytesOf(payload.compare.rank));
  }
  return indexCandidates(graph, made);
}

/** Adds the orders and look-ups that selection needs; called again after an edge is appended. */
function indexCandidates(graph, made) {
  const { source, destination, count } = made;
  const target = new Int32Array(count);
  for (let i = 0; i < count; i += 1) target[i] = graph.destinationNode[destination[i]];
  made.target = target;
  made.bySource = countingOrder(source, graph.nodes.length);
  made.byTarget = countingOrder(target, graph.nodes.length);
  made.at = new Map();
  const width = graph.destinationNode.length;
  for (let i = 0; i < count; i += 1) made.at.set(source[i] * width + destination[i], i);
  return made;
}

function candidateAt(graph, made, source, destination) {
  return made.at.get(source * graph.destinationNode.length + destination) ?? -1;
}

/** The candidates with one unscored edge more. */
function appendCandidate(graph, made, source, destination) {
  const grow = (array, value) => {
    const longer = new array.constructor(array.length + 1);
    longer.set(array);
    longer[array.length] = value;
    return longer;
  };
  const next = { ...made, count: made.count + 1 };
  next.source = grow(made.source, source);
  next.destination = grow(made.destination, destination);
  next.score = grow(made.score, NaN);
  next.rank = grow(made.rank, -1);
  if (made.otherScore) {
    next.otherScore = grow(made.otherScore, NaN);
    next.otherRank = grow(made.otherRank, -1);
  }
  return indexCandidates(graph, next);
}

function countingOrder(keys, size) {
  const start = new Int32Array(size + 1);
  for (let i = 0; i < keys.length; i += 1) start[keys[i] + 1] += 1;
  for (let i = 0; i < size; i += 1) start[i + 1] += start[i];
  const order = new Int32Array(keys.length);
  for (let i = 0; i < keys.length; i += 1) order[start[keys[i]]++] = i;
  return order;
}

/** Candidates reached from `start`; nodes are numbered in the order in which they are computed. */
function forwardReach(graph, made, chosen, start) {
  const reached = new Uint8Array(graph.nodes.length);
  for (const node of start) reached[node] = 1;
  for (const i of made.bySource) {
    if (chosen[i] && reached[made.source[i]]) reached[made.target[i]] = 1;
  }
  return reached;
}

function backwardReach(graph, made, chosen, end) {
  const reaching = new Uint8Array(graph.nodes.length);
  for (const node of end) reaching[node] = 1;
  for (let j = made.count - 1; j >= 0; j -= 1) {
    const i = made.byTarget[j];
    if (chosen[i] && reaching[made.target[i]]) reaching[made.source[i]] = 1;
  }
  return reaching;
}

/** Keep the chosen edges that lie on a path from `input` to `logits` (paths run over nodes). */
function pruneCandidates(graph, made, chosen) {
  const forward = forwardReach(graph, made, chosen, [0]);
  const backward = backwardReach(graph, made, chosen, [graph.nodes.length - 1]);
  const kept = new Uint8Array(made.count);
  for (let i = 0; i < made.count; i += 1) {
    kept[i] = chosen[i] && forward[made.source[i]] && backward[made.target[i]] ? 1 : 0;
  }
  return kept;
}

/** The kept edges that lie on a path through a node, or through the candidate edge `edge`. */
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

/** First n of the ranking, with edits applied: edges added and removed, nodes excluded. */
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

function countOnes(flags) {
  let total = 0;
  for (let i = 0; i < flags.length; i += 1) total += flags[i];
  return total;
}
