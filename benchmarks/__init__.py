"""Measurements, each started by ``python -m benchmarks.NAME``. None of them is a test."""
