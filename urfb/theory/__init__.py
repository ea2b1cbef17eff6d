"""Section 5 of the paper: how the error of a linear network falls, with differential equations and discrete steps."""
