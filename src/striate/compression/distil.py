"""Distillation: a student learns from what a teacher answers, wrong classes included (Hinton, Vinyals & Dean 2015,
arXiv:1503.02531).
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from striate.errors import InputError
from striate.networks.restore import evaluating
from striate.tasks.classification.logits import class_logits
from striate.tasks.model import Model


class Distilled(nn.Module):
    """A student that, in training, gets the gradient of the teacher's soft targets beside that of the labels.

    The loss of an image is (1 - soft_weight) * cross-entropy with its label + soft_weight * T ** 2 * KL(teacher ||
    student) at temperature T (section 2). The logits go out unchanged, so the loss that is logged is that of the labels
    alone. The teacher belongs to no `parameters()` and is in evaluation mode.
    """

    def __init__(self, student: nn.Module, teacher: nn.Module, *, temperature: float, soft_weight: float) -> None:
        super().__init__()
        self.student = student
        self._teacher = (teacher,)  # in a tuple, so that it is no module of this one
        self.temperature, self.soft_weight = temperature, soft_weight

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) -> logits (N, K) of the student."""
        logits = class_logits(self.student(images))
        if not self.training:
            return logits
        with torch.no_grad(), evaluating(self._teacher[0]):
            soft = class_logits(self._teacher[0](images))
        taught: Tensor = _SoftTargets.apply(logits, soft, self.temperature, self.soft_weight)
        return taught

    def __deepcopy__(self, memo: dict[int, Any]) -> "Distilled":
        """The teacher is not copied."""
        student = copy.deepcopy(self.student, memo)
        return Distilled(student, self._teacher[0], temperature=self.temperature, soft_weight=self.soft_weight)


class _SoftTargets(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, soft: Tensor, temperature: float, soft_weight: float) -> Tensor:
        ctx.save_for_backward(logits, soft)
        ctx.temperature, ctx.soft_weight = temperature, soft_weight
        return logits.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        """T ** 2 times the gradient of KL is T * (softmax(z / T) - softmax(t / T)), averaged over the batch."""
        logits, soft = (each.float() for each in ctx.saved_tensors)
        temperature, weight = ctx.temperature, ctx.soft_weight
        difference = (logits / temperature).softmax(1) - (soft / temperature).softmax(1)
        taught = weight * temperature * difference / len(logits)
        return (1 - weight) * grads[0] + taught.to(grads[0].dtype), None, None, None


def check_teacher(teacher: Model, student: Model) -> None:
    """InputError unless both answer for the same classes, in the same order, and see images of the same size."""
    if teacher.class_names != student.class_names:
        raise InputError(
            f"the teacher answers for {len(teacher.class_names)} classes ({', '.join(teacher.class_names[:3])}, ...) "
            f"and the student for {len(student.class_names)} ({', '.join(student.class_names[:3])}, ...); give a "
            "teacher of the same classes"
        )
    if teacher.preprocessing != student.preprocessing:
        raise InputError(
            "the teacher prepares images otherwise than the student (size, mean or scale); "
            "train the student with the teacher's preprocessing"
        )
