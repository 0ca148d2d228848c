"""What a fuzzer calls with any bytes: each module has ``one(data)``, which fails where a rule does.

None of them needs the fuzzer itself, so the seeds of ``tests/fuzz/corpus`` are run by a unit test.
"""
