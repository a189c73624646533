// @ts-check
// The settings as one line. Streamlit offers no way to open its sidebar from Python, so this presses its own button.

const OPEN = '[data-testid="stExpandSidebarButton"] button, button[data-testid="stExpandSidebarButton"]';
const FIRST = '[data-testid="stSidebar"] :is(input, select, textarea, [role="combobox"], [role="radio"])';
const SLIDE = 350; // ms: Streamlit's sidebar slides in

/**
 * Streamlit calls it when the component is mounted and whenever its text changes.
 * @param {{ data: { text: string }, parentElement: HTMLElement | ShadowRoot }} component
 */
export default function draw({ data, parentElement }) {
  const button = parentElement.querySelector("button") ?? parentElement.appendChild(document.createElement("button"));
  button.type = "button";
  button.title = data.text;
  const text = document.createElement("span");
  text.textContent = data.text;
  const change = document.createElement("b");
  change.textContent = "change";
  button.replaceChildren(text, change);
  button.onclick = () => {
    const opener = document.querySelector(OPEN);
    if (opener instanceof HTMLElement) opener.click();
    setTimeout(() => {
      const first = document.querySelector(FIRST);
      if (first instanceof HTMLElement) first.focus();
    }, SLIDE);
  };
}
