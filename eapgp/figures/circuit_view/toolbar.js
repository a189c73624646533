// @ts-check
// Slider, filters, groups, saving: everything above the drawing.

const SLIDER_STEPS = 1000;

/** What can have the focus in a panel. @type {(entry: Panel) => HTMLElement[]} */
function fieldsOf({ panel }) {
  /** @type {NodeListOf<HTMLElement>} */
  const fields = panel.querySelectorAll("input, button");
  return [...fields];
}

/** @type {(value: number, most: number) => number} */
const sliderToCount = (value, most) => (most <= 1 ? most : Math.round(Math.exp((value / SLIDER_STEPS) * Math.log(most))));
/** @type {(n: number, most: number) => number} */
const countToSlider = (n, most) => (n <= 1 || most <= 1 ? 0 : Math.round((Math.log(n) / Math.log(most)) * SLIDER_STEPS));

class Toolbar {
  /** @type {Panel[]} */ panels = [];
  /** @type {Record<Tool, HTMLButtonElement>} */ tools;

  /** @param {CircuitView} view */
  constructor(view) {
    this.view = view;
    /** @type {HTMLInputElement} */
    this.slider = html("input", {
      type: "range", class: "slider", min: 0, max: SLIDER_STEPS, step: 1, "aria-label": "Number of edges, logarithmic",
      title: "How many of the strongest edges to select. Drag: the picture follows at once.",
      oninput: () => view.setCount(sliderToCount(Number(this.slider.value), view.made.ranked), "drag"),
      onchange: () => view.commitCount(),
    });
    /** @type {HTMLInputElement} */
    this.number = html("input", {
      type: "number", class: "number", min: 0, step: 1, inputmode: "numeric", "aria-label": "Number of edges",
      title: "Exact number of edges to select",
      onchange: () => view.setCount(Math.round(Number(this.number.value) || 0), "number"),
    });
    this.counts = html("span", { class: "counts" });
    this.size = html("div", { class: "size" }, html("span", { class: "size-label", text: "Edges" }), this.slider, this.number);
    /** @type {(name: IconName, label: string, title: string, onclick: () => unknown) => HTMLButtonElement} */
    const act = (name, label, title, onclick) => button({ name, label, title, onclick });
    this.trace = button({ name: "trace", label: "Trace", text: "Trace", pressed: false, title: "Show every path through the selection, from input to logits (T)", onclick: () => view.toggleTrace() });
    this.editing = this.editTools();
    this.zoom = html("span", { class: "zoom", "aria-hidden": "true" });
    this.full = act("full", "Full screen", "Fill the screen (F); Esc returns", () => view.toggleFullscreen());
    this.menus = html("div", { class: "tools" }, this.editing, this.trace,
      this.menu("filter", "Filter", "Show only some edges: by sign, type, layer or score", () => this.filterPanel()),
      this.menu("group", "Groups", "Name groups of nodes and collapse them into one box", () => this.groupPanel()),
      this.menu("save", "Save", view.data.pictures === false ? "Download the edges shown or the groups" : "Download the picture, the groups or the edges shown", () => this.savePanel()),
      this.legend = button({ name: "legend", label: "Legend", pressed: true, title: "Show or hide the legend", onclick: () => view.toggleLegend() }),
    );
    this.rows = button({ name: "fold", label: "Fold empty rows", pressed: false, title: "Fold layers and columns without a node of the circuit into thin lines, or show them all (R)", onclick: () => view.toggleRows() });
    this.fit = act("fit", "Fit", "", () => view.fit());
    this.camera = html("div", { class: "tools camera" },
      this.rows,
      act("minus", "Zoom out", "Zoom out (−)", () => view.camera.zoomBy(1 / 1.35)),
      this.zoom,
      act("plus", "Zoom in", "Zoom in (+); Ctrl and wheel zoom too", () => view.camera.zoomBy(1.35)),
      this.fit,
      this.full,
    );
    this.more = button({ name: "more", label: "More tools", className: "more", title: "More tools", pressed: false, onclick: () => this.toggleMore() });
    this.element = html("div", { class: "toolbar", role: "toolbar", "aria-label": "Circuit tools" }, this.size, this.counts, this.menus, this.camera, this.more);
  }

  editTools() {
    const { view } = this;
    /** @type {(name: IconName, label: string, id: Tool, title: string) => HTMLButtonElement} */
    const tool = (name, label, id, title) => button({ name, label, title, pressed: id === "select", className: `edit ${id}`, onclick: () => view.setTool(id) });
    this.tools = {
      select: tool("point", "Select", "select", "Select nodes and edges"),
      add: tool("add", "Add edge", "add", "Add an edge: click its source, then the input it goes to"),
      remove: tool("erase", "Remove", "remove", "Remove the edge or node you click"),
    };
    return html("div", { class: "tools editing" }, ...Object.values(this.tools));
  }

