// What the user does: pointing, choosing, editing, grouping, moving; and what Python hears of it.

const BUS = "eapgp-circuit-view";

Object.assign(CircuitView.prototype, {
  listen() {
    const { stage, camera, root } = this;
    const { signal } = this.abort;
    attachGestures(stage, camera, {
      tap: (event) => this.tap(event), wheelAllowed: () => this.isFull(), hint: () => this.showHint(), signal,
    });
    let pointer = null;
    const point = perFrame(() => pointer && this.setHover(this.targetAt(pointer), pointer));
    stage.addEventListener("pointermove", (event) => {
      if (event.buttons || event.pointerType === "touch") return;
      pointer = event;
      point();
    }, { signal });
    stage.addEventListener("pointerleave", () => {
      pointer = null;
      this.setHover(null);
    }, { signal });
    stage.addEventListener("dblclick", (event) => {
      const target = this.targetAt(event);
      if (target?.type === "group") this.changeGroup(this.groupNamed(target.name), { collapsed: false });
      else if (!target) this.fit();
    }, { signal });
    stage.addEventListener("focusin", (event) => this.focused(event), { signal });
    stage.addEventListener("focusout", () => this.setHover(null), { signal });
    root.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.toolbar.close()) event.preventDefault();
      else if (stage.contains(event.target) ? handleKey(this, event) : event.key === "Escape" && this.escape()) event.preventDefault();
    }, { signal });
    document.addEventListener("keydown", (event) => {
      const here = event.composedPath().includes(root);
      if (event.key === "Escape" && !here && !event.defaultPrevented && root.matches(":hover") && !this.toolbar.close()) this.escape();
    }, { signal });
    const outside = (event) => {
      if (!event.composedPath().some((element) => element.classList?.contains("menu"))) this.toolbar.panels.forEach((entry) => !entry.panel.hidden && this.toolbar.open(entry, false));
    };
    document.addEventListener("pointerdown", outside, { signal });
    document.addEventListener("fullscreenchange", () => this.toolbar.full.setAttribute("aria-pressed", String(this.isFull())), { signal });
    window.addEventListener(BUS, (event) => this.receive(event.detail), { signal });
    this.observer = new ResizeObserver(() => this.resized());
    this.observer.observe(stage);
  },

  // ---- pointing and choosing ---------------------------------------------------------------

  targetAt({ clientX, clientY, pointerType }) {
    const { camera, scene, made, result, graph } = this;
    const [x, y] = camera.toWorld(clientX, clientY);
    const reach = (pointerType === "touch" ? 16 : 8) / camera.k;
    const group = (this.placed ?? []).find((box) => Math.abs(x - box.x) <= box.w / 2 && Math.abs(y - box.y) <= box.h / 2);
    if (group) return { type: "group", name: group.name };
    const inside = scene.nearestNode(x, y, 0.01, () => true);
    const node = inside >= 0 ? inside : scene.nearestNode(x, y, reach * 0.75, (i) => result.used[i]);
    if (node >= 0) return { type: "node", name: graph.nodes[node] };
    const edge = scene.nearestEdge(made, result.drawn, x, y, reach);
    return edge >= 0 ? { type: "edge", name: this.nameOf(edge) } : null;
  },

  tap(event) {
    const target = this.targetAt(event);
    (target?.type === "node" ? this.scene.elements[this.graph.index.get(target.name)] : this.stage).focus({ preventScroll: true });
    if (!target) {
      if (this.state.selection || this.state.trace || this.state.from >= 0) this.select(null);
      return;
    }
    if (target.type === "node") this.setRoving(this.graph.index.get(target.name));
    const pin = event.ctrlKey || event.metaKey || event.shiftKey;
    if (event.pointerType === "touch") this.setHover(target, event);
    this.press(target, { pin, event });
  },

  /** A click, or Enter or Space, on something. */
  press(target, { pin = false, event = null } = {}) {
    const item = target.node === undefined ? target : { type: "node", name: this.graph.nodes[target.node] };
    const { tool } = this.state;
    if (this.data.edit && tool === "remove") this.remove(item);
    else if (this.data.edit && tool === "add") this.addStep(item, event);
    else if (pin && item.type === "node") this.togglePin(item.name);
    else this.select(item);
  },

  select(item, fromLink = false) {
    const { state } = this;
    state.selection = item;
    state.from = -1;
    if (!item) state.trace = false;
    this.relight();
    this.toolbar.sync();
    this.status.textContent = item ? `${item.name} selected` : "selection cleared";
    if (fromLink) return;
    this.send("select", { selection: item });
    this.mark("select");
  },

  isSelectedEdge(i) {
    return this.state.selection?.type === "edge" && this.state.selection.name === this.nameOf(i);
  },

  togglePin(name, fromLink = false) {
    const { state } = this;
    state.pins = state.pins.includes(name) ? state.pins.filter((other) => other !== name) : [...state.pins, name];
    this.relight();
    this.toolbar.refill("Groups");
    this.status.textContent = `${name} ${state.pins.includes(name) ? "pinned" : "unpinned"}`;
    if (fromLink) return;
    this.send("pin", { name });
    this.mark("select");
  },

  /** Esc: takes back the last thing; true if there was one. */
  escape() {
    const { state } = this;
    if (this.fallbackFull) {
      this.toggleFullscreen();
      return true;
    }
    const any = state.selection || state.pins.length || state.trace || this.hover || state.from >= 0 || state.tool !== "select";
    this.setHover(null);
    if (!any) return false;
    const chosen = state.selection || state.pins.length;
    Object.assign(state, { selection: null, pins: [], trace: false, from: -1, tool: "select" });
    this.relight();
    this.toolbar.sync();
    this.status.textContent = "selection cleared";
    this.send("select", { selection: null, clear: true });
    if (chosen) this.mark("select");
    return true;
  },

  toggleTrace() {
    if (!this.state.selection && !this.state.trace) return;
    this.state.trace = !this.state.trace;
    this.relight();
    this.toolbar.sync();
    this.send("trace", { trace: this.state.trace });
  },

  setRoving(node) {
    this.scene.elements[this.roving].setAttribute("tabindex", "-1");
    this.roving = node;
    this.scene.elements[node].setAttribute("tabindex", "0");
  },

  focusNode(node) {
    this.setRoving(node);
    this.camera.reveal(this.layout.x[node], this.layout.y[node]);
    this.scene.elements[node].focus({ preventScroll: true });
  },

  focused(event) {
    const element = event.target.closest?.("[data-node]");
    if (!element?.matches(":focus-visible")) return;
    const box = element.getBoundingClientRect();
    this.setHover({ type: "node", name: this.graph.nodes[Number(element.dataset.node)] }, { clientX: box.right, clientY: box.bottom });
  },

  // ---- size, filters, camera ---------------------------------------------------------------

  setCount(n, how) {
    const next = clamp(n, 0, this.made.ranked);
    if (next !== this.state.n) {
      this.state.n = next;
      if (how === "drag") this.preview();
      else this.redraw();
      this.send("count", { n: next });
    }
    this.toolbar.number.value = next;
    if (how !== "drag") {
      this.toolbar.slider.value = countToSlider(next, this.made.ranked);
      this.commitCount();
    }
  },

  commitCount() {
    this.send("commit", {});
    this.mark("view");
  },

  setFilters(changes) {
    this.state.filters = { ...this.state.filters, ...changes };
    this.redraw();
    fillLegend(this.legend, this);
    this.mark("view");
  },

  fit() {
    this.camera.fit();
    this.send("camera", { camera: null });
    this.mark("view", true);
  },

  /** Moves the camera without telling anyone. */
  showCamera(state) {
    this.quiet = true;
    this.camera.state = state;
    this.cameraText = JSON.stringify(this.camera.state);
    this.quiet = false;
  },

  /** The camera moved. Marks drawn at a fixed size on the screen follow once it rests. */
  moved(final) {
    this.toolbar?.syncZoom();
    if (final) this.applyScale(this.camera.k);
    if (this.quiet || !this.data) return;
    if (this.camera.moved && !final) this.send("camera", { camera: this.camera.state });
    if (final && JSON.stringify(this.camera.state) !== this.cameraText) {
      this.cameraText = JSON.stringify(this.camera.state);
      this.mark("view", true);
    }
  },

  /** Line widths and labels for a zoom factor. */
  applyScale(k) {
    const { stage, layout, scene } = this;
    const font = Math.min(11 * clamp(0.95 / k, 1, 1.8), layout.boxHeight * 0.7, layout.boxWidth / 2.9);
    const exporting = stage.classList.contains("exporting");
    const zoom = k >= ZOOM_NEAR || exporting ? "near" : font * k >= 5 ? "mid" : "far";
    stage.style.setProperty("--ks", String(Math.round(Math.pow(k, -0.6) * 100) / 100));
    stage.style.setProperty("--font", `${Math.round((zoom === "near" ? Math.min(11, 17 / k, layout.boxHeight * 0.5, layout.boxWidth / 4.1) : font) * 10) / 10}px`);
    stage.style.setProperty("--far-font", `${Math.round(90 / k) / 10}px`);
    stage.style.touchAction = this.camera.k > this.camera.fitScale * 1.04 || this.isFull() ? "none" : "pan-y";
    if (zoom === this.zoomLevel) return;
    this.zoomLevel = stage.dataset.zoom = zoom;
    scene.setLabels(zoom === "near");
  },

  resized() {
    if (!this.data) return;
    this.quiet = true;
    if (this.camera.moved) this.camera.apply(true);
    else this.camera.fit();
    this.cameraText = JSON.stringify(this.camera.state);
    this.quiet = false;
  },

  showHint() {
    this.hint.classList.add("shown");
    clearTimeout(this.hintTimer);
    this.hintTimer = setTimeout(() => this.hint.classList.remove("shown"), 1400);
  },

  isFull() {
    const shadow = this.root.getRootNode();
    return Boolean(this.fallbackFull) || (document.fullscreenElement !== null && (shadow.fullscreenElement ?? document.fullscreenElement) === this.root);
  },

  async toggleFullscreen() {
    if (this.fallbackFull) {
      this.fallbackFull = false;
      this.root.classList.remove("full");
    } else if (this.isFull()) await document.exitFullscreen();
    else {
      try {
        await this.root.requestFullscreen();
      } catch {
        this.fallbackFull = true;
        this.root.classList.add("full");
      }
    }
    this.toolbar.full.setAttribute("aria-pressed", String(this.isFull()));
  },

  toggleLegend() {
    const shown = this.legend.hidden;
    this.legend.hidden = !shown;
    this.toolbar.legend.setAttribute("aria-pressed", String(shown));
  },

  // ---- groups ------------------------------------------------------------------------------

  groupNamed(name) {
    return this.state.groups.find((group) => group.name === name);
  },

  /** Nodes that "Group" would put together: the pinned ones and the selected one. */
  groupCandidates() {
    const { pins, selection } = this.state;
    const all = selection?.type === "node" && !pins.includes(selection.name) ? [...pins, selection.name] : pins;
    return all.filter((name) => name !== "input" && name !== "logits");
  },

  setGroups(groups, byUser = true) {
    this.state.groups = groups;
    const { placed, groupOf } = placeGroups(this.graph, this.layout, groups);
    this.placed = placed;
    this.scene.setGroups(placed, groupOf);
    if (!byUser) return;
    this.redraw();
    this.mark("view");
  },

  addGroup(nodes) {
    const others = this.state.groups.map((group) => ({ ...group, nodes: group.nodes.filter((name) => !nodes.includes(name)) }));
    const name = freeName(others, `Group ${others.length + 1}`);
    this.state.pins = [];
    this.state.selection = { type: "group", name };
    this.setGroups([...others.filter((group) => group.nodes.length), { name, nodes, collapsed: true }]);
    this.mark("select");
  },

  changeGroup(group, changes) {
    const others = this.state.groups.filter((other) => other !== group);
    const name = changes.name === undefined ? group.name : freeName(others, changes.name);
    if (this.state.selection?.name === group.name) this.state.selection = { type: "group", name };
    this.setGroups(this.state.groups.map((other) => (other === group ? { ...group, ...changes, name } : other)));
  },

  removeGroup(group) {
    if (this.state.selection?.name === group.name) this.state.selection = null;
    this.setGroups(this.state.groups.filter((other) => other !== group));
  },

  groupByRole() {
    const byRole = new Map();
    for (const [node, role] of this.roles) byRole.set(role.name, [...(byRole.get(role.name) ?? []), this.graph.nodes[node]]);
    const groups = [];
    for (const [name, nodes] of byRole) groups.push({ name: freeName(groups, name), nodes, collapsed: true });
    this.setGroups(groups);
  },

  exportGroups() {
    const content = { graph: this.data.graph, groups: this.state.groups };
    download(fileName(this, "groups.json"), `${JSON.stringify(content, null, 2)}\n`, "application/json");
  },

  exportSvg() {
    saveSvg(this);
  },

  exportPng() {
    return savePng(this);
  },

  exportCsv() {
    saveCsv(this);
  },

  // ---- editing -----------------------------------------------------------------------------

  setTool(tool) {
    this.state.tool = tool;
    this.state.from = -1;
    this.stage.dataset.tool = tool;
    this.relight();
    this.toolbar.sync();
  },

  remove(item) {
    if (item.type === "node") this.removeNode(this.graph.index.get(item.name));
    else if (item.type === "edge") this.edit({ op: "remove", edge: item.name });
  },

  removeNode(node) {
    const name = this.graph.nodes[node];
    if (name === "input" || name === "logits") this.status.textContent = `${name} cannot be removed: every path starts at input and ends at logits`;
    else this.edit({ op: this.state.excluded.includes(name) ? "restore" : "exclude", node: name });
  },

  /** Two clicks add an edge: its source, then the input it goes to (the nearest port of a head). */
  addStep(item, event) {
    const { graph, state, layout } = this;
    if (item.type !== "node") return;
    const node = graph.index.get(item.name);
    if (state.from < 0) {
      if (node === graph.nodes.length - 1) return;
      state.from = node;
      this.status.textContent = `edge from ${item.name}: now choose where it goes`;
      this.relight();
      return;
    }
    const x = event ? this.camera.toWorld(event.clientX, event.clientY)[0] - layout.x[node] : 0;
    const type = x < -layout.port / 2 ? 0 : x > layout.port / 2 ? 2 : 1;
    const destination = destinationOf(graph, node, type);
    if (destination < 0 || state.from >= graph.prefix[destination]) {
      this.status.textContent = `no edge leads from ${graph.nodes[state.from]} to ${item.name}: it is computed earlier`;
      return;
    }
    this.edit({ op: "add", edge: edgeName(graph, state.from, destination) });
    state.from = -1;
  },

  edit(change) {
    const { state } = this;
    const without = (list, name) => list.filter((other) => other !== name);
    if (change.op === "add") {
      state.removed = without(state.removed, change.edge);
      state.added = [...without(state.added, change.edge), change.edge];
    } else if (change.op === "remove") {
      state.added = without(state.added, change.edge);
      state.removed = [...without(state.removed, change.edge), change.edge];
      if (state.selection?.name === change.edge) state.selection = null;
    } else if (change.op === "exclude") state.excluded = [...without(state.excluded, change.node), change.node];
    else state.excluded = without(state.excluded, change.node);
    this.lastEdit = change;
    this.setHover(null);
    this.redraw();
    this.status.textContent = `${change.edge ?? change.node}: ${{ add: "added", remove: "removed", exclude: "removed", restore: "put back" }[change.op]}`;
    this.mark("edit");
  },

  // ---- linked panes and Python -------------------------------------------------------------

  send(kind, detail) {
    const group = this.data?.link_group;
    if (!group || this.receiving) return;
    window.dispatchEvent(new CustomEvent(BUS, { detail: { ...detail, kind, group, origin: this.id } }));
  },

  receive(detail) {
    if (!this.data?.link_group || detail.group !== this.data.link_group || detail.origin === this.id) return;
    this.receiving = true;
    const { kind } = detail;
    if (kind === "hover") this.setHover(this.known(detail.target), null, true);
    else if (kind === "select") {
      if (detail.clear) this.state.pins = [];
      this.select(this.known(detail.selection), true);
    } else if (kind === "pin") this.togglePin(detail.name, true);
    else if (kind === "trace") {
      this.state.trace = detail.trace && Boolean(this.state.selection);
      this.relight();
      this.toolbar.sync();
    } else if (kind === "camera") {
      this.showCamera(detail.camera);
    } else if (kind === "count" && this.data.link_count !== false) {
      this.state.n = clamp(detail.n, 0, this.made.ranked);
      this.toolbar.slider.value = countToSlider(this.state.n, this.made.ranked);
      this.preview();
    } else if (kind === "commit" && this.data.link_count !== false) this.mark("view");
    this.receiving = false;
  },

  /** A target from another pane, or null where this graph lacks it. */
  known(target) {
    if (!target) return null;
    if (target.type === "group") return this.groupNamed(target.name) ? target : null;
    return this.validSelection(target);
  },

  /** Remembers that Python should hear of a part of the state. */
  mark(part, later = false) {
    this.remember();
    this.dirty.add(part);
    (later ? this.flushLater : this.flush)();
  },

  report() {
    if (!this.component?.setStateValue || !this.data) return;
    const { state } = this;
    this.redraw.cancel();
    this.render();
    const values = {
      select: { selection: state.selection, pins: state.pins, stamp: Date.now() },
      view: {
        n: state.n, selected: this.result.selected, kept: this.result.kept, shown: this.result.visible.length,
        zoom: this.camera.state, filters: { ...state.filters, types: EDGE_TYPES.filter((_, i) => state.filters.types[i]) },
        groups: state.groups, trace: state.trace,
      },
      edit: { added: state.added, removed: state.removed, excluded: state.excluded, last: this.lastEdit ?? null },
    };
    for (const part of this.dirty) {
      for (const [key, value] of Object.entries(values[part])) this.reported.set(key, [...(this.reported.get(key) ?? []).slice(-30), { text: JSON.stringify(value), time: Date.now() }]);
      this.component.setStateValue(part, values[part]);
    }
    this.dirty.clear();
  },

  remember() {
    const { key } = this.data ?? {};
    if (!key) return;
    REMEMBERED.delete(key);
    REMEMBERED.set(key, { zoom: this.camera.state, legend: !this.legend.hidden });
    if (REMEMBERED.size > 32) REMEMBERED.delete(REMEMBERED.keys().next().value);
  },

  restore() {
    const kept = REMEMBERED.get(this.data.key);
    if (kept && this.wanted === undefined) this.wanted = kept.zoom;
    const shown = kept ? kept.legend : this.data.legend !== false;
    this.legend.hidden = !shown;
    this.toolbar.legend.setAttribute("aria-pressed", String(shown));
  },

  // ---- looks -------------------------------------------------------------------------------

  /** Height, title and colours. */
  style() {
    const { root, data } = this;
    root.style.setProperty("--height", `${data.height ?? 640}px`);
    this.heading.textContent = data.title ?? "";
    this.heading.hidden = !data.title;
    fillLegend(this.legend, this);
    this.retheme();
  },

  retheme() {
    const parse = /(\d+(?:\.\d+)?)[, ]+(\d+(?:\.\d+)?)[, ]+(\d+(?:\.\d+)?)/.exec(getComputedStyle(this.root).backgroundColor);
    const [r, g, b] = parse ? parse.slice(1).map(Number) : [255, 255, 255];
    this.root.classList.toggle("dark", 0.2126 * r + 0.7152 * g + 0.0722 * b < 110);
  },

  destroy() {
    this.abort.abort();
    this.observer?.disconnect();
    clearTimeout(this.hintTimer);
    for (const task of [this.flush, this.flushLater, this.preview, this.complete, this.redraw, this.relight, this.camera?.settle]) task?.cancel();
    this.root.remove();
    this.data = null;
  },
});

const VIEWS = new WeakMap();

/** Entry point: Streamlit calls it again, with the same parent, whenever the data changes. */
export default function show(component) {
  const { parentElement } = component;
  let view = VIEWS.get(parentElement);
  if (!view) VIEWS.set(parentElement, (view = new CircuitView(parentElement)));
  const turn = (view.turn = (view.turn ?? 0) + 1);
  view.update(component);
  return () => {
    // A call that was overtaken by a newer one is cleaned up first: leave the newer one's view.
    setTimeout(() => {
      if (view.turn !== turn || VIEWS.get(parentElement) !== view) return;
      VIEWS.delete(parentElement);
      view.destroy();
    }, 0);
  };
}

export { makeGraph, makeCandidates, chooseCandidates, pruneCandidates, traceThrough, makeLayout, edgeName, parseEdge, countOnes, CircuitView };
