// @ts-check
// The circuit view: holds the state, redraws in the browser, and tells Python what the user did.

const BUS = "eapgp-circuit-view"; // window event by which linked panes follow each other
const DRAW_LIMIT = 5000;
const PREVIEW_LIMIT = 1500;
const LOWEST = 300; // px of a view whose height follows the window's
const SETTLED = 250; // ms after which a change counts as a single one and not as one of a row
/** Camera and legend by key, for a view that is mounted again. @type {Map<string, { zoom: Zoom | null, legend: boolean }>} */
const REMEMBERED = new Map();

class CircuitView {
  // From Python, by `update`.
  /** @type {Component} */ component;
  /** @type {Payload} */ data;
  live = false; // between the first data and `destroy`
  turn = 0;

  // What the graph's dimensions decide, by `mount`.
  /** @type {Graph} */ graph;
  /** @type {Layout} */ layout;
  /** @type {Scene} */ scene;
  /** @type {Camera} */ camera;
  /** @type {MiniMap} */ map;
  /** @type {Toolbar} */ toolbar;
  /** @type {HTMLElement} */ stage;
  /** @type {HTMLElement} */ canvas;
  /** @type {HTMLElement} */ hint;
  /** @type {HTMLElement} */ tip;
  /** @type {HTMLElement} */ status;
  /** @type {HTMLElement} */ legend;
  /** @type {HTMLElement} */ heading;
  /** @type {HTMLElement} */ name;
  /** @type {HTMLElement} */ note;
  /** @type {HTMLElement} */ tally;
  /** Itself, and the panes whose tools it lends. @type {CircuitView[]} */ family = [this];
  /** @type {HTMLElement} */ help;
  /** @type {About} */ about;
  /** @type {ResizeObserver | undefined} */ observer;

  // What the payload says of its edges.
  /** @type {Candidates} */ made;
  /** @type {Int32Array} */ byStrength;
  /** @type {Map<number, Role>} */ roles;
  /** @type {string | undefined} */ rolesText;
  /** @type {Map<string, string>} */ kinds;
  /** @type {Flags | null} */ truth;
  largest = 0;
  scale = 0;
  otherScale = 0;

  // What the user chose, and what follows from it, by `compute`.
  /** @type {ViewState} */ state;
  /** @type {Result} */ result;
  /** @type {Flags} */ kept;
  /** @type {Flags | null} */ other;
  /** @type {PlacedGroup[]} */ placed = [];
  /** @type {Target | null} */ hover = null;
  hoverKey = "";
  roving = 0; // the node in the tab order
  groupNote = ""; // what the last import of groups came to
  /** @type {string | undefined} */ said;
  cameraText = "";
  quiet = false; // the camera is moved from here, not by the user
  fallbackFull = false; // fills the page where the browser refuses its full screen
  hintTimer = 0;
  isStale = false;

  // What Python and linked panes have heard.
  /** @type {Record<string, string | undefined>} */ seenView = {};
  /** @type {Map<string, { text: string, time: number }[]>} */ reported = new Map();
  /** @type {Set<StatePart>} */ dirty = new Set();
  /** @type {Edit | null} */ lastEdit = null;
  /** @type {Zoom | null | undefined} */ wanted;
  sentAt = -Infinity;
  receiving = false;

  /** @param {Component["parentElement"]} parent */
  constructor(parent) {
    this.abort = new AbortController();
    this.id = Math.random().toString(36).slice(2);
    this.flush = debounce(() => this.report(), 60);
    this.flushLater = debounce(() => this.report(), 600);
    this.redraw = perFrame(() => this.render());
    this.preview = perFrame(() => this.render({ preview: true }));
    this.complete = debounce(() => this.render(), 160);
    this.relight = perFrame(() => this.light());
    this.root = html("div", { class: "circuit-view" });
    parent.append(this.root);
  }

  // ---- data from Python --------------------------------------------------------------------