  /** @type {(name: IconName, label: string, title: string, fill: Panel["fill"]) => HTMLElement} */
  menu(name, label, title, fill) {
    const panel = html("div", { class: "panel", role: "group", "aria-label": label, hidden: true });
    const opener = button({ name, label, title, text: label, className: "opener", onclick: () => this.open(entry, Boolean(panel.hidden)) });
    opener.setAttribute("aria-expanded", "false");
    const holder = html("div", { class: "menu" }, opener, panel);
    const entry = { panel, opener, fill };
    this.panels.push(entry);
    return holder;
  }

  /** @param {Panel} entry @param {boolean} shown */
  open(entry, shown) {
    for (const other of this.panels) {
      const show = other === entry && shown;
      other.panel.hidden = !show;
      other.opener.setAttribute("aria-expanded", String(show));
      if (show) {
        other.panel.replaceChildren(...other.fill());
        this.place(other);
        fieldsOf(other)[0]?.focus({ preventScroll: true });
      }
    }
  }

  /** Keeps an open panel inside the component. @param {Panel} entry */
  place({ panel, opener }) {
    const root = (this.element.closest(".circuit-panes") ?? this.view.root).getBoundingClientRect();
    const at = opener.getBoundingClientRect();
    const width = panel.offsetWidth;
    const left = clamp(at.left, root.left + 8, Math.max(root.left + 8, root.right - width - 8));
    panel.style.left = `${left - at.left}px`;
    panel.style.maxHeight = `${Math.max(160, root.bottom - at.bottom - 16)}px`;
  }

  /** @param {string} name */
  refill(name) {
    const entry = this.panels.find(({ opener }) => opener.getAttribute("aria-label") === name);
    if (!entry || entry.panel.hidden) return;
    const focused = focusedBeside(this.view.root);
    const at = fieldsOf(entry).findIndex((field) => field === focused);
    entry.panel.replaceChildren(...entry.fill());
    const fields = fieldsOf(entry);
    if (at >= 0) (fields[at] ?? fields.at(-1))?.focus({ preventScroll: true });
  }

  /** Closes what is open; true if something was. */
  close() {
    const opened = this.panels.find(({ panel }) => !panel.hidden);
    if (opened) {
      this.open(opened, false);
      opened.opener.focus({ preventScroll: true });
    }
    return Boolean(opened);
  }

  toggleMore() {
    const shown = this.element.classList.toggle("expanded");
    this.more.setAttribute("aria-pressed", String(shown));
  }

  filterPanel() {
    const { view } = this;
    const { filters } = view.state;
    const change = (/** @type {Partial<Filters>} */ changes) => view.setFilters(changes);
    /** @type {<V extends string>(name: string, values: [V, string, string][], chosen: V, apply: (value: V) => void) => HTMLElement} */
    const choice = (name, values, chosen, apply) =>
      html("div", { class: "segments", role: "group", "aria-label": name }, ...values.map(([value, text, title]) =>
        html("button", { type: "button", class: "segment", "aria-pressed": String(value === chosen), title, text,
          onclick: () => { apply(value); this.refill("Filter"); } })));
    const types = EDGE_TYPES.map((type, i) => {
      /** @type {HTMLInputElement} */
      const box = html("input", { type: "checkbox", onchange: () => change({ types: filters.types.map((on, j) => (j === i ? box.checked : on)) }) });
      box.checked = filters.types[i];
      return html("label", { class: "check" }, box, html("span", { text: type === "mlp" ? "MLP" : type }));
    });
    /** @type {(key: "from" | "to", label: string) => HTMLElement} */
    const layer = (key, label) => {
      /** @type {HTMLInputElement} */
      const field = html("input", { type: "number", class: "number", min: 0, max: view.graph.layers - 1, value: filters[key], "aria-label": label,
        onchange: () => change({ [key]: clamp(Math.round(Number(field.value) || 0), 0, view.graph.layers - 1) }) });
      return field;
    };
    /** @type {HTMLInputElement} */
    const least = html("input", { type: "number", class: "number wide", min: 0, step: "any", value: filters.least, "aria-label": "Minimum size of the score",
      onchange: () => change({ least: Math.max(0, Number(least.value) || 0) }) });
    /** @type {(label: string, ...parts: Child[]) => HTMLElement} */
    const line = (label, ...parts) => html("div", { class: "line" }, html("span", { class: "line-label", text: label }), html("div", { class: "line-body" }, ...parts));
    return [
      line("Sign", choice("Sign", [["all", "all", "Both signs"], ["plus", "+ supports", "Edges with a positive score"], ["minus", "− against", "Edges with a negative score"]], filters.sign, (sign) => change({ sign }))),
      line("Into", ...types),
      line("Layers", layer("from", "First layer"), html("span", { text: "to" }), layer("to", "Last layer")),
      line("|score| ≥", least),
      line("Width", choice("Width", [["sqrt", "√ score", "Width by the square root of the score"], ["log", "log score", "Width by the logarithm of the score"]], filters.width, (width) => change({ width }))),
      html("p", { class: "note", text: "Filters hide edges of the circuit; they do not change it." }),
      html("div", { class: "actions" }, html("button", { type: "button", class: "text-button", text: "Reset", onclick: () => { view.setFilters(view.noFilters()); this.refill("Filter"); } })),
    ];
  }

