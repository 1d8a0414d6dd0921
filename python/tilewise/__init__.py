"""Tilewise: run and profile convolutional image classifiers. NumPy arrays in, NumPy arrays out."""
from .data import Batch, Dataset, Loader
from .graph import Device, DeviceInfo, Graph, GraphInfo, version, zoo_names
from .images import Preprocess, preprocess, read_image
from .native import Failed, Invalid, OutOfMemory, TilewiseError, Unavailable
from .plan import Plan, PlanInfo, Run, Step, Times

__version__ = version()
__all__ = ["Batch", "Dataset", "Device", "DeviceInfo", "Failed", "Graph", "GraphInfo", "Invalid", "Loader",
           "OutOfMemory", "Plan", "PlanInfo", "Preprocess", "Run", "Step", "TilewiseError", "Times", "Unavailable",
           "preprocess", "read_image", "version", "zoo_names"]
