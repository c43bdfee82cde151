"""Numbers with intervals: integer sums per partition, added exactly, then one row a statistic."""
