"""The paper's figures, tables and claims, made only from the data frames of a results store."""

from urfb.report.drawn import Drawn, Tabulated
from urfb.report.exhibits import Data
from urfb.report.user_exhibits import figure, table

__all__ = ["Data", "Drawn", "Tabulated", "figure", "table"]
