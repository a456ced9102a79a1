"""Shared parts of the pipeline's benchmarks: real servers, real speech, and clocks of CPU."""
