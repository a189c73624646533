// @ts-check
// Streamlit recolours its own parts when its theme is switched, but does not run the script again, so what
// Python coloured (figures, token tables, logo) would keep the old theme. This asks for that run.

const SETTLE = 150; // ms: asks for nothing while the component is mounted, or where the theme is switched back at once

// The theme that a run was asked for, until one has come: the same is never asked for twice.
/** @type {string | null} */
let asked = null;

/**
 * Streamlit calls it when the component is mounted, after a run that was told another theme, and on a switch.
 * @param {{ data: { told: string | null }, parentElement: HTMLElement | ShadowRoot, setTriggerValue: (name: string, value: string) => void }} component
 */
export default function watch({ data, parentElement, setTriggerValue }) {
  const timer = setTimeout(() => {
    if (!parentElement.isConnected) return;
    // `color-scheme` is inherited from the app's root, where Streamlit writes what it also tells the script.
    const host = parentElement instanceof ShadowRoot ? parentElement.host : parentElement;
    const shown = getComputedStyle(host).colorScheme;
    if (shown === data.told) asked = null;
    else if (shown !== asked && (shown === "light" || shown === "dark")) {
      asked = shown;
      setTriggerValue("switched", shown);
    }
  }, SETTLE);
  return () => clearTimeout(timer);
}
