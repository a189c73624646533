"""The stored results that pages show, and the jobs that compute and measure them."""
