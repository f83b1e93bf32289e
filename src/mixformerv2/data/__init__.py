"""Training data: a bank of pictures, samples made from it on the fly, and data sets."""
