# %% [markdown]
# # Read results with pandas and seaborn
#
# Read a store into DataFrames, plot it and compare rules. This page is the script `docs/how-to/explore.py` with its
# output on the published store. VS Code, Spyder and Jupyter (with Jupytext) open the script as a notebook. To read your
# own runs, change `STORE` and `EXPERIMENT`. The section on differences needs runs of the rules bp, urfb and frfb.

# %%
import sqlite3

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from scipy.stats import ttest_1samp

import urfb

STORE = "results/reference/urfb.sqlite"  # urfb writes yours to results/urfb.sqlite
EXPERIMENT = "short"

store = urfb.open_store(STORE)
sns.set_theme(style="whitegrid", palette="colorblind")

# %% [markdown]
# ## Runs
#
# `runs` has one row per run: its settings, its state, its last errors as fractions, and where it was trained. A filter
# takes a value or a list of values. This filter selects one experiment, so that the means below average only over
# seeds. [The store](../reference/store.html) describes each column.

# %%
runs = store.runs(experiments=EXPERIMENT, state="done")
runs[["run", "rule", "loss", "seed", "epochs_done", "test_error", "device_name"]].head()

# %%
errors = runs.groupby(["rule", "loss"])["test_error"].agg(["mean", "std", "count"])
errors.mul([100, 100, 1]).round(1)

# %% [markdown]
# ## Epochs
#
# `epochs` has one row per run and epoch, with the errors and the settings of the run, so seaborn can plot it directly.
# The training error is measured after each of the first ten epochs, after every fifth epoch and after the last; in
# other rows it is empty.

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
# Runs with the same seed start from the same W and see the images in the same order under every rule. So subtract
# within each seed, and compute the interval over the seeds.

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
# `alignment` has one row per run, layer and measurement: the correlation of W and R, the angle between them, and more.
# `epoch` is a fraction if the measurement was within an epoch.

# %%
alignment = store.alignment(run=list(runs["run"]), rule=["urfb", "frfb"])
options = {"kind": "line", "errorbar": ("pi", 100), "height": 3.6}
sns.relplot(alignment, x="epoch", y="correlation", hue="layer_name", col="rule", **options)
plt.show()

# %% [markdown]
# Do runs with better aligned weights end with a lower error? Join the two frames by `run`. Leave out the first layer,
# because its R carries no error signal:

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
# The same tables are views of the database, so any tool that reads SQLite can query them:

# %%
query = """
    SELECT network, dataset, rule, loss, count(*) AS runs, round(sum(seconds) / 3600, 2) AS core_hours
    FROM runs WHERE threads = 1 GROUP BY network, dataset, rule, loss
"""
pd.read_sql(query, sqlite3.connect(STORE))
