"""Optimizers: PyTorch's `torch.optim` over any backend."""

from polygrad.optim import lr_scheduler, swa_utils
from polygrad.optim.adadelta import Adadelta
from polygrad.optim.adafactor import Adafactor
from polygrad.optim.adagrad import Adagrad
from polygrad.optim.adam import Adam, AdamW
from polygrad.optim.adamax import Adamax
from polygrad.optim.asgd import ASGD
from polygrad.optim.lbfgs import LBFGS
from polygrad.optim.lion import Lion
from polygrad.optim.muon import Muon
from polygrad.optim.nadam import NAdam
from polygrad.optim.optimizer import Optimizer
from polygrad.optim.radam import RAdam
from polygrad.optim.rmsprop import RMSprop
from polygrad.optim.rprop import Rprop
from polygrad.optim.sgd import SGD

__all__ = [
    "ASGD",
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lion",
    "Muon",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Rprop",
    "lr_scheduler",
    "swa_utils",
]
