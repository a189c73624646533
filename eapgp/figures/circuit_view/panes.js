// @ts-check
// Circuits beside each other under one toolbar and over one legend: linked views, of which the first lends both.

class CircuitPanes {
  /** @type {CircuitView[]} */ views = [];
  turn = 0;

  /** @param {Component["parentElement"]} parent */
  constructor(parent) {
    this.bar = html("div", { class: "circuit-view bar" });
    this.row = html("div", { class: "row" });
    this.foot = html("div", { class: "circuit-view foot" });
    this.root = html("div", { class: "circuit-panes" }, this.bar, this.row, this.foot);
    this.root.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.views[0]?.toolbar.close()) event.preventDefault();
    });
    parent.append(this.root);
  }

  /** @param {Component} component */
  update(component) {
    const panes = component.data?.panes ?? [];
    while (this.views.length > panes.length) this.views.pop()?.destroy();
    while (this.views.length < panes.length) this.views.push(new CircuitView(this.row));
    this.views.forEach((view, i) => view.update({ ...component, data: panes[i] }));
    const [first, ...others] = this.views;
    if (!first) return;
    first.family = this.views;
    this.row.dataset.count = String(panes.length);
    if (first.toolbar.element.parentElement !== this.bar) this.bar.replaceChildren(first.toolbar.element);
    if (first.legend.parentElement !== this.foot) this.foot.replaceChildren(first.legend);
    for (const other of others) {
      other.toolbar.element.remove();
      other.legend.remove();
    }
    for (const part of [this.bar, this.foot]) part.classList.toggle("dark", first.root.classList.contains("dark"));
  }

  destroy() {
    for (const view of this.views) view.destroy();
    this.root.remove();
  }
}
