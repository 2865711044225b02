//! The CUDA driver, opened at run time.
