"""How a network learns: the algorithms, one file each."""
