// @ts-check
// What the page says above the graph (its title, the first pair, what the circuit keeps), inside the graph while it
// fills the screen in presenter mode: nothing else of the page is seen there.

class About {
  /** @type {MutationObserver | null} */ observer = null;

  /** @param {CircuitView} view */
  constructor(view) {
    this.view = view;
    this.element = html("div", { class: "about" });
    this.element.hidden = true;
    this.soon = debounce(() => this.fill(), 80);
  }

  /** Shows or hides it, as the screen and the mode ask for. */
  sync() {
    const shown = Boolean(this.view.data.about) && this.view.isFull() && document.documentElement.dataset.presenter === "1";
    if (shown === !this.element.hidden) return;
    this.element.hidden = !shown;
    this.observer?.disconnect();
    this.observer = null;
    if (!shown) return;
    this.fill();
    this.observer = new MutationObserver(() => this.soon());
    this.observer.observe(document.body, { subtree: true, childList: true, characterData: true });
  }

  fill() {
    const { about } = this.view.data;
    if (!about || this.element.hidden) return;
    const all = (/** @type {string} */ selector) => [...document.querySelectorAll(selector)];
    const text = (/** @type {Element | undefined} */ element) => (element instanceof HTMLElement ? element.innerText : "").split(/\s*\n\s*/).join(" ");
    const styles = all("style").filter((style) => style.textContent?.includes(about.style)); // Streamlit keeps them apart
    const copies = [...styles.slice(-1), ...all(about.parts)].map((element) => element.cloneNode(true));
    this.element.replaceChildren(
      html("div", { class: "about-line" }, html("span", { class: "about-title", text: text(all(about.title)[0]) }), html("span", { class: "about-value", text: text(all(about.value)[0]) })),
      ...copies,
    );
  }

  stop() {
    this.observer?.disconnect();
    this.soon.cancel();
  }
}