  /** @param {Component} component */
  update(component) {
    this.component = component;
    const before = this.live ? this.data : null;
    const data = component.data;
    if (!data || data === before) {
      this.retheme();
      return;
    }
    this.data = data;
    this.live = true;
    const size = (/** @type {Payload} */ { graph }) => [graph.n_layers, graph.n_heads, graph.parallel_attn_mlp].join();
    const regraph = !before || size(before) !== size(data);
    if (regraph) this.mount();
    const edges = (/** @type {Payload} */ payload) => [payload.source, payload.destination, payload.score, payload.extra_rank?.join(), payload.compare?.score, payload.compare?.rank];
    if (!before || regraph || edges(before).some((text, i) => text !== edges(data)[i])) this.setCandidates();
    this.readRoles();
    this.readKinds();
    this.scale = data.scale_max > 0 ? data.scale_max : this.largest;
    this.otherScale = data.compare?.scale || this.scale;
    this.applyView(data.view ?? {}, regraph);
    if (regraph) this.restore();
    this.style();
    this.render();
    if (regraph) this.showCamera(this.wanted ?? null);
    this.checkStale();
  }

  /** Builds the parts that depend on the graph's dimensions. */
  mount() {
    const { data } = this;
    this.abort.abort();
    this.abort = new AbortController();
    this.observer?.disconnect();
    this.graph = makeGraph(data.graph);
    this.layout = this.layoutFor(null);
    this.scene = new Scene(this.graph, this.layout);
    const { layers } = this.graph;
    this.state = { n: 0, selection: null, pins: [], filters: this.noFilters(layers), groups: [], trace: false, rows: "usual", tool: "select", added: [], removed: [], excluded: [], from: -1 };
    this.stage = html("div", { class: "stage", role: "group", tabindex: -1, "data-zoom": "mid" }, this.scene.world);
    this.hint = html("div", { class: "hint", text: "Hold Ctrl and turn the wheel to zoom; drag to move" });
    this.tip = html("div", { class: "tip", role: "tooltip", hidden: true });
    this.status = html("div", { class: "sr-only", role: "status", "aria-live": "polite" });
    this.legend = html("div", { class: "legend" });
    this.name = html("span", { class: "name-of" });
    this.note = html("span", { class: "note-of" });
    this.tally = html("span", { class: "tally" });
    this.heading = html("div", { class: "heading" }, this.name, this.note, this.tally);
    this.help = html("div", { class: "sr-only", id: `help-${this.id}`, text: "Arrow keys move between nodes of the circuit, Enter selects, Space pins, e steps through the edges of a node, t traces, Escape clears." });
    this.camera = new Camera(this.stage, this.scene, this.layout, (final) => this.moved(final));
    this.map = new MiniMap(this.camera);
    this.stage.append(this.hint);
    this.canvas = html("div", { class: this.layout.deep ? "canvas beside" : "canvas" }, this.stage, this.map.element);
    this.toolbar = new Toolbar(this);
    this.about?.stop();
    this.about = new About(this);
    this.root.replaceChildren(this.heading, this.about.element, this.toolbar.element, this.canvas, this.legend, this.tip, this.status, this.help);
    this.stage.setAttribute("aria-describedby", this.help.id);
    this.roving = this.graph.nodes.length - 1;
    this.scene.elements[this.roving].setAttribute("tabindex", "0");
    this.listen();
  }

  /** @param {Folded | null} folded */
  layoutFor(folded) {
    return makeLayout(this.graph, { narrow: window.innerWidth < 640, width: (this.root.clientWidth || 900) - MAP_WIDTH - 12, folded });
  }

  /** Whether rows and columns without a node of the circuit are folded away: of deep graphs, unless someone wants all. */
  get folds() {
    return this.foldable && this.state.rows !== "all" && this.state.tool !== "add";
  }

  /** Linked panes keep their rows alike. */
  get foldable() {
    return isDeep(this.graph) && !this.data.link_group;
  }

  /** Layers and heads without a node that is drawn, selected or pinned; null where none is folded away. @returns {Folded | null} */
  empty() {
    if (!this.folds) return null;
    const { graph, result, state } = this;
    const layers = new Uint8Array(graph.layers).fill(1);
    const heads = new Uint8Array(graph.heads).fill(1);
    const keep = (/** @type {number} */ node) => {
      if (node >= 0) layers[graph.layerOf[node]] = heads[graph.headOf[node]] = 0; // −1, of input and MLPs, is no place
    };
    result.used.forEach((used, node) => used && keep(node));
    for (const name of [...state.pins, ...(state.selection?.name ?? "").split("->")]) keep(nodeAt(graph, name.replace(/<.>$/, "")));
    return layers.includes(1) || heads.includes(1) ? { layers, heads } : null;
  }

