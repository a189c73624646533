// @ts-check
// The arrow keys turn the scenes, unless a control that uses them has the focus.

const USES_ARROWS = 'input, textarea, select, [role="slider"], [role="radio"], [role="tab"], [role="option"], g.node';

/**
 * Streamlit calls it when the component is mounted.
 * @param {{ setTriggerValue: (name: string, value: number) => void }} component
 */
export default function listen({ setTriggerValue }) {
  /** @param {KeyboardEvent} event */
  const turn = (event) => {
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    const target = event.composedPath()[0];
    if (!step || event.ctrlKey || event.altKey || event.metaKey) return;
    if (target instanceof Element && target.closest(USES_ARROWS)) return;
    setTriggerValue("turned", step);
  };
  document.addEventListener("keydown", turn);
  return () => document.removeEventListener("keydown", turn);
}
