// The types that the files of the circuit view share; `make check` holds the JavaScript against them.

type NodeKind = "input" | "head" | "mlp" | "logits";
type Point = [number, number];
/** One number per node or candidate: 0 or 1. */
type Flags = Uint8Array;

// ---- what Python sends (payload.py) ----------------------------------------------------------

interface GraphSize {
  n_layers: number;
  n_heads: number;
  parallel_attn_mlp?: boolean;
}

interface Role {
  name: string;
  color: string;
  nodes: string[];
  title?: string;
}

/** A link or a hand-written payload may hold anything here: what is malformed is left out. */
interface WantedView {
  n?: number;
  selection?: Partial<Target> | null;
  pins?: string[];
  filters?: Partial<Omit<Filters, "types">> & { types?: boolean[] | string[] };
  groups?: Partial<Group>[];
  added?: string[];
  removed?: string[];
  excluded?: string[];
  trace?: boolean;
  rows?: Rows;
  zoom?: Zoom | null;
}

/** Arrays are base64 of little-endian numbers. */
interface Payload {
  graph: GraphSize;
  source: string;
  destination: string;
  index_bytes: number;
  score: string;
  extra_rank?: number[];
  n_total?: number;
  scale_max: number;
  view?: WantedView;
  roles?: Role[];
  said?: Record<string, string[]>;
  compare?: { a: string; b: string; score: string; rank: string; scale?: number };
  truth?: { edges: string };
  prune?: boolean;
  fixed?: boolean;
  edit?: boolean;
  pictures?: boolean;
  legend?: boolean;
  legend_note?: string;
  depends?: string;
  link_group?: string;
  title?: string;
  note?: string;
  caption?: string;
  filename?: string;
  /** Selectors of what the page says about the circuit. */
  about?: { title: string; value: string; style: string; parts: string };
  height?: number;
  above?: number;
  key?: string;
  panes?: Payload[];
}

/** What Streamlit (or the stand-alone page) calls the view with. */
interface Component {
  data: Payload | null;
  parentElement: HTMLElement | ShadowRoot;
  setStateValue?: (name: string, value: unknown) => void;
}

// ---- the graph and its candidates ------------------------------------------------------------

/** Nodes and destinations in the order in which they are computed. */
interface Graph {
  layers: number;
  heads: number;
  parallel: boolean;
  nodes: string[];
  layerOf: number[];
  kindOf: NodeKind[];
  headOf: number[];
  destinationNode: Int32Array;
  /** Places in EDGE_TYPES. */
  destinationType: Uint8Array;
  /** How many nodes each destination reads from: those computed before it. */
  prefix: Int32Array;
  index: Map<string, number>;
  edges: number;
}

/** Candidates as the payload holds them, in selection order; without comparison `other…` are empty. */
interface RankedEdges {
  source: Int32Array;
  destination: Int32Array;
  score: Float32Array;
  rank: Int32Array;
  otherScore: Float32Array;
  otherRank: Int32Array;
  ranked: number;
  count: number;
}

interface Candidates extends RankedEdges {
  target: Int32Array;
  bySource: Int32Array;
  byTarget: Int32Array;
  /** Candidate by source and destination. */
  at: Map<number, number>;
}

interface EditedEdges {
  added: number[];
  removed: number[];
  excluded: Set<number>;
}

// ---- where things stand ----------------------------------------------------------------------

interface Box {
  x: number;
  y: number;
  w: number;
  h: number;
}

/** Sizes that rows, columns and boxes of a graph have; `readable`: the least scale of the view it opens with, 0 for none. */
interface Measures {
  row: number;
  column: number;
  boxWidth: number;
  boxHeight: number;
  left: number;
  arcs: number;
  readable: number;
}

/** Flags of layers without a row and of heads without a column. */
interface Folded {
  layers: Flags;
  heads: Flags;
}

interface Span {
  from: number;
  to: number;
  at: number;
}

interface Layout extends Measures {
  x: Float32Array;
  y: Float32Array;
  w: Float32Array;
  width: number;
  height: number;
  bands: { layer: number; y: number; height: number }[];
  /** Runs of layers without a row and of heads without a column, and where the line stands that they share. */
  rowFolds: Span[];
  columnFolds: Span[];
  /** Flags of the nodes in them. */
  hidden: Flags;
  /** Too many layers or heads to be drawn whole. */
  deep: boolean;
  port: number;
  mlpX: number;
  tab: number;
}

interface Curve {
  x0: number;
  y0: number;
  x1: number;
  y1: number;
  bow: number;
}

interface Group {
  name: string;
  nodes: string[];
  collapsed: boolean;
}

interface PlacedGroup extends Box {
  name: string;
  title: string;
  nodes: number[];
}

/** For every node the box it is in; null where no group is collapsed. */
type GroupOf = (PlacedGroup | null)[] | null;

interface Zoom {
  k: number;
  x: number;
  y: number;
}

/** A place on the page. */
interface PagePoint {
  clientX: number;
  clientY: number;
}

// ---- elements --------------------------------------------------------------------------------

type IconName = keyof typeof ICONS;
type Attribute = string | number | boolean | null | undefined | ((event: Event) => unknown);
type Attributes = Record<string, Attribute>;
type Child = Node | null | undefined;

interface ButtonOptions {
  name?: IconName;
  label: string;
  title?: string;
  text?: string;
  pressed?: boolean;
  className?: string;
  onclick: () => unknown;
}

