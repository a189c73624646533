"""Studies: many runs from one file, and the paper's protocol as such a file.

    schema → plan (cells) → estimate (what it will cost)
                          → worker (one cell) → sweep (all of them, anywhere) → table → report
    published, reproduce: the paper's protocol laid beside published numbers

Reading a study, planning it and reading its table need neither torch nor a model.
"""
