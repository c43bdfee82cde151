"""Any file -> batches of rows as JSON fragments, whatever its format and packing."""
