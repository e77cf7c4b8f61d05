"""Simulated recordings with exact labels, mixed from a pool of source audio."""

from audioseg_xai.simulate.config import SimulationConfig
from audioseg_xai.simulate.mixture import Mixture, Simulator
from audioseg_xai.simulate.stock import Stock
from audioseg_xai.simulate.writer import simulate_data_dir

__all__ = ["Mixture", "SimulationConfig", "Simulator", "Stock", "simulate_data_dir"]
