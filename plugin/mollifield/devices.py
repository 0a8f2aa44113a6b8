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


def describe_devices() -> str:
    """Lines for people: torch's CUDA, GPUs, driver, compiler of kernels, and what runs the operators on a GPU."""
    lines = [f"torch     {torch.__version__}, " + (f"CUDA {torch.version.cuda}" if torch.version.cuda else "no CUDA")]
    names = [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]
    lines.append("GPUs      " + (", ".join(f"cuda:{k} {name}" for k, name in enumerate(names)) or "none"))
    lines += [f"{key:<10}{value}" for key, value in _report().items()]
    return "\n".join(lines)


def _report() -> dict[str, str]:
    """Of the native library: `driver`, `nvrtc`, `cache`, `operators`."""
    if not has_native():
        return {"operators": "not built: only models with `backend: e3nn` run"}
    return dict(torch.ops.mollifield.device_report())


def _driver() -> str:
    return _report().get("driver", "its driver is missing, or shows no device (nvidia-smi lists them)")
