"""What the benchmarks of the pipeline share: real servers, real speech, and clocks of CPU."""
