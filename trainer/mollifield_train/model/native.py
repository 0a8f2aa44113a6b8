"""The native operators, where a model asks for them."""

from mollifield.native import has_native


def require_native() -> None:
    """Load the native operators, or raise `ValueError`."""
    if not has_native():
        raise ValueError("backend native: libmollifield.so isn't built (pip install builds it); use backend: e3nn")
