"""Inspection: layers, parameters, MACs, memory, receptive field."""
