"""Benchmarks: every case against the peers that are installed, interleaved in one process."""
