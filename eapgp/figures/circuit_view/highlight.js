// @ts-check
// What is brought out: the node or edge pointed at, the selection, pins and traced paths.

Object.assign(CircuitView.prototype, /** @satisfies {Highlighting & ThisType<CircuitView>} */ ({
  // ---- highlight ---------------------------------------------------------------------------

  /** Edges and nodes to bring out: what is pointed at, else the selection, pins and trace. */
  focusSet() {
    const { state, hover, made, result } = this;
    const target = hover ?? null;
    /** @type {Set<number>} */
    const nodes = new Set();
    /** @type {Set<number>} */
    const edges = new Set();
    const addNode = (/** @type {number} */ node) => {
      nodes.add(node);
      for (const i of result.visible) {
        if (made.source[i] === node || made.target[i] === node) edges.add(i);
      }
    };
    const addEdge = (/** @type {number} */ i) => i >= 0 && edges.add(i);
    const add = (/** @type {Target} */ item) => {
      if (item.type === "node") addNode(nodeAt(this.graph, item.name));
      else if (item.type === "group") for (const node of this.groupNamed(item.name)?.nodes ?? []) addNode(nodeAt(this.graph, node));
      else {
        const at = parseEdge(this.graph, item.name);
        if (at) {
          addEdge(candidateAt(this.graph, made, ...at));
          nodes.add(at[0]).add(this.graph.destinationNode[at[1]]);
        }
      }
    };
    if (target) add(target);
    else {
      if (state.trace && state.selection) this.traced(state.selection).forEach(addEdge);
      else if (state.selection) add(state.selection);
      for (const name of state.pins) addNode(nodeAt(this.graph, name));
      if (state.from >= 0) nodes.add(state.from);
    }
    const shown = new Uint8Array(made.count);
    for (const i of result.visible) shown[i] = 1;
    for (const i of edges) {
      if (shown[i]) nodes.add(made.source[i]).add(made.target[i]);
      else edges.delete(i);
    }
    return { nodes, edges, mode: nodes.size ? (target ? "hover" : "select") : null };
  },

  traced(selection) {
    const { graph, made, kept } = this;
    const flags = selection.type === "edge"
      ? traceThrough(graph, made, kept, { edge: candidateNamed(graph, made, selection.name) })
      : traceThrough(graph, made, kept, { node: nodeAt(graph, selection.name) });
    return [...flags.keys()].filter((i) => flags[i]);
  },

  light() {
    this.relight.cancel();
    const { scene, made, stage, state, result, graph, layout } = this;
    const { nodes, edges, mode } = this.focusSet();
    stage.classList.toggle("crowded", result.used.length > 400 && countOnes(result.used) > 90);
    stage.classList.toggle("dense", graph.nodes.length > 160);
    stage.classList.toggle("fade-hover", mode === "hover");
    stage.classList.toggle("fade-select", mode === "select");
    const lit = result.visible.filter((i) => edges.has(i));
    scene.drawEdges(scene.lit, made, lit.slice(-DRAW_LIMIT), (i) => this.look(i));
    const selected = state.selection?.type === "node" ? nodeAt(graph, state.selection.name) : -1;
    for (let i = 0; i < graph.nodes.length; i += 1) {
      const parts = ["node", graph.kindOf[i], result.used[i] || i === 0 || i === graph.nodes.length - 1 ? "used" : "unused"];
      if (nodes.has(i)) parts.push("lit");
      if (i === selected) parts.push("selected");
      if (state.pins.includes(graph.nodes[i])) parts.push("pinned");
      if (scene.groupOf?.[i]) parts.push("inside");
      if (layout.hidden[i]) parts.push("folded");
      if (this.roles.has(i)) parts.push("has-role");
      const role = this.roles.get(i);
      const counts = result.used[i] ? `${result.incoming[i]} in, ${result.outgoing[i]} out` : "not in the circuit";
      scene.setNode(i, parts.join(" "), `${graph.nodes[i]}${role ? `, ${role.name}` : ""}, ${counts}`);
      scene.setPorts(i, result.ports[i]);
    }
    for (const element of scene.groupLayer.children) {
      const group = element.getAttribute("data-group") ?? "";
      const members = this.groupNamed(group)?.nodes ?? [];
      const shown = members.some((name) => nodes.has(nodeAt(graph, name)));
      element.classList.toggle("lit", shown);
      element.classList.toggle("selected", state.selection?.type === "group" && state.selection.name === group);
    }
  },

  /** Points at something (or nothing): `{type, name}`. */
  setHover(target, at, fromLink = false) {
    const key = target ? `${target.type} ${target.name}` : "";
    if (key !== this.hoverKey) {
      this.hoverKey = key;
      this.hover = target;
      this.relight();
      this.fillTip(target);
      if (!fromLink) this.send({ kind: "hover", target });
    }
    if (target && at) placeTooltip(this.tip, this.root, at.clientX, at.clientY);
    else if (!at) this.tip.hidden = true;
  },

  fillTip(target) {
    this.tip.hidden = !target;
    if (!target) return;
    const { graph, made } = this;
    if (target.type === "node") this.tip.replaceChildren(...nodeTooltip(this, nodeAt(graph, target.name)));
    else if (target.type === "group") {
      const group = this.placed.find(({ name }) => name === target.name);
      this.tip.replaceChildren(...(group ? groupTooltip(this, group) : []));
    } else {
      const i = candidateNamed(graph, made, target.name);
      this.tip.replaceChildren(...(i >= 0 ? edgeTooltip(this, i) : []));
    }
  },

  nameOf(i) {
    return edgeName(this.graph, this.made.source[i], this.made.destination[i]);
  },
}));
