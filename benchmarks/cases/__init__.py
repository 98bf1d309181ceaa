"""One file a case; each defines `CASES`, a list of `benchmarks.harness.Case`."""
