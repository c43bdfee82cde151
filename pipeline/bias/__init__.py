"""What votes follow besides quality: how much length and style drive them, and how data is freed of it."""
