"""The benchmark: `make bench` and `make bench-quick`; docs/performance.md says what it measures and how to read it."""
