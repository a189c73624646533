// @ts-check
// Linked panes, what Python hears, looks, and the entry point.

Object.assign(CircuitView.prototype, /** @satisfies {Reporting & ThisType<CircuitView>} */ ({
  // ---- linked panes and Python -------------------------------------------------------------

  send(message) {
    const group = this.data.link_group;
    if (!group || this.receiving) return;
    window.dispatchEvent(new CustomEvent(BUS, { detail: { ...message, group, origin: this.id } }));
  },

  receive(message) {
    if (!this.data.link_group || message.group !== this.data.link_group || message.origin === this.id) return;
    this.receiving = true;
    if (message.kind === "hover") this.setHover(this.known(message.target), null, true);
    else if (message.kind === "select") {
      if (message.clear) this.state.pins = [];
      this.select(this.known(message.selection), true);
    } else if (message.kind === "pin") this.togglePin(message.name, true);
    else if (message.kind === "trace") {
      this.state.trace = message.trace && Boolean(this.state.selection);
      this.relight();
      this.toolbar.sync();
    } else if (message.kind === "camera") {
      this.showCamera(message.camera);
    } else if (message.kind === "count") {
      this.state.n = clamp(message.n, 0, this.made.ranked);
      this.toolbar.slider.value = String(countToSlider(this.state.n, this.made.ranked));
      this.preview();
    } else if (message.kind === "filters") {
      this.state.filters = message.filters;
      this.redraw();
    } else if (message.kind === "commit") this.mark("view");
    this.receiving = false;
  },

  /** A target from another pane, or null where this graph lacks it. */
  known(target) {
    if (!target) return null;
    if (target.type === "group") return this.groupNamed(target.name) ? target : null;
    return this.validSelection(target);
  },

  /** Remembers that Python should hear of a part of the state: soon, `"later"`, or `"now"` where nothing was sent lately. */
  mark(part, when = "soon") {
    this.remember();
    this.dirty.add(part);
    if (when === "now" && performance.now() - this.sentAt > SETTLED) this.report();
    else (when === "later" ? this.flushLater : this.flush)();
  },

  report() {
    const { setStateValue } = this.component;
    if (!setStateValue || !this.live) return;
    const { state } = this;
    this.flush.cancel();
    this.sentAt = performance.now();
    this.compute(); // drawing can wait for the next frame, Python need not
    const values = {
      select: { selection: state.selection, pins: state.pins, stamp: Date.now() },
      view: {
        n: state.n, selected: this.result.selected, kept: this.result.kept, shown: this.result.visible.length,
        zoom: this.camera.state, filters: { ...state.filters, types: EDGE_TYPES.filter((_, i) => state.filters.types[i]) },
        groups: state.groups, trace: state.trace, rows: state.rows,
      },
      edit: { added: state.added, removed: state.removed, excluded: state.excluded, last: this.lastEdit },
    };
    for (const part of this.dirty) {
      for (const [key, value] of Object.entries(values[part])) this.reported.set(key, [...(this.reported.get(key) ?? []).slice(-30), { text: JSON.stringify(value), time: Date.now() }]);
      setStateValue(part, values[part]);
    }
    this.dirty.clear();
  },

  // ---- what the page says about the circuit ------------------------------------------------

  /** Dims what stands elsewhere on the page about the circuit (`depends`) until it is about this one. */
  markStale(on = true) {
    const { depends } = this.data;
    if (!depends || this.isStale === on) return;
    this.isStale = on;
    /** @type {NodeListOf<HTMLElement>} */
    const elements = document.querySelectorAll(depends);
    for (const element of elements) {
      element.style.opacity = on ? "0.3" : "";
      element.setAttribute("aria-busy", String(on));
    }
  },

  /** Not stale any more once Python's circuit is the one drawn. */
  checkStale() {
    const { state, data } = this;
    const same = (/** @type {"added" | "removed" | "excluded"} */ key) => JSON.stringify(data.view?.[key] ?? []) === JSON.stringify(state[key]);
    if (state.n === Math.min(data.view?.n ?? state.n, this.made.ranked) && same("added") && same("removed") && same("excluded")) this.markStale(false);
  },

  remember() {
    const { key } = this.data;
    if (!key) return;
    REMEMBERED.delete(key);
    REMEMBERED.set(key, { zoom: this.camera.state, legend: !this.legend.hidden });
    const [oldest] = REMEMBERED.keys();
    if (REMEMBERED.size > 32) REMEMBERED.delete(oldest);
  },

  restore() {
    const kept = REMEMBERED.get(this.data.key ?? "");
    if (kept && this.wanted === undefined) this.wanted = kept.zoom;
    const shown = kept ? kept.legend : this.data.legend !== false;
    this.legend.hidden = !shown;
    this.toolbar.legend.setAttribute("aria-pressed", String(shown));
  },

  // ---- looks -------------------------------------------------------------------------------

  /** Height, title and colours. */
  style() {
    const { root, data } = this;
    const height = `${data.height ?? 640}px`;
    root.style.setProperty("--height", data.above ? `max(${LOWEST}px, min(${height}, 100dvh - ${data.above}px))` : height);
    this.name.textContent = data.title ?? "";
    this.note.textContent = data.note ?? "";
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
    this.about?.stop();
    clearTimeout(this.hintTimer);
    for (const task of [this.flush, this.flushLater, this.preview, this.complete, this.redraw, this.relight, this.camera?.settle]) task?.cancel();
    this.root.remove();
    this.live = false;
  },
}));

/** @type {WeakMap<Component["parentElement"], CircuitView | CircuitPanes>} */
const VIEWS = new WeakMap();

/**
 * Entry point: Streamlit calls it again, with the same parent, whenever the data changes.
 * @param {Component} component
 */
export default function show(component) {
  const { parentElement } = component;
  const view = VIEWS.get(parentElement) ?? (component.data?.panes ? new CircuitPanes(parentElement) : new CircuitView(parentElement));
  VIEWS.set(parentElement, view);
  const turn = (view.turn += 1);
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
