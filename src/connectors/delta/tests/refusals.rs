//! Tables that are refused, unchanged.
