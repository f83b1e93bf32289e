"""Inference engines: ONNX Runtime, OpenVINO and PyTorch behind one protocol of two calls."""

from __future__ import annotations

from .base import Engine, EngineInfo, Memory, StepOutput
from .select import load_engine

__all__ = ["Engine", "EngineInfo", "Memory", "StepOutput", "load_engine"]
