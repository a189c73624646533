// @ts-check
// Named groups, downloads, and edits of the circuit.

Object.assign(CircuitView.prototype, /** @satisfies {Editing & ThisType<CircuitView>} */ ({
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
    /** @type {Map<string, string[]>} */
    const byRole = new Map();
    for (const [node, role] of this.roles) byRole.set(role.name, [...(byRole.get(role.name) ?? []), this.graph.nodes[node]]);
    /** @type {Group[]} */
    const groups = [];
    for (const [name, nodes] of byRole) groups.push({ name: freeName(groups, name), nodes, collapsed: true });
    this.setGroups(groups);
  },

  exportGroups() {
    const content = { graph: this.data.graph, groups: this.state.groups };
    download(fileName(this, ".groups.json"), `${JSON.stringify(content, null, 2)}\n`, "application/json");
  },

  /** Groups from a file that `exportGroups` wrote take the place of those there are; says how that went. */
  async importGroups(file) {
    /** @type {Group[]} */
    let groups;
    try {
      const content = JSON.parse(await file.text());
      groups = readGroups(this.graph, Array.isArray(content) ? content : content.groups);
    } catch {
      this.groupNote = `${file.name} is no JSON file of groups.`;
      return;
    }
    this.groupNote = groups.length ? `${groups.length} group${groups.length === 1 ? "" : "s"} read from ${file.name}.` : `${file.name} holds no group of nodes of this graph.`;
    if (groups.length) this.setGroups(groups);
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
    if (item.type === "node") this.removeNode(nodeAt(this.graph, item.name));
    else if (item.type === "edge") this.edit({ op: "remove", edge: item.name });
  },

  removeNode(node) {
    const name = this.graph.nodes[node];
    if (name === "input" || name === "logits") this.status.textContent = `${name} cannot be removed: every path starts at input and ends at logits`;
    else this.edit({ op: this.state.excluded.includes(name) ? "restore" : "exclude", node: name });
  },

  /** The Delete key: the selected edge, else the focused node. */
  removeAt(node) {
    if (this.state.selection?.type === "edge") this.remove(this.state.selection);
    else if (node >= 0) this.removeNode(node);
  },

  /** Two clicks add an edge: its source, then the input it goes to (the nearest port of a head). */
  addStep(item, event) {
    const { graph, state, layout } = this;
    if (item.type !== "node") return;
    const node = nodeAt(graph, item.name);
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
    const without = (/** @type {string[]} */ list, /** @type {string} */ name) => list.filter((other) => other !== name);
    if ("node" in change) {
      const others = without(state.excluded, change.node);
      state.excluded = change.op === "exclude" ? [...others, change.node] : others;
    } else {
      state.added = without(state.added, change.edge);
      state.removed = without(state.removed, change.edge);
      (change.op === "add" ? state.added : state.removed).push(change.edge);
      if (change.op === "remove" && state.selection?.name === change.edge) state.selection = null;
    }
    this.lastEdit = change;
    this.setHover(null);
    this.markStale();
    this.redraw();
    this.status.textContent = `${"edge" in change ? change.edge : change.node}: ${{ add: "added", remove: "removed", exclude: "removed", restore: "put back" }[change.op]}`;
    this.mark("edit");
  },
}));
