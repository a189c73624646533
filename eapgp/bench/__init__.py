"""What attribution costs: `run_bench` measures it beside the bare passes."""
