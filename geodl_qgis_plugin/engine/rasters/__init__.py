"""Rasters: grids, stacks of predictors read window by window, writing maps."""
