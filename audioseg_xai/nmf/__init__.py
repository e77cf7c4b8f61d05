"""Sparse non-negative matrix factorisation with atoms of unit norm, in memory or as a stream.

The problem is to minimise D(X, W H) plus mu times the L1 norm of H over non-negative W and H, each
atom (column of W) of unit L2 norm. Without the norm the penalty is void: H could shrink while W
grows. D is half the squared Frobenius norm of X - W H, or the generalised Kullback-Leibler
divergence of X from W H.

What an update of W needs to know of the frames are sums over them, `updates.Statistics`. So the
same updates serve frames that are all in memory (`learn_dictionary`) and frames that come in
batches without end (`StreamingLearner`).
"""

from audioseg_xai.nmf.band_errors import BandErrors, band_edges
from audioseg_xai.nmf.dictionary import Dictionary, LossName, NMFConfig
from audioseg_xai.nmf.learning import encode, learn_dictionary
from audioseg_xai.nmf.streaming import StreamingLearner

__all__ = [
    "BandErrors",
    "Dictionary",
    "LossName",
    "NMFConfig",
    "StreamingLearner",
    "band_edges",
    "encode",
    "learn_dictionary",
]
