"""Small trackers out of big ones: section 3.2 of the paper as stages of the training loop."""
