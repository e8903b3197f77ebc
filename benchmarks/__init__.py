"""Benchmarks: side by side in one run, each figure against its bar.

`python -m benchmarks.run` measures all of them.
"""
