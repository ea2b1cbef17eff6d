"""Section 5 of the paper: how the error of a linear network falls, by differential equations and by discrete steps."""
