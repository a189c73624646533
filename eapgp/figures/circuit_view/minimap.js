// @ts-check
// The whole drawing as a small strip at the stage's edge, with the part that is shown; there while it is not all shown.

const MAP_WIDTH = 46;
const MAP_GAP = 8;
const MAP_STEP = 40; // px of the stage that an arrow key moves

class MiniMap {
  dragged = false;

  /** @param {Camera} camera */
  constructor(camera) {
    this.camera = camera;
    this.dots = svg("path", { class: "map-dots" });
    this.folds = svg("path", { class: "map-folds" });
    this.window = svg("rect", { class: "map-window", rx: 2 });
    this.picture = svg("svg", { "aria-hidden": "true" }, this.folds, this.dots, this.window);
    this.element = html("div", {
      class: "minimap", role: "scrollbar", tabindex: 0, "aria-orientation": "vertical", "aria-valuemin": 0, "aria-valuemax": 100,
      "aria-label": "Part of the circuit that is shown",
      title: "The whole circuit and the part that is shown. Drag it, or turn the wheel over the drawing; arrow keys move too.",
      onkeydown: (event) => event instanceof KeyboardEvent && this.key(event),
      onpointerdown: (event) => event instanceof PointerEvent && this.grab(event),
      onpointermove: (event) => event instanceof PointerEvent && this.pull(event),
      onpointerup: () => (this.dragged = false), onpointercancel: () => (this.dragged = false),
    }, this.picture);
    this.element.hidden = true;
  }

  get height() {
    return Math.min(this.camera.size.height - 2 * MAP_GAP, Math.max(120, this.camera.layout.height / 5));
  }

  /** Dots of the nodes that the circuit uses. @param {Flags} used */
  draw(used) {
    const { layout } = this.camera;
    const height = this.height;
    const [sx, sy] = [MAP_WIDTH / layout.width, height / layout.height];
    const size = clamp(layout.boxWidth * sx * 0.8, 2, 5);
    const r = (/** @type {number} */ value) => Math.round(value * 10) / 10;
    let dots = "";
    for (let i = 0; i < layout.x.length; i += 1) {
      const ends = i === 0 || i === layout.x.length - 1;
      const w = ends ? layout.w[i] * sx : size;
      if (used[i] || ends) dots += `M${r(layout.x[i] * sx - w / 2)} ${r(layout.y[i] * sy)}h${r(w)}`;
    }
    this.dots.setAttribute("d", dots);
    this.folds.setAttribute("d", layout.rowFolds.map(({ at }) => `M2 ${r(at * sy)}H${MAP_WIDTH - 2}`).join(""));
    fill(this.picture, { width: MAP_WIDTH, height, viewBox: `0 0 ${MAP_WIDTH} ${height}` }, []);
    this.sync();
  }

  /** Follows the camera. */
  sync() {
    const { camera, element } = this;
    const { width, height } = camera.size;
    const [w, h] = [camera.layout.width * camera.k, camera.layout.height * camera.k];
    element.hidden = w <= width + 1 && h <= height + 1;
    if (element.hidden) return;
    const share = (/** @type {number} */ at, /** @type {number} */ room, /** @type {number} */ all) => [clamp(-at / all, 0, 1), clamp((room - at) / all, 0, 1)];
    const [left, right] = share(camera.x, width, w);
    const [top, bottom] = share(camera.y, height, h);
    const full = this.height;
    fill(this.window, { x: left * MAP_WIDTH, y: top * full, width: (right - left) * MAP_WIDTH, height: Math.max(4, (bottom - top) * full) }, []);
    element.setAttribute("aria-valuenow", String(Math.round(clamp((100 * -camera.y) / Math.max(1, h - height), 0, 100))));
  }

  /** @param {PointerEvent} event */
  grab(event) {
    event.preventDefault();
    event.stopPropagation();
    this.element.focus({ preventScroll: true });
    this.element.setPointerCapture(event.pointerId);
    this.dragged = true;
    this.pull(event);
  }

  /** @param {PointerEvent} event */
  pull(event) {
    if (!this.dragged) return;
    const box = this.picture.getBoundingClientRect();
    this.camera.centre((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const page = this.camera.size.height * 0.9;
    /** @type {Record<string, Point>} */
    const steps = {
      ArrowUp: [0, MAP_STEP], ArrowDown: [0, -MAP_STEP], ArrowLeft: [MAP_STEP, 0], ArrowRight: [-MAP_STEP, 0],
      PageUp: [0, page], PageDown: [0, -page], Home: [0, 1e6], End: [0, -1e6],
    };
    const step = steps[event.key];
    if (!step || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation();
    this.camera.scrollBy(...step);
  }
}
