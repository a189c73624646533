// @ts-check
// Presenter mode: P, or the button that this draws, turns it on and off; Esc leaves it. The look is in the style sheet
// (`[data-presenter]` on the page's root); Python hears of it, so that the link says so.
// It stands last on every page, and so notes too when the first one is drawn in full (`[data-drawn]`).

const TYPING = 'input:not([type="range"], [type="checkbox"], [type="radio"], [type="button"]), textarea, select, [contenteditable="true"], [role="textbox"], [role="combobox"]';
const OPEN = '[role="dialog"], [data-testid="stMainMenuPopover"], [data-baseweb="popover"]'; // what Esc closes first
const ANSWER = 5000; // ms in which Python's answer to the last change may still tell of the one before

// What the user asked for last and when, until Python says the same.
/** @type {{ on: boolean, at: number } | null} */
let asked = null;

const isOn = () => document.documentElement.dataset.presenter === "1";

/** @param {boolean} on */
function turn(on) {
  if (on === isOn()) return;
  if (on) document.documentElement.dataset.presenter = "1";
  else delete document.documentElement.dataset.presenter;
  window.dispatchEvent(new Event("resize")); // figures take the width that the sidebar leaves
}

const PENDING = '[class*="st-key-curtain-"] [data-testid="stSkeleton"]'; // a kind of element that is still being fetched
const PATIENCE = 2000; // ms

/** Says once that every kind of element is there, so that the style sheet hides nothing from then on. */
function noteDrawn() {
  const root = document.documentElement;
  if (root.dataset.drawn) return;
  const done = () => {
    root.dataset.drawn = "1";
    seen.disconnect();
  };
  const seen = new MutationObserver(() => document.querySelector(PENDING) || done());
  seen.observe(document.body, { childList: true, subtree: true });
  setTimeout(done, document.querySelector(PENDING) ? PATIENCE : 0);
}

/**
 * Streamlit calls it when the component is mounted and after a run that was told another state.
 * @param {{ data: { on: boolean, help: string }, parentElement: HTMLElement | ShadowRoot, setTriggerValue: (name: string, value: boolean) => void }} component
 */
export default function present({ data, parentElement, setTriggerValue }) {
  const button = parentElement.querySelector("button") ?? document.createElement("button");
  const show = () => button.setAttribute("aria-pressed", String(isOn()));
  /** @param {boolean} on */
  const ask = (on) => {
    asked = { on, at: Date.now() };
    turn(on);
    show();
    setTriggerValue("turned", on);
  };
  if (!button.isConnected) {
    button.type = "button";
    button.textContent = "Present";
    parentElement.append(button);
  }
  noteDrawn();
  button.title = data.help;
  button.onclick = () => ask(!isOn());
  if (asked?.on === data.on || (asked && Date.now() - asked.at > ANSWER)) asked = null;
  if (!asked) turn(data.on);
  show();
  /** @param {KeyboardEvent} event */
  const press = (event) => {
    const [target] = event.composedPath();
    if (event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented || event.repeat) return;
    if (event.key === "Escape") {
      if (isOn() && !document.fullscreenElement && !document.querySelector(OPEN)) ask(false);
    } else if (event.key.toLowerCase() === "p" && !(target instanceof Element && target.closest(TYPING))) ask(!isOn());
  };
  // The one before stays until there is another: a key that is pressed while the page is put together anew is heard.
  const kept = /** @type {{ eapgpPress?: (event: KeyboardEvent) => void }} */ (window);
  if (kept.eapgpPress) document.removeEventListener("keydown", kept.eapgpPress);
  kept.eapgpPress = press;
  document.addEventListener("keydown", press);
}
