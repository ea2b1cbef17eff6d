"""The data sets: their table (`catalog`), their files and splits (`datasets`), and mini-batches (`batches`)."""
