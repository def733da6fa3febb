"""What a small network cannot hold: the training tokens themselves, the file so far, and how both join the network."""
