// @ts-check
// Pictures and tables for download. Styles are written into the picture, so that it looks the same
// in any program that reads SVG.

const PAINT = ["fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-linecap", "stroke-linejoin", "stroke-opacity", "fill-opacity",
  "opacity", "font-family", "font-size", "font-weight", "text-anchor", "dominant-baseline", "letter-spacing"];

/** `color(srgb r g b / a)`, which many programs do not read, as `rgba()`. @type {(value: string) => string} */
function plainColor(value) {
  const match = /^color\(srgb ([\d.e-]+) ([\d.e-]+) ([\d.e-]+)(?: \/ ([\d.e-]+))?\)$/.exec(value);
  if (!match) return value;
  const [r, g, b] = match.slice(1, 4).map((part) => Math.round(Number(part) * 255));
  return match[4] === undefined ? `rgb(${r}, ${g}, ${b})` : `rgba(${r}, ${g}, ${b}, ${match[4]})`;
}

/**
 * A copy of an SVG element with its computed style as attributes; hidden parts are left out.
 * @type {(element: Element) => Element | null}
 */
function paintedCopy(element) {
  const style = getComputedStyle(element);
  if (style.display === "none" || style.visibility === "hidden") return null;
  const copy = /** @type {Element} */ (element.cloneNode(false));
  if (element.tagName === "path" && element.parentElement?.matches("g.edge")) return copy; // styled by its group
  for (const name of [...copy.getAttributeNames()]) {
    if (/^(class|style|tabindex|role|aria-|data-)/.test(name)) copy.removeAttribute(name);
  }
  for (const name of PAINT) {
    const value = style.getPropertyValue(name);
    if (value && value !== "normal" && !(name === "opacity" && value === "1")) copy.setAttribute(name, plainColor(value));
  }
  for (const child of element.childNodes) {
    if (child.nodeType === Node.TEXT_NODE) copy.append(child.cloneNode());
    else if (child instanceof Element) {
      const painted = paintedCopy(child);
      if (painted) copy.append(painted);
    }
  }
  return copy;
}

/**
 * The whole circuit as one SVG element, with title, counts, legend and how it was made.
 * @type {(view: CircuitView) => { picture: SVGSVGElement, width: number, height: number }}
 */
function pictureOf(view) {
  const { layout, scene, stage, data } = view;
  const shown = { zoom: stage.dataset.zoom, scale: stage.style.getPropertyValue("--ks"), font: stage.style.getPropertyValue("--font") };
  view.setHover(null);
  stage.classList.add("exporting");
  view.applyScale(1);
  const style = getComputedStyle(view.root);
  const ink = plainColor(style.color);
  const paper = plainColor(style.backgroundColor);
  const font = style.fontFamily;
  const margin = 24;
  const head = data.title ? 64 : 44;
  const entries = legendEntries(view);
  const cell = Math.max(...entries.map(([, content]) => 72 + 6.6 * content.length)); // 12 px text, wide letters
  const columns = clamp(Math.floor((layout.width + 24) / cell), 1, entries.length);
  const rows = Math.ceil(entries.length / columns);
  const width = layout.width + 2 * margin;
  const height = head + layout.height + 24 + rows * 22 + (data.caption ? 28 : 0) + margin;
  /** @type {(x: number, y: number, content: string, size: number, opacity?: number, weight?: number) => SVGTextElement} */
  const text = (x, y, content, size, opacity = 1, weight = 400) =>
    svg("text", { x, y, text: content, fill: ink, "fill-opacity": opacity, "font-family": font, "font-size": size, "font-weight": weight });
  const picture = svg("svg", { xmlns: SVG_NS, width, height, viewBox: `0 0 ${width} ${height}` });
  picture.append(svg("title", { text: data.title || "Circuit" }), svg("rect", { width, height, fill: paper }));
  if (data.title) picture.append(text(margin, margin + 12, data.title, 18, 1, 600));
  picture.append(text(margin, head - 12, view.summary(), 13, 0.75));
  const drawing = svg("g", { transform: `translate(${margin} ${head})` });
  for (const layer of [scene.bands, scene.edges, scene.lit, scene.nodes]) {
    const opacity = getComputedStyle(layer).opacity;
    const group = svg("g", { opacity });
    for (const child of layer.children) {
      const painted = paintedCopy(child);
      if (painted) group.append(painted);
    }
    drawing.append(group);
  }
  picture.append(drawing);
  entries.forEach(([sampled, content], i) => {
    const x = margin + (i % columns) * cell;
    const y = head + layout.height + 28 + Math.floor(i / columns) * 22;
    picture.append(legendPicture(view, sampled, x, y), text(x + 48, y + 4, content, 12));
  });
  if (data.caption) picture.append(text(margin, height - margin, data.caption, 11, 0.7));
  stage.classList.remove("exporting");
  view.applyScale(view.camera.k);
  stage.dataset.zoom = shown.zoom;
  return { picture, width, height };
}

