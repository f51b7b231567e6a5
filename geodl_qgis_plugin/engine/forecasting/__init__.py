"""Forecasts of station series: climatology first, a network for what it leaves, and honest skill."""
