"""The data sets: what they are (`catalog`), their files and splits (`datasets`), and mini-batches (`batches`)."""