  groupPanel() {
    const { view } = this;
    const rows = view.state.groups.map((group) => {
      const name = html("input", { type: "text", class: "text", value: group.name, "aria-label": `Name of group ${group.name}`, maxlength: 60,
        onchange: () => { view.changeGroup(group, { name: name.value.trim() || group.name }); this.refill("Groups"); } });
      /** @type {HTMLInputElement} */
      const box = html("input", { type: "checkbox", onchange: () => view.changeGroup(group, { collapsed: box.checked }) });
      box.checked = group.collapsed;
      return html("div", { class: "group-row" }, name, html("span", { class: "muted", text: `${group.nodes.length}` }),
        html("label", { class: "check", title: "Draw the group as one box" }, box, html("span", { text: "collapse" })),
        button({ name: "close", label: `Delete group ${group.name}`, onclick: () => { view.removeGroup(group); this.refill("Groups"); } }));
    });
    const members = view.groupCandidates();
    const make = html("button", { type: "button", class: "text-button", text: members.length > 1 ? `Group ${members.length} nodes` : "Group the pinned nodes",
      onclick: () => { view.addGroup(members); this.refill("Groups"); } });
    make.disabled = members.length < 2;
    const byRole = html("button", { type: "button", class: "text-button", text: "One group per role", onclick: () => { view.groupByRole(); this.refill("Groups"); } });
    const save = html("button", { type: "button", class: "text-button", text: "Export JSON", onclick: () => view.exportGroups() });
    save.disabled = !view.state.groups.length;
    save.title = "Download the groups, to load them again here or elsewhere";
    const file = html("input", { type: "file", accept: ".json,application/json", class: "sr-only", tabindex: -1, "aria-label": "File of groups",
      onchange: async () => {
        const [picked] = file.files ?? [];
        if (picked) await view.importGroups(picked);
        this.refill("Groups");
      } });
    const load = html("button", { type: "button", class: "text-button", text: "Import JSON", title: "Replace the groups by those of a file that was exported here", onclick: () => file.click() });
    const said = view.groupNote;
    view.groupNote = "";
    return [
      ...rows,
      rows.length ? null : html("p", { class: "note", text: "No group yet. Pin two or more nodes (Ctrl-click, or Space on the keyboard), then group them." }),
      html("div", { class: "actions" }, make, view.roles.size ? byRole : null, save, load, file),
      said ? html("p", { class: "note said", role: "status", text: said }) : null,
    ].filter((part) => part !== null);
  }

  savePanel() {
    const { view } = this;
    /** @type {(text: string, title: string, save: (view: CircuitView) => void) => HTMLElement} */
    const item = (text, title, save) => html("button", { type: "button", class: "menu-item", text, title, onclick: () => { this.close(); view.family.forEach(save); } });
    const pictures = view.data.pictures === false ? [] : [
      item("Picture as SVG", "Vector graphics, with all labels and the legend", (one) => one.exportSvg()),
      item("Picture as PNG", "Pixels at three times the size, with all labels and the legend", (one) => one.exportPng()),
    ];
    return [
      ...pictures,
      item("Edges shown as CSV", "Name, score and rank of every edge shown", (one) => one.exportCsv()),
      item("Groups as JSON", "Names and members of the groups", (one) => one === view && one.exportGroups()),
    ];
  }

  /** Shows what the view holds. */
  sync() {
    const { view } = this;
    const { state, made } = view;
    const most = made.ranked;
    const focused = focusedBeside(view.root);
    if (focused !== this.slider) this.slider.value = String(countToSlider(state.n, most));
    this.slider.setAttribute("aria-valuetext", `${whole(state.n)} of ${whole(most)} edges`);
    this.number.max = String(most);
    if (focused !== this.number) this.number.value = String(state.n);
    this.size.hidden = view.data.fixed === true;
    this.editing.hidden = !view.data.edit;
    for (const [id, tool] of Object.entries(this.tools)) tool.setAttribute("aria-pressed", String(id === state.tool));
    this.trace.setAttribute("aria-pressed", String(state.trace));
    this.trace.hidden = this.trace.disabled = !state.selection && !state.trace;
    this.rows.hidden = !view.foldable;
    this.rows.setAttribute("aria-pressed", String(view.folds));
    const active = view.filtersActive();
    const filter = this.panels[0].opener;
    filter.classList.toggle("active", active);
    this.counts.textContent = view.summary();
    view.tally.textContent = `${whole(view.result.kept)} kept`;
    view.note.classList.toggle("stale", state.n !== Math.min(view.data.view?.n ?? state.n, most));
    this.counts.title = view.summaryNote();
    this.counts.classList.toggle("warn", view.result.drawn.length >= 1000);
  }

  syncZoom() {
    this.zoom.textContent = `${Math.round((this.view.camera.k / this.view.camera.restScale) * 100)}%`;
    this.fit.title = this.view.camera.scrolls ? "Back to names that can be read; once more: the whole graph (0)" : "Show everything (0)";
  }
}
