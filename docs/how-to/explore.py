# %% [markdown]
# # Read results with pandas and seaborn
#
# This page is a script in cells, run when the documentation was built, on the store that the project publishes.
# `docs/how-to/explore.py` is its source: VS Code, Spyder and Jupyter (with Jupytext) open it as a notebook. To read a
# store of your own, change one line.

# %%
import sqlite3

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from scipy.stats import ttest_1samp

import urfb

# Of your own runs: results/urfb.sqlite
store = urfb.open_store("results/reference/urfb.sqlite")
sns.set_theme(style="whitegrid", palette="colorblind")

# %% [markdown]
# ## Runs
#
# `runs` has one row a run: every setting, its state, its last errors as fractions, and where it was trained. Filters
# take a value or a list of them; here they take one experiment, so that nothing unlike is averaged.
# [The store](../reference/store.html) says what each column holds.

# %%
runs = store.runs(experiments="short", state="done")
runs[["run", "rule", "loss", "seed", "epochs_done", "test_error", "device_name"]].head()

# %%
errors = runs.groupby(["rule", "loss"])["test_error"].agg(["mean", "std", "count"])
errors.mul([100, 100, 1]).round(1)

# %% [markdown]
# ## Epochs
#
# `epochs` has one row a run and epoch, with the settings of its run beside the errors, so it goes to seaborn as it is.
# The training error is measured after the first ten epochs, every fifth and the last, and is empty after the others.

# %%
epochs = store.epochs(run=list(runs["run"]))
epochs["protocol"] = epochs["rule"] + ", " + epochs["loss"]
epochs["validation error (%)"] = 100 * epochs["validation_error"]
options = {"kind": "line", "errorbar": ("pi", 100), "height": 3.6, "aspect": 1.4}
sns.relplot(epochs, x="epoch", y="validation error (%)", hue="protocol", **options)
plt.show()

# %% [markdown]
# ## Differences within a seed
#
# Runs of one seed start from the same W and see the images in the same order, whatever their rule. So a difference is
# taken within a seed, and its interval over seeds.

# %%
hinge = runs[runs["loss"] == "hinge"]
errors = 100 * hinge.pivot(index="seed", columns="rule", values="validation_error")
rows = {}
for rule in ("urfb", "frfb"):
    difference = (errors[rule] - errors["bp"]).dropna()
    low, high = ttest_1samp(difference, 0).confidence_interval(0.95)
    rows[f"{rule} - bp"] = [difference.mean(), low, high, len(difference)]
columns = ["mean", "low", "high", "seeds"]
pd.DataFrame.from_dict(rows, orient="index", columns=columns).round(2)

# %% [markdown]
# ## Alignment
#
# `alignment` has one row a run, layer and moment: how W and R are correlated, the angle between them, and more. `epoch`
# has a fraction where it was measured inside of an epoch.

# %%
alignment = store.alignment(run=list(runs["run"]), rule=["urfb", "frfb"])
options = {"kind": "line", "errorbar": ("pi", 100), "height": 3.6}
sns.relplot(alignment, x="epoch", y="correlation", hue="layer_name", col="rule", **options)
plt.show()

# %% [markdown]
# Does a run whose weights are better aligned end with a lower error? Two frames joined by `run`, without the first
# layer, whose R carries nothing:

# %%
carrying = alignment[alignment["layer"] > 1].sort_values("epoch")
last = carrying.groupby(["run", "layer_name"], as_index=False).last()
joined = last.merge(runs[["run", "test_error"]], on="run")
options = {"height": 3.6, "facet_kws": {"sharex": False}}
sns.relplot(joined, x="correlation", y="test_error", hue="rule", col="layer_name", **options)
plt.show()

# %% [markdown]
# ## SQL
#
# The same tables are views of the database, so any tool that knows SQLite reads them:

# %%
query = """
    SELECT network, dataset, rule, loss, count(*) AS runs, round(sum(seconds) / 3600, 2) AS core_hours
    FROM runs WHERE threads = 1 GROUP BY network, dataset, rule, loss
"""
pd.read_sql(query, sqlite3.connect("results/reference/urfb.sqlite"))
