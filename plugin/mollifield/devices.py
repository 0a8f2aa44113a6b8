"""Where a model runs: a device by its name, what is missing where it isn't there, and what there is."""

import torch

from .native import has_native


def choose_device(device: str) -> torch.device:
    """`auto` or a device name of torch's -> a device that this machine has.

    Raises `ValueError` for a name that is none, and for a GPU that cannot be used, with what to install for it.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device {device!r}: allowed are auto, cpu, cuda, cuda:0, ...") from error
    if chosen.type != "cuda":
        return chosen
    if not torch.cuda.is_available():
        raise ValueError(f"device {device!r}: {why_no_gpu()}; or use device cpu or auto")
    n_devices = torch.cuda.device_count()
    if chosen.index is not None and chosen.index >= n_devices:
        raise ValueError(f"device {device!r}: there are {n_devices} GPUs here: cuda:0 to cuda:{n_devices - 1}")
    return chosen


def why_no_gpu() -> str:
    """What keeps torch from a GPU, and what to install; asked where `torch.cuda.is_available()` is not."""
    version = torch.__version__.split("+")[0]
    if torch.version.cuda is None:
        return (
            f"torch {torch.__version__} is built for CPUs alone; PyPI's own for Linux has CUDA: "
            f"pip install --force-reinstall torch=={version} --index-url https://pypi.org/simple "
            "(nothing of Mollifield has to be built again)"
        )
    return f"torch {torch.__version__} has CUDA {torch.version.cuda} and finds no GPU: {_driver()}"


def describe_devices() -> dict[str, str]:
    """For people: GPUs and torch's CUDA, `driver`, `nvrtc`, `cache` of kernels, what runs the operators there."""
    names = [f"cuda:{k} {torch.cuda.get_device_name(k)}" for k in range(torch.cuda.device_count())]
    cuda = f"torch has CUDA {torch.version.cuda}" if torch.version.cuda else "torch is built for CPUs alone"
    return {"GPUs": f"{', '.join(names) or 'none'}; {cuda}"} | _report()


def _report() -> dict[str, str]:
    """Of the native library; nothing without it, nor where it cannot be loaded."""
    try:
        found = dict(torch.ops.mollifield.device_report()) if has_native() else {}
    except OSError:
        return {}
    return {"on GPUs run" if key == "operators" else key: text for key, text in found.items()}


def _driver() -> str:
    return _report().get("driver", "its driver is missing, or shows no device (nvidia-smi lists them)")