  /** Folds and unfolds rows as the circuit, the selection and the width of the stage ask for. */
  fold() {
    if (!this.layout.deep) return;
    const next = this.layoutFor(this.empty());
    const key = (/** @type {Layout} */ { hidden, width }) => `${width} ${hidden.join("")}`;
    if (key(next) === key(this.layout)) return;
    this.layout = next;
    this.scene.place(next);
    for (const [node, role] of this.roles) this.scene.setRole(node, role);
    this.setGroups(this.state.groups, false);
    this.stretch();
    this.quiet = true;
    this.camera.room = null;
    this.camera.place(next);
    this.cameraText = JSON.stringify(this.camera.state);
    this.quiet = false;
  }

  /** On phones the stage is as tall as the drawing: the page scrolls, not a box within it. */
  stretch() {
    const tall = this.layout.deep && window.innerWidth < 640;
    this.root.style.setProperty("--stage-height", tall ? `${Math.ceil(this.layout.height * this.layout.readable) + 8}px` : "");
  }

  setCandidates() {
    this.made = makeCandidates(this.graph, this.data);
    this.scene.curves = [];
    this.scene.paths = [];
    this.order();
  }

  order() {
    const { score, otherScore, count } = this.made;
    const { compare, scale_max: scale } = this.data;
    const [unit, otherUnit] = compare?.scale && scale > 0 ? [scale, compare.scale] : [1, 1]; // sizes in one unit
    const size = new Float32Array(count);
    for (let i = 0; i < count; i += 1) size[i] = Math.max((Math.abs(score[i]) || 0) / unit, (Math.abs(otherScore[i]) || 0) / otherUnit);
    this.byStrength = Int32Array.from(size.keys()).sort((a, b) => size[b] - size[a] || a - b);
    this.largest = count ? size[this.byStrength[0]] : 0;
  }

  readRoles() {
    const text = JSON.stringify(this.data.roles ?? []);
    if (text === this.rolesText) return;
    this.rolesText = text;
    /** @type {Map<number, Role>} */
    const roles = new Map();
    for (const role of this.data.roles ?? []) {
      for (const name of role.nodes) {
        const node = nodeAt(this.graph, name);
        if (node >= 0) roles.set(node, role);
      }
    }
    this.roles = roles;
    this.graph.nodes.forEach((_, i) => this.scene.setRole(i, roles.get(i) ?? null));
  }

  readKinds() {
    this.kinds = edgeKinds(this.data);
    const count = this.made.count;
    const flags = (/** @type {string} */ text) => {
      const set = new Uint8Array(count);
      for (const i of new Uint32Array(bytesOf(text))) set[i] = 1;
      return set;
    };
    this.truth = this.data.truth ? flags(this.data.truth.edges) : null;
  }

  /**
   * Takes over what Python asks for, unless it only echoes what the user did here.
   * @param {WantedView} wanted
   * @param {boolean} first
   */
  applyView(wanted, first) {
    const { state, graph } = this;
    const changed = (/** @type {keyof WantedView} */ key) => {
      const text = JSON.stringify(wanted[key]);
      if (wanted[key] === undefined || text === this.seenView[key]) return false;
      this.seenView[key] = text;
      return first || !this.isEcho(key, text);
    };
    if (changed("n") || first) state.n = clamp(Math.round(wanted.n ?? 100), 0, this.made.ranked);
    state.n = Math.min(state.n, this.made.ranked);
    if (changed("selection")) state.selection = this.validSelection(wanted.selection);
    if (changed("pins")) state.pins = (wanted.pins ?? []).filter((name) => graph.index.has(name));
    if (changed("filters")) state.filters = this.readFilters(wanted.filters);
    if (changed("groups")) this.setGroups(readGroups(graph, wanted.groups), false);
    if (changed("added")) state.added = this.readEdges(wanted.added);
    if (changed("removed")) state.removed = this.readEdges(wanted.removed);
    if (changed("excluded")) state.excluded = (wanted.excluded ?? []).filter((name) => graph.index.has(name));
    if (changed("trace")) state.trace = Boolean(wanted.trace);
    if (changed("rows")) state.rows = wanted.rows === "all" || wanted.rows === "used" ? wanted.rows : "usual";
    if (changed("zoom")) {
      if (first) this.wanted = wanted.zoom;
      else this.showCamera(wanted.zoom ?? null);
    }
    if (!state.groups.length && this.scene.groupOf) this.setGroups([], false);
  }

