"""One module for each layout: how it proposes to read a file, and how it does."""