/** A task that runs later; `.cancel()` forgets it. */
interface Deferred {
  (): void;
  cancel: () => void;
}

/** A drop-down of the toolbar; `fill` makes its content each time it opens. */
interface Panel {
  panel: HTMLDivElement;
  opener: HTMLButtonElement;
  fill: () => HTMLElement[];
}

/** What is drawn inside a node's element. */
interface NodeParts {
  chip?: SVGRectElement | null;
  role?: SVGTextElement | null;
  ports?: SVGGElement | null;
  bits?: number;
}

type LegendEntry = [HTMLElement | SVGElement | null, string];

interface Gestures {
  tap: (event: PointerEvent) => void;
  wheelAllowed: () => boolean;
  hint: () => void;
  signal: AbortSignal;
}

// ---- the view --------------------------------------------------------------------------------

interface Target {
  type: "node" | "edge" | "group";
  name: string;
}

interface Filters {
  sign: "all" | "plus" | "minus";
  /** In the order of EDGE_TYPES. */
  types: boolean[];
  from: number;
  to: number;
  least: number;
  width: "sqrt" | "log";
}

type Tool = "select" | "add" | "remove";

/** Rows of layers without a node of the circuit: as the graph's depth asks for, drawn, or folded away. */
type Rows = "usual" | "all" | "used";

interface ViewState {
  n: number;
  selection: Target | null;
  pins: string[];
  filters: Filters;
  groups: Group[];
  trace: boolean;
  rows: Rows;
  tool: Tool;
  added: string[];
  removed: string[];
  excluded: string[];
  /** Source of an edge that is being added; −1 without. */
  from: number;
}

/** Which candidates are shown (weakest first) and drawn, and what that makes of every node. */
interface Result {
  selected: number;
  kept: number;
  other: number;
  visible: Int32Array;
  drawn: Int32Array;
  incoming: Int32Array;
  outgoing: Int32Array;
  ports: Uint8Array;
  used: Flags;
}

interface Look {
  score: number;
  kind: string;
  width: number;
}

type Edit = { op: "add" | "remove"; edge: string } | { op: "exclude" | "restore"; node: string };

type StatePart = "select" | "view" | "edit";

/** What linked panes tell each other. */
type Message =
  | { kind: "hover"; target: Target | null }
  | { kind: "select"; selection: Target | null; clear?: boolean }
  | { kind: "pin"; name: string }
  | { kind: "trace"; trace: boolean }
  | { kind: "camera"; camera: Zoom | null }
  | { kind: "count"; n: number }
  | { kind: "filters"; filters: Filters }
  | { kind: "commit" };

type Posted = Message & { group: string; origin: string };

interface WindowEventMap {
  "eapgp-circuit-view": CustomEvent<Posted>;
}

// CircuitView's methods outside view.js, one interface per file; there `this` is the view.

/** highlight.js */
interface Highlighting {
  focusSet(): { nodes: Set<number>; edges: Set<number>; mode: "hover" | "select" | null };
  traced(selection: Target): number[];
  light(): void;
  setHover(target: Target | null, at?: PagePoint | null, fromLink?: boolean): void;
  fillTip(target: Target | null): void;
  nameOf(edge: number): string;
}

/** actions.js */
interface Acting {
  listen(): void;
  targetAt(at: PagePoint & { pointerType?: string }): Target | null;
  tap(event: PointerEvent): void;
  press(target: Target, how?: { pin?: boolean; event?: PagePoint | null }): void;
  select(target: Target | null, fromLink?: boolean): void;
  isSelectedEdge(edge: number): boolean;
  togglePin(name: string, fromLink?: boolean): void;
  escape(): boolean;
  toggleTrace(): void;
  toggleRows(): void;
  setRoving(node: number): void;
  focusNode(node: number): void;
  focused(event: FocusEvent): void;
  setCount(n: number, how: "drag" | "number"): void;
  commitCount(): void;
  setFilters(changes: Partial<Filters>): void;
  fit(): void;
  moved(final: boolean): void;
  applyScale(k: number): void;
  showCamera(zoom: Zoom | null): void;
  resized(): void;
  isFull(): boolean;
  toggleFullscreen(): Promise<void>;
  filled(): void;
  toggleLegend(): void;
  showHint(): void;
}

/** editing.js */
interface Editing {
  groupNamed(name: string): Group | undefined;
  groupCandidates(): string[];
  setGroups(groups: Group[], byUser?: boolean): void;
  addGroup(nodes: string[]): void;
  changeGroup(group: Group, changes: Partial<Group>): void;
  removeGroup(group: Group): void;
  groupByRole(): void;
  exportGroups(): void;
  importGroups(file: File): Promise<void>;
  exportSvg(): void;
  exportPng(): Promise<void>;
  exportCsv(): void;
  setTool(tool: Tool): void;
  remove(target: Target): void;
  removeNode(node: number): void;
  removeAt(node: number): void;
  addStep(target: Target, event: PagePoint | null): void;
  edit(change: Edit): void;
}

/** bridge.js */
interface Reporting {
  send(message: Message): void;
  receive(message: Posted): void;
  known(target: Target | null): Target | null;
  mark(part: StatePart, when?: "soon" | "later" | "now"): void;
  report(): void;
  markStale(on?: boolean): void;
  checkStale(): void;
  remember(): void;
  restore(): void;
  style(): void;
  retheme(): void;
  destroy(): void;
}

interface CircuitView extends Highlighting, Acting, Editing, Reporting {}
