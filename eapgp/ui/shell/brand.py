"""The wordmark: a three-node circuit and the project's name, drawn for light and dark."""

from __future__ import annotations

_MARK = (
    '<g fill="none" stroke-width="2.4" stroke-linecap="round">'
    '<path d="M9 29 C9 21 17 22 17 15.5" stroke="{blue}"/>'
    '<path d="M25 29 C25 21 17 22 17 15.5" stroke="{vermillion}" stroke-dasharray="3.2 3.2"/>'
    '<path d="M17 15.5 L17 8" stroke="{blue}"/></g>'
    '<g fill="{ink}"><circle cx="9" cy="30" r="3.6"/><circle cx="25" cy="30" r="3.6"/>'
    '<circle cx="17" cy="15.5" r="3.6"/><circle cx="17" cy="5.6" r="3.6"/></g>'
)
_COLOURS = {
    False: {"blue": "#0072b2", "vermillion": "#d55e00", "ink": "#10181c"},
    True: {"blue": "#4aa8e0", "vermillion": "#f0803c", "ink": "#e4eaec"},
}
# Streamlit writes white on the primary colour in both themes; on the light one of the dark theme that is not legible.
# The theme may change without a rerun of the script, so the style sheet itself tells the two apart.
# In a row, chips and choices scroll sideways by default, so that some cannot be seen: they wrap instead.
# Where nothing can hover (phones), the tools of figures and tables are always shown, over what stands above: the
# figure's own title, a table's caption. They get a line of their own there. Lists of five rows need no tools at all.
# Small buttons are hit within 24 px there, however small they look; on narrow screens rows that wrapped stand closer.
STYLE = """<style>
[class*="st-key-curtain-"] { height: auto !important; overflow: visible !important; }
[data-testid="stLayoutWrapper"]:has(> [class*="st-key-curtain-"]) { height: auto !important; flex: none !important; }
[data-testid="stTopNavLink"] { padding-inline: 5px !important; } /* all pages fit beside the sidebar at 1280 px */
[data-testid="stElementContainer"]:has(> [data-testid="stSkeleton"]) { visibility: hidden; }
/* The first page is shown once every kind of element on it is there, or after two seconds: nothing is seen to move. */
:root { animation: eapgp-first 2s step-end; }
@keyframes eapgp-first { from, 99% { --eapgp-first: hidden; } to { --eapgp-first: visible; } }
:root:not([data-drawn]) [class*="st-key-curtain-"]:has([data-testid="stSkeleton"]) {
  visibility: var(--eapgp-first, visible);
}
:is(.st-key-curtain-settings, [class*="-choice"], .st-key-path-view)
  [class*="st-key-field-"]:has(> [data-testid="stSkeleton"]),
:is(.st-key-field-says, .st-key-field-model, .st-key-field-right, .st-key-field-wrong, .st-key-field-word):has(
  [data-testid="stSkeleton"]
) { min-height: 64px; }
.st-key-field-at:has(> [data-testid="stSkeleton"]) { min-height: 56px; }
button[kind="primary"]:not(:disabled) :is(p, span), [data-tag], [data-tag] * {
  color: light-dark(#ffffff, #12181b) !important;
}
[data-testid="stLayoutWrapper"]:has(> .st-key-run-foot) {
  position: sticky; bottom: 0; z-index: 2; padding: 0.5rem 0; background: light-dark(#f6f8f8, #161d21);
}
[class*="st-key-list-"] [data-testid="stElementToolbar"] { display: none; }
[data-testid="stMultiSelectTagsContainer"] { flex-wrap: wrap !important; overflow: visible !important; height: auto; }
:has(> [data-testid="stMultiSelectTagsContainer"]) { max-height: none !important; height: auto !important; }
[data-testid="stButtonGroup"] > [role="radiogroup"] { flex-wrap: wrap !important; overflow: visible !important; }
@media (max-width: 640px) {
  .stHorizontalBlock { row-gap: 0.75rem; }
}
[data-testid="stLayoutWrapper"]:has(> .st-key-presenter) {
  position: fixed; top: 0.8rem; right: 3.6rem; z-index: 999991;
  width: auto !important; height: auto !important; max-width: none !important;
}
[data-testid="stLayoutWrapper"]:has(> .st-key-run-foot)::before {
  content: ""; position: absolute; inset: auto 0 100% 0; height: 1.5rem; pointer-events: none;
  background: linear-gradient(transparent, light-dark(#f6f8f8, #161d21));
}
@media (max-width: 640px) {
  /* over the header, under the open sidebar, which holds its own way to close at this place */
  [data-testid="stLayoutWrapper"]:has(> .st-key-presenter) { z-index: 999990; }
  .st-key-truth-choice > [class*="st-key-field-"] { flex: 1 1 100%; min-width: 100%; }
}
.st-key-presenter, .st-key-presenter * { width: auto !important; max-width: none !important; min-height: 0; }
.st-key-presenter { height: auto !important; overflow: visible !important; }
@media (max-width: 640px) { .st-key-compare-choice > .st-key-field-these { flex: 1 1 100%; min-width: 100%; } }
@media (max-width: 640px) { html[data-presenter] .eapgp-pair { grid-template-columns: 1fr; } }
/* 1.5 times the theme's 15 px */
html[data-presenter] { font-size: 22.5px !important; --eapgp-text: 1.5; }
html[data-presenter] :is([data-testid="stSidebar"], [data-testid="stExpandSidebarButton"], .st-key-settings-chip) {
  display: none !important;
}
@media (hover: none) {
  [data-testid="stElementContainer"]:has(> div > [data-testid="stPlotlyChart"]) {
    margin-top: 1.75rem; overflow: visible;
  }
  .js-plotly-plot { overflow: visible !important; }
  .js-plotly-plot .modebar-btn { min-height: 24px; }
  [data-testid="stTooltipIcon"] button, [data-tag] button { position: relative; }
  [data-testid="stTooltipIcon"] button::after, [data-tag] button::after {
    content: ""; position: absolute; inset: 50%; width: 26px; height: 26px; translate: -50% -50%;
  }
  .js-plotly-plot .modebar-container { top: -1.75rem !important; }
  [data-testid="stElementContainer"]:not([class*="st-key-list-"]):has(> div > [data-testid="stDataFrame"]) {
    margin-top: 1.75rem;
  }
}
</style>"""
_FONT = "system-ui, -apple-system, Segoe UI, Roboto, Noto Sans, Liberation Sans, Arial, sans-serif"


def wordmark(*, dark: bool) -> str:
    """SVG text of the mark with the name beside it."""
    colours = _COLOURS[dark]
    name = (
        f'<text x="38" y="26" font-family="{_FONT}" font-size="23" font-weight="650" '
        f'letter-spacing="-0.4" fill="{colours["ink"]}">eapgp</text>'
    )
    return _svg(124, _MARK.format(**colours) + name)


def mark(*, dark: bool) -> str:
    """SVG text of the mark alone (browser tab, closed sidebar)."""
    return _svg(34, _MARK.format(**_COLOURS[dark]))


def _svg(width: int, body: str) -> str:
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="36" viewBox="0 0 {width} 36">{body}</svg>'
