"""The pages: their scripts, titles and icons, in the order of the navigation."""

from __future__ import annotations

# file under pages/, title, icon; the first is the default page, the others are found at /<file>
PAGES = (
    ("start", "Start", ":material/play_circle:"),
    ("explore", "Explore", ":material/hub:"),
    ("sentence", "Sentence", ":material/edit:"),
    ("compare", "Compare", ":material/compare_arrows:"),
    ("path", "Path", ":material/timeline:"),
    ("faithfulness", "Faithfulness", ":material/monitoring:"),
    ("ground_truth", "Ground truth", ":material/fact_check:"),
    ("paper", "Paper", ":material/article:"),
    ("prompts", "Prompts", ":material/notes:"),
    ("runs", "Runs", ":material/inventory_2:"),
)


def page_file(name: str) -> str:
    """Path of a page's script from the entry's folder, as `st.switch_page` takes it."""
    return f"pages/{name}.py"
