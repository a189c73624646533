"""Background work: the job manager, the models it keeps, and how pages wait for it."""