/** @type {(view: CircuitView, sampled: LegendEntry[0], x: number, y: number) => SVGGElement} */
function legendPicture(view, sampled, x, y) {
  const group = svg("g", { transform: `translate(${x} ${y - 7})` });
  if (!sampled) return group;
  if (!sampled.classList.contains("sample")) {
    group.append(svg("rect", { x: 12, y: 4, width: 10, height: 6, rx: 3, fill: sampled.style.background }));
    return group;
  }
  view.legend.append(sampled);
  for (const child of sampled.children) {
    const painted = paintedCopy(child);
    if (painted) group.append(painted);
  }
  sampled.remove();
  return group;
}

/** @type {(view: CircuitView, ending: string) => string} */
const fileName = (view, ending) => `${(view.data.filename || view.data.title || "circuit").replace(/[^\w.-]+/g, "-").slice(0, 80)}${ending}`;
/** What is saved of a circuit names its size: `-47-edges.svg`. @type {(view: CircuitView, kind: string) => string} */
const sized = (view, kind) => `-${view.result.kept}-edges.${kind}`;

/** @type {(view: CircuitView) => string} */
function svgText(view) {
  return new XMLSerializer().serializeToString(pictureOf(view).picture);
}

/** @type {(view: CircuitView) => void} */
function saveSvg(view) {
  download(fileName(view, sized(view, "svg")), svgText(view), "image/svg+xml");
}

/** @type {(view: CircuitView) => Promise<void>} */
async function savePng(view) {
  const { picture, width, height } = pictureOf(view);
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(new XMLSerializer().serializeToString(picture))}`;
  await image.decode();
  const factor = Math.min(3, 12000 / Math.max(width, height));
  const canvas = html("canvas", { width: Math.round(width * factor), height: Math.round(height * factor) });
  canvas.getContext("2d")?.drawImage(image, 0, 0, canvas.width, canvas.height);
  /** @type {Blob | null} */
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  if (blob) download(fileName(view, sized(view, "png")), blob, "image/png");
}

/** @type {(view: CircuitView) => void} */
function saveCsv(view) {
  const { made, result, data } = view;
  /** @type {(score: Float32Array, rank: Int32Array, i: number) => string} */
  const cells = (score, rank, i) => `${Number.isFinite(score[i]) ? score[i] : ""},${rank[i] >= 0 ? rank[i] + 1 : ""}`;
  const lines = [data.compare ? "edge,set,score_a,rank_a,score_b,rank_b" : "edge,score,rank"];
  for (let j = result.visible.length - 1; j >= 0; j -= 1) {
    const i = result.visible[j];
    const own = cells(made.score, made.rank, i);
    lines.push(`${view.nameOf(i)},${data.compare ? `${view.kindOf(i)},${own},${cells(made.otherScore, made.otherRank, i)}` : own}`);
  }
  download(fileName(view, sized(view, "csv")), `${lines.join("\n")}\n`, "text/csv");
}
