"""Translates the Metal Shading Language to C++ or CUDA: tokens, declarations, rewriting, the tables of kernels."""
