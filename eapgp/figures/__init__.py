"""Figures: pure functions from results to `plotly.graph_objects.Figure`; no model, no torch.

style, scale   colours, fonts, escaping, and the signed logarithmic scale
heatmap        `score_heatmap` (source × destination), `block_heatmap` (by layer or kind)
scores         `scores_distribution`, `score_by_layer`, `cumulative_share`
compare        `rank_scatter`, `jaccard_curve`, `group_bars`
curves         `faithfulness_curves`, `faithfulness_difference`, `roc`, `precision_recall`
projection     `project_paths` → `Projection` (coordinates, `to_space`, `grid`), `mean_projection`
path           `path_projection`
path_curves    `path_curves`, `vanished_curve`
path_edge      `edge_along_path`
path_maps      `vanished_heatmap`, `positions_heatmap`
attention      `attention_map`
direct         `contribution_by_pair`, `contributions_by_node`, `token_bars`
evidence       `complement_bars`, `minimality`, `confusion`
adapt          from evaluation results: `band_line`, `curve_line`, `roc_line`, `agreement_bars` …
data           `figure_data`: the table behind any of them
print          `save_figure`: any of them, or a circuit, as SVG, PDF or PNG
print_circuit  `circuit_figure`: a circuit as a matplotlib figure

Every figure says how to read it in `fig.layout.meta["read"]`, takes `dark=` for its page, and
carries names for click-through in its markers' `customdata`.
"""
