"""torch's optimizers as they are, without torch's compiler: theirs import it to be left alone by it.

That import takes a second or two and 70 MB, and nothing in a training uses it. What the decorators of torch hide is
called here: the same methods, and so the same weights and the same states.
"""

from __future__ import annotations

import inspect

import torch


class WithoutCompiler(torch.optim.Optimizer):
    """The methods of every optimizer that torch hides from its compiler."""

    state_dict = inspect.unwrap(torch.optim.Optimizer.state_dict)
    load_state_dict = inspect.unwrap(torch.optim.Optimizer.load_state_dict)
    zero_grad = inspect.unwrap(torch.optim.Optimizer.zero_grad)
    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)


class SGD(WithoutCompiler, torch.optim.SGD):
    """See :class:`torch.optim.SGD`."""

    step = torch.no_grad()(inspect.unwrap(torch.optim.SGD.step))


class Adam(WithoutCompiler, torch.optim.Adam):
    """See :class:`torch.optim.Adam`."""

    step = torch.no_grad()(inspect.unwrap(torch.optim.Adam.step))


class AdamW(WithoutCompiler, torch.optim.AdamW):
    """See :class:`torch.optim.AdamW`."""

    step = torch.no_grad()(inspect.unwrap(torch.optim.AdamW.step))
