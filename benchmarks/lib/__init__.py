"""What the benchmarks share: rounds and ratios, tables, nodes, proxies, plots."""
