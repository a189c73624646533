// @ts-check
// Zoom and pan. While a gesture lasts the compositor moves and scales finished layers; when it ends
// the layers are drawn again at their new size. (Browsers redraw a scaled layer in every frame
// unless it is drawn at a scale of at least one: hence real sizes, not a resting transform.)

const ZOOM_NEAR = 1.2;

class Camera {
  /** @type {{ width: number, height: number } | null} */ room = null;

  /**
   * onChange(final): the view moved; `moved` tells whether it still shows everything.
   * @param {HTMLElement} stage
   * @param {Scene} scene
   * @param {Layout} layout
   * @param {(final: boolean) => void} onChange
   */
  constructor(stage, scene, layout, onChange) {
    this.stage = stage;
    this.scene = scene;
    this.layout = layout;
    this.onChange = onChange;
    this.world = scene.world;
    this.drawn = 1; // scale at which the layers are drawn
    this.x = 0;
    this.y = 0;
    this.k = 1;
    this.moved = false;
    this.settle = debounce(() => this.settled(), 140);
  }

  /** Size of the stage, measured once until it changes: asking the page in every frame makes it lay out everything. */
  get size() {
    this.room ??= { width: this.stage.clientWidth || 1, height: this.stage.clientHeight || 1 };
    return this.room;
  }

  /** px of the stage that the small map lies over; of deep graphs, which always have it, it stands beside the stage. */
  get covered() {
    return this.layout.deep ? 0 : MAP_WIDTH;
  }

  get fitScale() {
    const { width, height } = this.size;
    return clamp(Math.min((width - 12) / this.layout.width, (height - 12) / this.layout.height), 0.03, 1.5);
  }

  /** Scale of the view that the graph opens with: all of it, or as wide as fits and no smaller than can be read. */
  get restScale() {
    const { readable, width } = this.layout;
    return this.fitScale >= readable ? this.fitScale : Math.max(readable, Math.min(1, (this.size.width - 12 - this.covered) / width));
  }

  /** Whether the view that the graph opens with is a part of it. */
  get scrolls() {
    return this.restScale > this.fitScale;
  }

  /** The view that the graph opens with: its middle, or its upper end where not all of it fits. */
  fit() {
    this.k = this.restScale;
    this.middle();
    this.moved = false;
    this.apply(true);
  }

  /** Everything, however small. */
  fitAll() {
    this.k = this.fitScale;
    this.middle();
    this.moved = true;
    this.apply(true);
  }

  middle() {
    const { width, height } = this.size;
    const [w, h] = [this.layout.width * this.k, this.layout.height * this.k];
    this.x = w > width ? 0 : Math.max(0, ((h > height ? width - this.covered : width) - w) / 2);
    this.y = Math.max(0, (height - h) / 2);
  }

  /** Takes another layout of the same graph, at the same scale. @param {Layout} layout */
  place(layout) {
    this.layout = layout;
    if (this.moved) {
      this.bound();
      this.apply(true);
    } else this.fit();
  }

  /** Moves as a scroll bar does, up to the ends of the drawing; whether there was room to. @param {number} dx @param {number} dy */
  scrollBy(dx, dy) {
    const { width, height } = this.size;
    const { x, y } = this;
    const within = (/** @type {number} */ at, /** @type {number} */ by, /** @type {number} */ room, /** @type {number} */ all) =>
      (all <= room ? at : clamp(at + by, Math.min(at, room - all), Math.max(at, 0)));
    this.x = within(x, dx, width - this.covered, this.layout.width * this.k);
    this.y = within(y, dy, height, this.layout.height * this.k);
    if (x === this.x && y === this.y) return false;
    this.moved = true;
    this.apply();
    return true;
  }

  /** Brings a point of the drawing (as shares of it) to the middle, as far as the drawing reaches. @param {number} fx @param {number} fy */
  centre(fx, fy) {
    const { width, height } = this.size;
    const { layout, k } = this;
    this.scrollBy(width / 2 - fx * layout.width * k - this.x, height / 2 - fy * layout.height * k - this.y);
  }

  /** Keeps part of the drawing on the stage. */
  bound() {
    const { width, height } = this.size;
    const w = this.layout.width * this.k;
    const h = this.layout.height * this.k;
    this.x = clamp(this.x, 80 - w, width - 80);
    this.y = clamp(this.y, 80 - h, height - 80);
  }

  apply(final = false) {
    if (final) {
      this.settled();
      return;
    }
    this.world.style.transform = `translate(${this.x}px, ${this.y}px) scale(${this.k / this.drawn})`;
    this.settle();
    this.onChange(false);
  }

  settled() {
    this.settle.cancel();
    this.drawn = this.k;
    this.scene.resize(this.k);
    this.world.style.transform = `translate(${Math.round(this.x)}px, ${Math.round(this.y)}px)`;
    this.onChange(true);
  }

  /** @param {number} factor @param {number} [px] @param {number} [py] */
  zoomBy(factor, px, py) {
    const { width, height } = this.size;
    const cx = px ?? width / 2;
    const cy = py ?? height / 2;
    const next = clamp(this.k * factor, this.fitScale * 0.6, Math.max(2.4, this.fitScale * 5));
    const ratio = next / this.k;
    this.x = cx - (cx - this.x) * ratio;
    this.y = cy - (cy - this.y) * ratio;
    this.k = next;
    this.moved = true;
    this.bound();
    this.apply();
  }

