"""The study of docs/study-real-model.md: what is run, what is kept of it, and what comes out."""
