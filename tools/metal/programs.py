"""The programs of this folder as modules: mslrun and predict have no .py to their names."""
import importlib.machinery
import importlib.util
import os


def load(name):
    loader = importlib.machinery.SourceFileLoader(name, os.path.join(os.path.dirname(os.path.abspath(__file__)), name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    loader.exec_module(module)
    return module
