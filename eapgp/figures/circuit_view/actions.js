// @ts-check
// What the user does: pointing, choosing, moving, filtering.

Object.assign(CircuitView.prototype, /** @satisfies {Acting & ThisType<CircuitView>} */ ({
  listen() {
    const { stage, camera, root } = this;
    const { signal } = this.abort;
    attachGestures(stage, camera, {
      tap: (event) => this.tap(event), wheelAllowed: () => this.isFull(), hint: () => this.showHint(), signal,
    });
    /** @type {PointerEvent | null} */
    let pointer = null;
    const point = perFrame(() => {
      if (pointer) this.setHover(this.targetAt(pointer), pointer);
    });
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
      const group = target?.type === "group" && this.groupNamed(target.name);
      if (group) this.changeGroup(group, { collapsed: false });
      else if (!target) this.fit();
    }, { signal });
    stage.addEventListener("focusin", (event) => this.focused(event), { signal });
    stage.addEventListener("focusout", () => this.setHover(null), { signal });
    root.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.toolbar.close()) event.preventDefault();
      else if (event.composedPath().includes(stage) ? handleKey(this, event) : event.key === "Escape" && this.escape()) event.preventDefault();
    }, { signal });
    document.addEventListener("keydown", (event) => {
      const here = event.composedPath().includes(root);
      if (event.key === "Escape" && !here && !event.defaultPrevented && root.matches(":hover") && !this.toolbar.close()) this.escape();
    }, { signal });
    const outside = (/** @type {Event} */ event) => {
      const inMenu = event.composedPath().some((element) => element instanceof Element && element.classList.contains("menu"));
      if (!inMenu) this.toolbar.panels.forEach((entry) => !entry.panel.hidden && this.toolbar.open(entry, false));
    };
    document.addEventListener("pointerdown", outside, { signal });
    document.addEventListener("fullscreenchange", () => this.filled(), { signal });
    window.addEventListener("resize", () => { // presenter mode came or went
      this.about.sync();
      this.applyScale(this.camera.k);
    }, { signal });
    window.addEventListener(BUS, (event) => this.receive(event.detail), { signal });
    this.observer = new ResizeObserver(() => this.resized());
    this.observer.observe(stage);
  },

  // ---- pointing and choosing ---------------------------------------------------------------

  targetAt({ clientX, clientY, pointerType }) {
    const { camera, scene, made, result, graph } = this;
    const [x, y] = camera.toWorld(clientX, clientY);
    const reach = (pointerType === "touch" ? 16 : 8) / camera.k;
    const group = this.placed.find((box) => Math.abs(x - box.x) <= box.w / 2 && Math.abs(y - box.y) <= box.h / 2);
    if (group) return { type: "group", name: group.name };
    const inside = scene.nearestNode(x, y, 0.01, () => true);
    const node = inside >= 0 ? inside : scene.nearestNode(x, y, reach * 0.75, (i) => result.used[i]);
    if (node >= 0) return { type: "node", name: graph.nodes[node] };
    const edge = scene.nearestEdge(made, result.drawn, x, y, reach);
    return edge >= 0 ? { type: "edge", name: this.nameOf(edge) } : null;
  },

  tap(event) {
    const target = this.targetAt(event);
    (target?.type === "node" ? this.scene.elements[nodeAt(this.graph, target.name)] : this.stage).focus({ preventScroll: true });
    if (!target) {
      if (this.state.selection || this.state.trace || this.state.from >= 0) this.select(null);
      return;
    }
    if (target.type === "node") this.setRoving(nodeAt(this.graph, target.name));
    const pin = event.ctrlKey || event.metaKey || event.shiftKey;
    if (event.pointerType === "touch") this.setHover(target, event);
    this.press(target, { pin, event });
  },

  /** A click, or Enter or Space, on something. */
  press(item, { pin = false, event = null } = {}) {
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
    const traced = state.trace;
    if (!item) state.trace = false;
    this.relight();
    this.toolbar.sync();
    this.status.textContent = item ? `${item.name} selected` : "selection cleared";
    if (fromLink) return;
    this.send({ kind: "select", selection: item });
    this.mark("select");
    if (traced !== state.trace) this.mark("view");
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
    this.send({ kind: "pin", name });
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
    const traced = state.trace;
    Object.assign(state, { selection: null, pins: [], trace: false, from: -1, tool: "select" });
    this.relight();
    this.toolbar.sync();
    this.status.textContent = "selection cleared";
    this.send({ kind: "select", selection: null, clear: true });
    if (chosen) this.mark("select");
    if (traced) this.mark("view");
    return true;
  },

  toggleTrace() {
    if (!this.state.selection && !this.state.trace) return;
    this.state.trace = !this.state.trace;
    this.relight();
    this.toolbar.sync();
    this.send({ kind: "trace", trace: this.state.trace });
    this.mark("view");
  },

  /** Folds the rows and columns without a node of the circuit, or shows all. */
  toggleRows() {
    if (!this.foldable) return;
    this.state.rows = this.folds ? "all" : "used";
    this.status.textContent = this.folds ? "rows and columns without a node of the circuit are folded away" : "all rows and columns are shown";
    this.redraw();
    this.mark("view");
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
    const element = around(event, "[data-node]");
    if (!element?.matches(":focus-visible")) return;
    const box = element.getBoundingClientRect();
    this.setHover({ type: "node", name: this.graph.nodes[Number(element.dataset.node)] }, { clientX: box.right, clientY: box.bottom });
  },

  // ---- size, filters, camera ---------------------------------------------------------------

  setCount(n, how) {
    const next = clamp(n, 0, this.made.ranked);
    if (next !== this.state.n) {
      this.state.n = next;
      this.markStale();
      if (how === "drag") this.preview();
      else this.redraw();
      this.send({ kind: "count", n: next });
    }
    this.toolbar.number.value = String(next);
    if (how !== "drag") {
      this.toolbar.slider.value = String(countToSlider(next, this.made.ranked));
      this.commitCount();
    }
  },

  commitCount() {
    this.checkStale();
    this.send({ kind: "commit" });
    this.mark("view", "now");
  },

  setFilters(changes) {
    this.state.filters = { ...this.state.filters, ...changes };
    this.redraw();
    fillLegend(this.legend, this);
    this.send({ kind: "filters", filters: this.state.filters });
    this.mark("view");
  },

  fit() {
    if (this.camera.scrolls && !this.camera.moved) this.camera.fitAll();
    else this.camera.fit();
    this.send({ kind: "camera", camera: this.camera.state });
    this.mark("view", "later");
  },

  /** Moves the camera without telling anyone. */
  showCamera(zoom) {
    this.quiet = true;
    this.camera.state = zoom;
    this.cameraText = JSON.stringify(this.camera.state);
    this.quiet = false;
  },

  /** The camera moved. Marks drawn at a fixed size on the screen follow once it rests. */
  moved(final) {
    this.toolbar?.syncZoom();
    this.map?.sync();
    if (final) this.applyScale(this.camera.k);
    if (this.quiet || !this.live) return;
    if (this.camera.moved && !final) this.send({ kind: "camera", camera: this.camera.state });
    if (final && JSON.stringify(this.camera.state) !== this.cameraText) {
      this.cameraText = JSON.stringify(this.camera.state);
      this.mark("view", "later");
    }
  },

  /** Line widths and labels for a zoom factor. */
  applyScale(k) {
    const { stage, layout } = this;
    const wide = layout.boxWidth / (0.56 * lengthOfName(this.graph)); // the largest font in which every name fits
    const text = Number(getComputedStyle(this.root).getPropertyValue("--eapgp-text")) || 1; // presenter mode asks for more
    const font = Math.min(LABEL * text * clamp(1 / k, 1, 1.8), layout.boxHeight * 0.8, wide);
    const exporting = stage.classList.contains("exporting");
    const zoom = k >= ZOOM_NEAR || exporting ? "near" : font * k >= 5 ? "mid" : "far";
    stage.style.setProperty("--ks", String(Math.round(Math.pow(k, -0.6) * 100) / 100));
    stage.style.setProperty("--font", `${Math.round((zoom === "near" ? Math.min(LABEL * text, (17 * text) / k, layout.boxHeight * 0.8, wide) : font) * 10) / 10}px`);
    stage.style.setProperty("--far-font", `${Math.round((10 * LABEL) / k) / 10}px`);
    stage.style.touchAction = this.camera.k > this.camera.restScale * 1.04 || this.isFull() ? "none" : "pan-y";
    stage.dataset.zoom = zoom;
  },

  resized() {
    if (!this.live) return;
    this.quiet = true;
    const zoom = this.camera.state; // of the stage as it was: a link's zoom holds however the stage settles
    this.stretch();
    this.camera.room = null;
    if (this.layout.deep) this.redraw(); // its columns use the width
    this.camera.state = zoom;
    this.cameraText = JSON.stringify(this.camera.state);
    this.quiet = false;
  },

  showHint() {
    this.hint.classList.add("shown");
    clearTimeout(this.hintTimer);
    this.hintTimer = setTimeout(() => this.hint.classList.remove("shown"), 1400);
  },

  isFull() {
    const tree = this.root.getRootNode();
    const inTree = tree instanceof ShadowRoot ? tree.fullscreenElement : null; // the document knows only the shadow root's host
    return this.fallbackFull || (document.fullscreenElement !== null && (inTree ?? document.fullscreenElement) === this.root);
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
    this.filled();
  },

  /** The view fills the screen, or does no more. */
  filled() {
    this.toolbar.full.setAttribute("aria-pressed", String(this.isFull()));
    this.about.sync();
  },

  toggleLegend() {
    const shown = this.legend.hidden;
    this.legend.hidden = !shown;
    this.toolbar.legend.setAttribute("aria-pressed", String(shown));
  },
}));
