// @ts-check
// The step that is marked in every picture of the page: moved here, without the server, which hears of it afterwards.

const PLAY = 700; // ms that a step is shown
const HEARD = 300; // ms after the last move until the server hears of it

/**
 * @typedef {{ label: string, colour: string, shares: number[], texts: string[] }} Gauge
 * @typedef {{ at: number, last: number, readings: string[], help: string, gauges: Gauge[] }} Steps
 * @typedef {{ name?: string, xref: string, x0?: number, x1?: number, x?: number, text?: string }} Mark
 * @typedef {{ _offset: number, l2p: (value: number) => number, c2p: (value: number) => number }} Axis
 * @typedef {{ xaxis: Axis, yaxis: Axis, shapes?: Mark[], annotations?: Mark[], [axis: string]: unknown }} FullLayout
 * @typedef {HTMLElement & { _fullLayout?: FullLayout, data?: { name?: string, meta?: { places?: number[][][] } }[], on?: (event: string, then: () => void) => void, followsStep?: boolean }} Plot
 */

class StepBar {
  at = 0;
  timer = 0;
  playing = 0;
  /** @type {Steps | null} */ data = null;
  /** @type {((name: string, value: unknown) => void) | undefined} */ tell;

  /** @param {HTMLElement | ShadowRoot} parent */
  constructor(parent) {
    this.play = document.createElement("button");
    this.play.type = "button";
    this.play.onclick = () => (this.playing ? this.stop() : this.start());
    this.slider = document.createElement("input");
    this.slider.type = "range";
    this.slider.min = "0";
    this.slider.setAttribute("aria-label", "Step");
    this.slider.oninput = () => {
      this.stop();
      this.go(Number(this.slider.value));
    };
    this.number = document.createElement("output");
    const row = document.createElement("div");
    row.className = "row";
    row.append(this.play, this.slider, this.number);
    this.reading = document.createElement("p");
    this.gauges = document.createElement("div");
    parent.append(row, this.reading, this.gauges);
    this.watch = new MutationObserver(() => this.mark());
    this.watch.observe(document.body, { childList: true, subtree: true });
    this.stop();
  }

  /** @param {Steps} data @param {StepBar["tell"]} tell */
  update(data, tell) {
    this.tell = tell;
    if (data === this.data) return;
    this.data = data;
    this.slider.max = String(data.last);
    this.slider.title = data.help;
    this.gauges.replaceChildren(...data.gauges.map(() => gaugeRow()));
    this.show(Math.min(data.at, data.last));
  }

  /** @param {number} step */
  go(step) {
    this.show(step);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.tell?.("at", this.at), HEARD);
  }

  /** @param {number} step */
  show(step) {
    this.at = step;
    this.slider.value = String(step);
    this.slider.setAttribute("aria-valuetext", `step ${step} of ${this.data?.last}`);
    this.number.textContent = `step ${step} of ${this.data?.last}`;
    this.reading.textContent = this.data?.readings[step] ?? "";
    this.data?.gauges.forEach((gauge, i) => fill(/** @type {HTMLElement} */ (this.gauges.children[i]), gauge, step));
    this.mark();
  }

  mark() {
    /** @type {NodeListOf<Plot>} */
    const plots = document.querySelectorAll(".js-plotly-plot");
    for (const plot of plots) {
      if (!plot.followsStep && plot.on && plot._fullLayout) {
        plot.followsStep = true;
        plot.on("plotly_afterplot", () => moveTo(plot, this.at));
      }
      moveTo(plot, this.at);
    }
  }

  start() {
    this.play.textContent = "■ Stop";
    this.playing = setInterval(() => this.go(this.at >= (this.data?.last ?? 0) ? 0 : this.at + 1), PLAY);
  }

  stop() {
    clearInterval(this.playing);
    this.playing = 0;
    this.play.textContent = "▶ Play";
  }

  destroy() {
    this.stop();
    clearTimeout(this.timer);
    this.watch.disconnect();
  }
}

function gaugeRow() {
  const row = document.createElement("div");
  row.className = "gauge";
  row.append(document.createElement("span"), document.createElement("i"), document.createElement("span"));
  return row;
}

/** @param {HTMLElement} row @param {Gauge} gauge @param {number} step */
function fill(row, gauge, step) {
  const at = Math.min(step, gauge.shares.length - 1);
  const [label, bar, text] = /** @type {HTMLElement[]} */ ([...row.children]);
  label.textContent = gauge.label;
  text.textContent = gauge.texts[at];
  bar.style.setProperty("--colour", gauge.colour);
  bar.style.setProperty("--share", `${100 * Math.min(Math.max(gauge.shares[at], 0), 1)}%`);
}

/** Moves what marks the step in one picture: plotly draws it where the server said, this shifts it. @param {Plot} plot @param {number} step */
function moveTo(plot, step) {
  const layout = plot._fullLayout;
  if (!layout?.xaxis) return;
  const axis = (/** @type {string} */ ref) => /** @type {Axis} */ (layout[ref.replace(" domain", "").replace("x", "xaxis")]);
  layout.shapes?.forEach((shape, i) => {
    if (shape.name !== "current") return;
    const { l2p } = axis(shape.xref);
    const by = l2p(step) - l2p((Number(shape.x0) + Number(shape.x1)) / 2);
    for (const drawn of plot.querySelectorAll(`.shapelayer [data-index="${i}"]`)) drawn.setAttribute("transform", `translate(${by},0)`);
  });
  layout.annotations?.forEach((note, i) => {
    if (note.name !== "current") return;
    const { l2p } = axis(note.xref);
    for (const drawn of plot.querySelectorAll(`.annotation[data-index="${i}"]`)) {
      drawn.setAttribute("transform", `translate(${l2p(step) - l2p(Number(note.x))},0)`);
      const text = drawn.querySelector("text");
      if (text && text.textContent !== `step ${step}`) text.textContent = `step ${step}`;
    }
  });
  const ring = plot.data?.findIndex((trace) => trace.meta?.places) ?? -1;
  if (ring >= 0) moveRing(plot, layout, plot.data?.[ring].meta?.places?.[step] ?? []);
}

/** @param {Plot} plot @param {FullLayout} layout @param {number[][]} places */
function moveRing(plot, layout, places) {
  for (const trace of plot.querySelectorAll(".scatterlayer .trace")) {
    const [first] = /** @type {{ __data__?: { trace?: { name?: string } }[] }} */ (/** @type {unknown} */ (trace)).__data__ ?? [];
    if (first?.trace?.name !== "current step") continue;
    trace.querySelectorAll("path.point").forEach((point, i) => {
      if (places[i]) point.setAttribute("transform", `translate(${layout.xaxis.c2p(places[i][0])},${layout.yaxis.c2p(places[i][1])})`);
    });
  }
}

/** @type {WeakMap<HTMLElement | ShadowRoot, StepBar>} */
const BARS = new WeakMap();

/**
 * Streamlit calls it when the component is mounted and whenever its data changes.
 * @param {{ data: Steps, parentElement: HTMLElement | ShadowRoot, setStateValue: (name: string, value: unknown) => void }} component
 */
export default function draw({ data, parentElement, setStateValue }) {
  const bar = BARS.get(parentElement) ?? new StepBar(parentElement);
  BARS.set(parentElement, bar);
  bar.update(data, setStateValue);
  return () => {
    setTimeout(() => {
      if (parentElement.isConnected) return;
      bar.destroy();
      BARS.delete(parentElement);
    }, 0);
  };
}