  /**
   * Whether Python only sends back what was reported from here; reports up to it are done with.
   * @param {string} key
   * @param {string} text
   */
  isEcho(key, text) {
    const mine = this.reported.get(key) ?? [];
    const at = mine.findLastIndex((entry) => entry.text === text && Date.now() - entry.time < 10000);
    this.reported.set(key, mine.slice(at + 1));
    return at >= 0;
  }

  /** @type {(value: Partial<Target> | null | undefined) => Target | null} */
  validSelection(value) {
    const { graph } = this;
    const { type, name = "" } = value ?? {};
    const valid = type === "node" ? graph.index.has(name) : type === "edge" && parseEdge(graph, name);
    return type && valid ? { type, name } : null;
  }

  /** @param {string[] | undefined} names */
  readEdges(names) {
    return (Array.isArray(names) ? names : []).filter((name) => parseEdge(this.graph, name));
  }

  /** @returns {Filters} */
  noFilters(layers = this.graph.layers) {
    return { sign: "all", types: [true, true, true, true, true], from: 0, to: layers - 1, least: 0, width: "sqrt" };
  }

  /** @type {(value: WantedView["filters"]) => Filters} */
  readFilters(value) {
    const base = this.noFilters();
    const last = this.graph.layers - 1;
    const number = (/** @type {number | undefined} */ entry, /** @type {number} */ fallback) => (Number.isFinite(entry) ? Number(entry) : fallback);
    /** @type {(boolean | string)[] | undefined} */
    const types = Array.isArray(value?.types) ? value.types : undefined;
    const flags = types?.length === 5 && typeof types[0] === "boolean";
    return {
      sign: value?.sign === "plus" || value?.sign === "minus" ? value.sign : base.sign,
      types: types ? EDGE_TYPES.map((type, i) => (flags ? Boolean(types[i]) : types.includes(type))) : base.types,
      from: clamp(number(value?.from, 0), 0, last), to: clamp(number(value?.to, last), 0, last),
      least: Math.max(0, number(value?.least, 0)), width: value?.width === "log" ? "log" : "sqrt",
    };
  }

  // ---- state → picture ---------------------------------------------------------------------

  /** Which edges are selected, kept and shown. */
  compute() {
    const edits = this.editSets(); // may append candidates
    const { graph, made, state, data } = this;
    const prune = (/** @type {Flags} */ chosen) => (data.prune === false ? chosen : pruneCandidates(graph, made, chosen));
    const chosen = chooseCandidates(made, data.fixed ? made.ranked : state.n, edits);
    const kept = prune(chosen);
    this.other = data.compare ? prune(chooseCandidates(made, state.n, edits, made.otherRank)) : null;
    this.kept = kept;
    const { other, truth, byStrength } = this;
    const filtered = this.filtersActive();
    const strongestFirst = new Int32Array(made.count);
    let shown = 0;
    for (let j = 0; j < byStrength.length; j += 1) {
      const i = byStrength[j];
      if ((kept[i] || (other && other[i]) || (truth && truth[i])) && (!filtered || this.passes(i))) strongestFirst[shown++] = i;
    }
    const visible = strongestFirst.slice(0, shown);
    const incoming = new Int32Array(graph.nodes.length);
    const outgoing = new Int32Array(graph.nodes.length);
    const ports = new Uint8Array(graph.nodes.length);
    const used = new Uint8Array(graph.nodes.length);
    for (const i of visible) {
      outgoing[made.source[i]] += 1;
      incoming[made.target[i]] += 1;
      used[made.source[i]] = used[made.target[i]] = 1;
      const type = graph.destinationType[made.destination[i]];
      if (type < 3) ports[made.target[i]] |= 1 << type;
    }
    const drawn = visible.slice(0, DRAW_LIMIT).reverse();
    this.result = { selected: countOnes(chosen), kept: countOnes(kept), other: this.other ? countOnes(this.other) : 0, visible: visible.reverse(), drawn, incoming, outgoing, ports, used };
  }

  /** @returns {EditedEdges | null} */
  editSets() {
    const { state, graph } = this;
    if (!state.added.length && !state.removed.length && !state.excluded.length) return null;
    const find = (/** @type {string} */ name) => {
      const at = candidateNamed(graph, this.made, name);
      const ends = parseEdge(graph, name);
      if (at >= 0 || !ends) return at;
      this.made = appendCandidate(graph, this.made, ...ends);
      this.order();
      this.readKinds();
      return this.made.count - 1;
    };
    return { added: state.added.map(find), removed: state.removed.map(find), excluded: new Set(state.excluded.map((name) => nodeAt(graph, name))) };
  }

