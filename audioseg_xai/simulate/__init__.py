"""Simulated recordings with exact labels, mixed from a pool of source audio."""

from audioseg_xai.simulate.config import SimulationConfig
from audioseg_xai.simulate.mixture import Mixture, Simulator
from audioseg_xai.simulate.pool import Pool
from audioseg_xai.simulate.writer import simulate_data_dir

__all__ = ["Mixture", "Pool", "SimulationConfig", "Simulator", "simulate_data_dir"]
