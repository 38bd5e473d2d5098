"""Problems with known answers, shared by tests, benchmarks and pictures."""