  /** @param {number} dx @param {number} dy */
  panBy(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.moved = true;
    this.bound();
    this.apply();
  }

  /** Brings a point of the drawing onto the stage if it is outside. @param {number} wx @param {number} wy */
  reveal(wx, wy) {
    const { width, height } = this.size;
    const sx = wx * this.k + this.x;
    const sy = wy * this.k + this.y;
    const dx = sx < 40 ? 40 - sx : sx > width - 40 ? width - 40 - sx : 0;
    const dy = sy < 40 ? 40 - sy : sy > height - 40 ? height - 40 - sy : 0;
    if (dx || dy) this.panBy(dx, dy);
  }

  /** Point of the drawing under a point of the page. @type {(clientX: number, clientY: number) => Point} */
  toWorld(clientX, clientY) {
    const box = this.stage.getBoundingClientRect();
    return [(clientX - box.left - this.x) / this.k, (clientY - box.top - this.y) / this.k];
  }

  /**
   * Zoom relative to the view that the graph opens with, and which point (as shares of the drawing) is in the middle; null while all is shown.
   * @returns {Zoom | null}
   */
  get state() {
    if (!this.moved) return null;
    const { width, height } = this.size;
    const round = (/** @type {number} */ value) => Math.round(value * 1000) / 1000;
    const { layout, k } = this;
    return { k: round(k / this.restScale), x: round((width / 2 - this.x) / k / layout.width), y: round((height / 2 - this.y) / k / layout.height) };
  }

  /** @param {Zoom | null} value */
  set state(value) {
    if (!value || !Number.isFinite(value.k)) {
      this.fit();
      return;
    }
    const { width, height } = this.size;
    this.k = Math.max(0.6 * this.fitScale, Math.min(value.k, 60) * this.restScale);
    const share = (/** @type {number} */ part) => (Number.isFinite(part) ? clamp(part, 0, 1) : 0.5);
    this.x = width / 2 - share(value.x) * this.layout.width * this.k;
    this.y = height / 2 - share(value.y) * this.layout.height * this.k;
    this.moved = true;
    this.bound();
    this.apply(true);
  }
}

/** By how much a turn of the wheel moves the drawing. @type {(event: WheelEvent, unit: number) => Point} */
function turned({ deltaX, deltaY, shiftKey }, unit) {
  return shiftKey && !deltaX ? [-deltaY * unit, 0] : [-deltaX * unit, -deltaY * unit];
}

/**
 * Drag, pinch and wheel. `tap(event)` is called for a press that did not drag.
 * @type {(stage: HTMLElement, camera: Camera, gestures: Gestures) => void}
 */
function attachGestures(stage, camera, { tap, wheelAllowed, hint, signal }) {
  const scrolled = { page: -Infinity, stage: -Infinity }; // when the wheel last moved each
  document.addEventListener("wheel", (event) => {
    if (!event.composedPath().includes(stage)) scrolled.page = event.timeStamp;
  }, { signal, passive: true });
  /** @type {Map<number, { x: number, y: number }>} */
  const pointers = new Map();
  let travelled = 0;
  /** @type {{ distance: number, x: number, y: number } | null} */
  let last = null;
  const options = { signal };
  const spread = () => {
    const [a, b] = [...pointers.values()];
    return { distance: Math.hypot(a.x - b.x, a.y - b.y), x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 };
  };
  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    travelled = pointers.size > 1 ? 99 : 0;
    last = pointers.size === 2 ? spread() : null;
  }, options);
  stage.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const dx = event.clientX - before.x;
    const dy = event.clientY - before.y;
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    travelled += Math.abs(dx) + Math.abs(dy);
    if (pointers.size === 2) {
      const now = spread();
      const box = stage.getBoundingClientRect();
      if (last) {
        camera.panBy(now.x - last.x, now.y - last.y);
        camera.zoomBy(now.distance / Math.max(1, last.distance), now.x - box.left, now.y - box.top);
      }
      last = now;
    } else if (travelled > 5) {
      if (!stage.hasPointerCapture(event.pointerId)) stage.setPointerCapture(event.pointerId);
      stage.classList.add("dragging");
      camera.panBy(dx, dy);
    }
  }, options);
  const release = (/** @type {PointerEvent} */ event) => {
    if (!pointers.delete(event.pointerId)) return;
    stage.classList.remove("dragging");
    last = null;
    if (event.type === "pointerup" && travelled <= 5) tap(event);
  };
  stage.addEventListener("pointerup", release, options);
  stage.addEventListener("pointercancel", release, options);
  stage.addEventListener("wheel", (event) => {
    const unit = event.deltaMode === 1 ? 16 : 1;
    if (!event.ctrlKey && !event.metaKey && camera.scrolls) {
      const { timeStamp: now } = event;
      if (now - scrolled.page < 250) scrolled.page = now; // the page is being scrolled, and goes on
      else if (camera.scrollBy(...turned(event, unit)) || now - scrolled.stage < 250) {
        scrolled.stage = now;
        event.preventDefault();
      } else scrolled.page = now;
      return;
    }
    if (!event.ctrlKey && !event.metaKey && !wheelAllowed()) {
      hint();
      return;
    }
    event.preventDefault();
    const box = stage.getBoundingClientRect();
    const step = clamp(-event.deltaY * unit, -120, 120);
    camera.zoomBy(Math.exp(step * 0.0025), event.clientX - box.left, event.clientY - box.top);
  }, { signal, passive: false });
}
