"""The matrix products of NumPy."""

from __future__ import annotations


def use_one_thread() -> None:
    """Let each matrix product use one thread, from now on.

    Products of the size of a block gain nothing from more: OpenBLAS keeps these waiting for each
    other, at several times the cost.
    """
    from threadpoolctl import threadpool_limits

    threadpool_limits(limits=1, user_api="blas")