  /** @param {number} i */
  passes(i) {
    const { filters } = this.state;
    const { graph, made } = this;
    const score = this.scoreOf(i);
    if (filters.sign === "plus" && !(score > 0)) return false;
    if (filters.sign === "minus" && !(score < 0)) return false;
    if (!filters.types[graph.destinationType[made.destination[i]]]) return false;
    if (filters.least > 0 && !(Math.abs(score) >= filters.least)) return false;
    if (filters.from === 0 && filters.to === graph.layers - 1) return true;
    const from = graph.layerOf[made.source[i]];
    const to = graph.layerOf[made.target[i]];
    return (from < 0 || (from >= filters.from && from <= filters.to)) && (to === graph.layers || (to >= filters.from && to <= filters.to));
  }

  filtersActive() {
    const { width } = this.state.filters;
    return JSON.stringify(this.state.filters) !== JSON.stringify({ ...this.noFilters(), width });
  }

  /** Score that an edge is drawn with: the second method's where only that one holds it. @param {number} i */
  scoreOf(i) {
    return this.onlyOther(i) ? this.made.otherScore[i] : this.made.score[i];
  }

  /** Whether only the second method holds an edge. @param {number} i */
  onlyOther(i) {
    return Boolean(this.other?.[i]) && !this.kept[i];
  }

  /** Class of an edge: comparison, known circuit, or plain. @param {number} i */
  kindOf(i) {
    if (this.other) {
      if (!this.other[i]) return "only-a";
      if (!this.kept[i]) return "only-b";
      return this.made.score[i] * this.made.otherScore[i] < 0 ? "flipped" : "both";
    }
    if (this.truth) return this.truth[i] ? (this.kept[i] ? "found" : "missed") : "extra";
    return "plain";
  }

  /** @type {(i: number) => Look} */
  look(i) {
    const score = this.scoreOf(i);
    return { score, kind: this.kindOf(i), width: widthOf(score, this.onlyOther(i) ? this.otherScale : this.scale, this.state.filters.width) };
  }

  /** Draws everything; as a preview (while the slider moves) only the strongest of very many edges. */
  render({ preview = false } = {}) {
    for (const task of [this.redraw, this.preview, this.complete]) task.cancel();
    this.compute();
    this.fold();
    const { scene, made, result, stage } = this;
    const partly = preview && result.drawn.length > PREVIEW_LIMIT;
    const count = result.drawn.length;
    stage.classList.toggle("many", count > PREVIEW_LIMIT);
    scene.edges.style.setProperty("--edge-opacity", count > PREVIEW_LIMIT ? "0.42" : count > 300 ? "0.65" : "0.85");
    scene.drawEdges(scene.edges, made, partly ? result.drawn.slice(-PREVIEW_LIMIT) : result.drawn, (i) => this.look(i));
    if (partly) this.complete();
    this.light();
    this.map.draw(result.used);
    this.toolbar.sync();
    const text = this.summary();
    if (text !== this.said) {
      this.said = text;
      this.status.textContent = text;
      this.stage.setAttribute("aria-label", `Circuit: ${text}. ${this.strongestText()}`);
    }
  }

  strongestText() {
    const { drawn } = this.result;
    const top = [...drawn.slice(-3)].reverse().map((i) => `${this.nameOf(i)} ${signed(this.scoreOf(i))}`);
    return top.length ? `Strongest edges: ${top.join("; ")}.` : "No edge.";
  }

  summary() {
    const { result, data } = this;
    const parts = [];
    if (data.compare) parts.push(`${data.compare.a}: ${whole(result.kept)} kept`, `${data.compare.b}: ${whole(result.other)} kept`);
    else if (data.prune === false) parts.push(`${whole(result.selected)} edges`);
    else parts.push(`${whole(result.selected)} selected`, `${whole(result.kept)} kept`);
    const total = result.visible.length;
    if (total > result.drawn.length) parts.push(`strongest ${whole(result.drawn.length)} drawn`);
    else if (this.filtersActive()) parts.push(`${whole(total)} shown`);
    return parts.join(" · ");
  }

  summaryNote() {
    const many = this.result.drawn.length >= 1000 ? " More than 1,000 edges are hard to read." : "";
    return `Kept edges lie on a path from input to logits; the others are pruned away.${many}`;
  }
}
