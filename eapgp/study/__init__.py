"""Studies: many runs from one file, and the paper's protocol as such a file.

    schema → plan (cells) → estimate (what it will cost)
                          → worker (one cell) → sweep_result → report → sweep (all of them, anywhere)
                                                table, uncertainty ↗
    published, reproduce_rows → reproduce_figures → reproduce_result → reproduce_page → reproduce:
                                                the paper's protocol laid beside published numbers

An arrow reads "is imported by". Reading a study, planning it and reading its table need neither torch nor a model.
"""
