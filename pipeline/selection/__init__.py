"""What is kept of the pairs that the rules leave: caps, samples, mixtures, and how diverse what is left is.

No pair's chance depends on the order of rows, on partitions or on other runs: what is random comes from a hash of its id and the seed.
"""
