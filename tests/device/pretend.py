"""An accelerator that is none: tensors that say they are elsewhere, refuse to meet the CPU's, and are computed by it.

What a machine without an accelerator cannot find by itself is an operation that mixes devices; here it raises, and so
does a generator of the CPU that is to draw elsewhere. `register` must come before anything of critica is imported, and
holds for the rest of the process: use it in one of its own.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import return_and_correct_aliasing
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME, KEY = "pretend", "PrivateUse1"
CPU = torch.device("cpu")
CROSSING = ("aten::copy_", "aten::_to_copy")


class MixedDevices(RuntimeError):
    """An operation was given tensors of two devices."""


class Elsewhere(Tensor):
    """A tensor on the pretended device; `inner` holds its numbers."""

    @staticmethod
    def __new__(cls, inner: Tensor) -> "Elsewhere":
        return Tensor._make_wrapper_subclass(
            cls, inner.shape, strides=inner.stride(), storage_offset=inner.storage_offset(), dtype=inner.dtype,
            device=torch.device(NAME, 0),
        )  # fmt: skip

    def __init__(self, inner: Tensor) -> None:
        self.inner = inner

    __torch_function__ = torch._C._disabled_torch_function_impl

    def __repr__(self, **_: Any) -> str:
        return f"Elsewhere({self.inner})"

    def tolist(self) -> list:
        return self.cpu().tolist()

    def numpy(self, **_: Any) -> Any:
        raise TypeError("a tensor that is elsewhere is no numpy array: use .cpu() first")

    def __array__(self, *_: Any, **__: Any) -> Any:
        return self.numpy()

    def __deepcopy__(self, memo: dict) -> Tensor:
        if id(self) not in memo:
            made = Elsewhere(self.inner.clone())
            parameter = isinstance(self, torch.nn.Parameter)
            memo[id(self)] = torch.nn.Parameter(made, self.requires_grad) if parameter else made
        return memo[id(self)]

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return compute(func, args, kwargs or {})


class Seen:
    """What the arguments of an operation hold: tensors from elsewhere, from here, and generators."""

    def __init__(self) -> None:
        self.far: list[Elsewhere] = []
        self.near: list[Tensor] = []
        self.generators: list[torch.Generator] = []

    def inner(self, item: Any) -> Any:
        """The same argument, on the CPU. A number in a tensor of no dimension may come from anywhere, as with CUDA."""
        if isinstance(item, Elsewhere):
            self.far.append(item)
            return item.inner
        if isinstance(item, Tensor) and item.dim():
            self.near.append(item)
        if isinstance(item, tuple | list):
            return type(item)(self.inner(one) for one in item)
        if isinstance(item, torch.Generator):
            self.generators.append(item)
        return item


def compute(func: Any, args: tuple, kwargs: dict) -> Any:
    """Run an operation on the CPU, if its arguments may meet."""
    name, seen = func._schema.name, Seen()
    inner_args, inner_kwargs = seen.inner(args), {key: seen.inner(value) for key, value in kwargs.items()}
    if seen.far and seen.near and name not in CROSSING:
        shape = tuple(seen.near[0].shape)
        raise MixedDevices(f"{name}: an argument of shape {shape} is on the CPU, another is elsewhere")
    device = kwargs.get("device")
    comes_back = device is not None and torch.device(device).type != NAME
    if seen.generators and not comes_back:
        raise MixedDevices(f"{name}: a generator of the CPU, for numbers elsewhere")
    if device is not None:
        inner_kwargs["device"] = CPU
    out = func(*inner_args, **inner_kwargs)
    if any(one.shape != one.inner.shape for one in seen.far):
        raise NotImplementedError(f"{name} resized a tensor in place, which one that is elsewhere cannot follow")
    if name == "aten::copy_" and not isinstance(args[0], Elsewhere):
        return args[0]
    if name == "aten::_to_copy" and comes_back:
        return out
    if isinstance(out, Tensor):
        made: Any = Elsewhere(out)
    elif isinstance(out, tuple | list):
        made = type(out)(Elsewhere(one) if isinstance(one, Tensor) else one for one in out)
    else:
        return out
    return return_and_correct_aliasing(func, args, kwargs, made)


def computed(op: Any, *args: Any, **kwargs: Any) -> Any:
    """As torch's dispatcher calls it."""
    return compute(op, args, kwargs)


class Module:
    """What torch asks a device's module for."""

    seeds: ClassVar[list[int]] = []
    is_initialized = is_available = staticmethod(lambda: True)
    _is_in_bad_fork = staticmethod(lambda: False)
    current_device = staticmethod(lambda: 0)
    device_count = staticmethod(lambda: 1)
    manual_seed_all = manual_seed = staticmethod(seeds.append)
    get_rng_state = staticmethod(lambda device=None: torch.get_rng_state())
    set_rng_state = staticmethod(lambda state, device=None: None)
    get_amp_supported_dtype = staticmethod(lambda: [torch.bfloat16])

    @staticmethod
    def device(_: Any) -> AbstractContextManager[None]:
        return nullcontext()


def register() -> tuple[torch.library.Library, ...]:
    """Make the device; keep what is returned."""
    _setup_privateuseone_for_python_backend(NAME, backend_module=Module())
    every, aten, ops = torch.library.Library("_", "IMPL"), torch.library.Library("aten", "IMPL"), torch.ops.aten
    every.fallback(computed, KEY)
    for overload in (  # what makes tensors from nothing, or moves them, comes past the fallback
        ops.empty.memory_format, ops.empty_strided.default, ops._to_copy.default, ops.copy_.default,
        ops._copy_from.default, ops.arange.default, ops.arange.start, ops.arange.start_step, ops.linspace.default,
        ops.eye.default, ops.eye.m, ops.randperm.default, ops.randperm.generator, ops.scalar_tensor.default,
    ):  # fmt: skip
        aten.impl(overload, partial(computed, overload), KEY)
    torch.inference_mode = lambda mode=True: torch.no_grad() if mode else nullcontext()
    torch.__future__.set_swap_module_params_on_conversion(True)
    let_save()
    return every, aten


def let_save() -> None:
    """Writers of files read memory: they get copies on the CPU, one for each tensor however often it is named."""
    import safetensors.torch
    from transformers import PreTrainedModel

    write: Callable = safetensors.torch.save_file
    save: Callable = PreTrainedModel.save_pretrained

    def near(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        copies = {id(tensor): tensor.detach().cpu() for tensor in tensors.values()}
        return {name: copies[id(tensor)] for name, tensor in tensors.items()}

    def save_pretrained(self: Any, *rest: Any, **options: Any) -> Any:
        kept = options.pop("state_dict", None) or self.state_dict(keep_vars=True)
        return save(self, *rest, state_dict=near(kept), **options)

    safetensors.torch.save_file = lambda tensors, *rest, **options: write(near(tensors), *rest, **options)
    PreTrainedModel.save_pretrained = save_pretrained
