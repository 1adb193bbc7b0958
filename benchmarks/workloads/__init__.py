"""The workloads: each module has `run(options, say) -> list[Row]`."""
